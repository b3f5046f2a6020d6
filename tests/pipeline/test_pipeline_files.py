"""The model's files: the published names, shapes and dtypes; both layouts of DINOv3; a sentence for what is wrong."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from devtools.pipeline.make_small import FILES, make_small  # noqa: E402
from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.pipeline.checkpoint.dinov3_files import MODEL_NAME, TIMM_NAME, to_timm  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import IMAGE_MODEL, MODELS, TEXTURING_MODELS, Repository  # noqa: E402
from trellis_addon.pipeline.costs import PUBLISHED_FLOW  # noqa: E402
from trellis_addon.pipeline.networks.dinov3 import DinoConfig, DINOv3  # noqa: E402
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.network import Network, parse  # noqa: E402
from trellis_addon.pipeline.networks.structure_decoder import SparseStructureDecoder, StructureDecoderConfig  # noqa: E402
from trellis_addon.pipeline.networks.structure_flow import SparseStructureFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowConfig  # noqa: E402
from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig, FlexiDualGridVaeDecoder, SparseUnetVaeDecoder  # noqa: E402
from trellis_addon.pipeline.networks.vae_encoder import EncoderConfig, FlexiDualGridVaeEncoder  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402

PUBLISHED = json.loads(
    gzip.decompress((Path(__file__).parents[1] / "data/model/published_tensors.json.gz").read_bytes())
)
CPU = torch.device("cpu")

LEVELS: dict[str, Any] = {
    "latent_channels": 32,
    "block_type": ["SparseConvNeXtBlock3d"] * 5,
    "block_args": [{}] * 5,
    "use_fp16": True,
}
DECODER = {
    "model_channels": [1024, 512, 256, 128, 64],
    "num_blocks": [4, 16, 8, 4, 0],
    "up_block_type": ["SparseResBlockC2S3d"] * 4,
    **LEVELS,
}
ENCODER = {
    "model_channels": [64, 128, 256, 512, 1024],
    "num_blocks": [0, 4, 8, 16, 4],
    "down_block_type": ["SparseResBlockS2C3d"] * 4,
    **LEVELS,
}
STRUCTURE = {
    "out_channels": 1,
    "latent_channels": 8,
    "num_res_blocks": 2,
    "num_res_blocks_middle": 2,
    "channels": [512, 128, 32],
    "use_fp16": True,
}


def flow(resolution: int, channels_in: int, channels_out: int) -> dict[str, Any]:
    names = [name for name in FlowConfig.__dataclass_fields__ if name not in ("resolution", "in_channels")]
    own = {"resolution": resolution, "in_channels": channels_in}
    return own | {name: getattr(PUBLISHED_FLOW, name) for name in names} | {"out_channels": channels_out}


NETWORKS: dict[str, tuple[type[Network], Any, dict[str, Any]]] = {
    "sparse_structure_flow_model": (SparseStructureFlowModel, FlowConfig, flow(16, 8, 8)),
    "sparse_structure_decoder": (SparseStructureDecoder, StructureDecoderConfig, STRUCTURE),
    "shape_slat_flow_model_512": (SLatFlowModel, FlowConfig, flow(32, 32, 32)),
    "shape_slat_flow_model_1024": (SLatFlowModel, FlowConfig, flow(64, 32, 32)),
    "tex_slat_flow_model_512": (SLatFlowModel, FlowConfig, flow(32, 64, 32)),
    "tex_slat_flow_model_1024": (SLatFlowModel, FlowConfig, flow(64, 64, 32)),
    "shape_slat_decoder": (FlexiDualGridVaeDecoder, DecoderConfig, {"resolution": 256, **DECODER}),
    "tex_slat_decoder": (SparseUnetVaeDecoder, DecoderConfig, {"out_channels": 6, "pred_subdiv": False, **DECODER}),
    "shape_slat_encoder": (FlexiDualGridVaeEncoder, EncoderConfig, ENCODER),
    "image_cond_model_dinov3": (DINOv3, DinoConfig, {}),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("small"))


@pytest.fixture
def copy(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "model"))


@pytest.mark.parametrize("name", NETWORKS)
def test_full_size_networks_have_the_published_tensors(name: str) -> None:
    build, config, arguments = NETWORKS[name]
    with torch.device("meta"):
        network = build(parse(config, arguments, name))
    ours = {key: (list(tensor.shape), network.dtype_of(key)) for key, tensor in network.state_dict().items()}
    dtypes = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, None: torch.float32}
    assert ours == {key: (shape, dtypes[runtime]) for key, shape, runtime, _ in PUBLISHED[name]}


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "image_cond_model_dinov3"])
def test_the_small_model_stores_what_the_published_files_store(name: str, small: Path) -> None:
    stored = {key: dtype for key, _, _, dtype in PUBLISHED[name]}
    with safe_open(small / f"{FILES[name]}.safetensors", framework="pt") as file:
        shared = stored.keys() & file.keys()  # a published network is deeper, and its blocks lie elsewhere
        assert shared >= {key for key in stored if not key.startswith(("blocks.", "middle_block."))}
        assert {key: file.get_slice(key).get_dtype() for key in shared} == {key: stored[key] for key in shared}


def test_every_network_of_the_small_model_loads(small: Path) -> None:
    repository = Repository(small)
    for name in (*MODELS, *TEXTURING_MODELS, IMAGE_MODEL):
        network = repository.load(name, CPU)
        assert all(tensor.dtype == network.dtype_of(key) for key, tensor in network.named_parameters())
        assert not any(tensor.is_meta or tensor.requires_grad for tensor in network.parameters())
    assert repository.load("tex_slat_decoder", CPU, torch.float32).torso == torch.float32
    assert repository.texturing_config.samplers.keys() == {"tex_slat"}
    assert repository.config.samplers["shape_slat"].settings.guidance_interval == (0.6, 1.0)


def test_16_bit_weights_are_not_copied(small: Path) -> None:
    """On the CPU a tensor that keeps its dtype is the mapped file itself."""
    network = Repository(small).load("tex_slat_flow_model_512", CPU)
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    address = network.get_parameter("blocks.0.mlp.mlp.0.weight").data_ptr()
    spans = [line for line in maps.read_text().splitlines() if line.endswith(".safetensors")]
    assert any(int(low, 16) <= address < int(high, 16) for low, high in (s.split()[0].split("-") for s in spans))


def test_both_layouts_of_dinov3_give_the_same_features(tmp_path: Path) -> None:
    official, mirror = make_small(tmp_path / "a"), make_small(tmp_path / "b", timm=True)
    x = torch.randn(1, 3, 96, 64)
    with torch.inference_mode():
        features = [Repository(folder).load_image_model(CPU)(x) for folder in (official, mirror)]
    assert torch.equal(*features)


def test_timms_layout_has_366_tensors_and_the_one_without_biases_is_refused(tmp_path: Path) -> None:
    with torch.device("meta"):
        names = to_timm(DINOv3(DinoConfig()).state_dict())
    assert len(names) == 366
    assert names["blocks.23.attn.qkv.weight"].shape == (3072, 1024)
    assert len([key for key in names if not key.endswith(("q_bias", "v_bias"))]) == 318

    folder = make_small(tmp_path, timm=True)
    path = folder / TIMM_NAME / "model.safetensors"
    kept = {key: tensor for key, tensor in load_file(path).items() if not key.endswith(("q_bias", "v_bias"))}
    save_file(kept, path)
    with pytest.raises(EngineError, match="without the query and value biases"):
        Repository(folder).load_image_model(CPU)


def test_models_are_found_in_a_downloads_folder(small: Path, tmp_path: Path) -> None:
    """As Hugging Face lays it out: one folder a repository, a snapshot in each."""
    places = {
        "microsoft--TRELLIS.2-4B": small,
        "microsoft--TRELLIS-image-large": small / "microsoft/TRELLIS-image-large",
        "facebook--dinov3-vitl16-pretrain-lvd1689m": small / MODEL_NAME,
    }
    for name, source in places.items():
        target = tmp_path / f"models--{name}" / "snapshots" / "0123abc"
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("microsoft", "facebook"))
    repository = Repository(tmp_path / "models--microsoft--TRELLIS.2-4B/snapshots/0123abc")
    assert "TRELLIS-image-large" in str(repository.stem("sparse_structure_decoder"))
    assert repository.load("sparse_structure_decoder", CPU) is not None
    assert repository.load_image_model(CPU) is not None


def test_models_are_found_beside_the_folder(copy: Path) -> None:
    shutil.move(copy / "microsoft/TRELLIS-image-large", copy.parent / "TRELLIS-image-large")
    shutil.move(copy / MODEL_NAME, copy.parent / MODEL_NAME.split("/")[1])
    repository = Repository(copy)
    assert repository.stem("sparse_structure_decoder").parent == copy.parent / "TRELLIS-image-large/ckpts"
    assert repository.image_model_folder() == copy.parent / MODEL_NAME.split("/")[1]


def _json(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _weights(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


FLOW_512 = "ckpts/slat_flow_img2shape_dit_1_3B_512_bf16"
DAMAGE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": (".safetensors", lambda p: p.unlink(), "is missing"),
    "json missing": (".json", lambda p: p.unlink(), "is missing"),
    "truncated": (".safetensors", lambda p: p.write_bytes(p.read_bytes()[:5000]), "damaged or incomplete"),
    "empty": (".safetensors", lambda p: p.write_bytes(b""), "damaged or incomplete"),
    "a pointer": (".safetensors", lambda p: p.write_text("version https://git-lfs"), "damaged or incomplete"),
    "no json": (".json", lambda p: p.write_text("<html>"), "cannot be read"),
    "another class": (".json", lambda p: _json(p, lambda d: d.update(name="UNet")), "must be a SLatFlowModel"),
    "no arguments": (".json", lambda p: _json(p, lambda d: d.pop("args")), "expected an object"),
    "lacks a setting": (
        ".json",
        lambda p: _json(p, lambda d: d["args"].pop("num_heads")),
        'lacks the setting "num_heads"',
    ),
    "unknown setting": (".json", lambda p: _json(p, lambda d: d["args"].update(moe=4)), 'has the setting "moe"'),
    "text for a number": (
        ".json",
        lambda p: _json(p, lambda d: d["args"].update(num_blocks="2")),
        "must be a whole number",
    ),
    "other positions": (
        ".json",
        lambda p: _json(p, lambda d: d["args"].update(pe_mode="ape")),
        '"ape" is not supported',
    ),
    "odd heads": (".json", lambda p: _json(p, lambda d: d["args"].update(num_heads=3)), "divide into heads"),
    "another size": (".json", lambda p: _json(p, lambda d: d["args"].update(model_channels=64)), "has shape"),
    "weight missing": (
        ".safetensors",
        lambda p: _weights(p, lambda t: t.pop("out_layer.bias")),
        "out_layer.bias is missing",
    ),
    "weight too many": (
        ".safetensors",
        lambda p: _weights(p, lambda t: t.update(x=torch.zeros(1))),
        "x does not belong",
    ),
    "whole numbers": (
        ".safetensors",
        lambda p: _weights(p, lambda t: t.update({"out_layer.bias": torch.zeros(4, dtype=torch.int8)})),
        "stores out_layer.bias as I8",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_model_file_is_named(what: str, copy: Path) -> None:
    ending, damage, sentence = DAMAGE[what]
    path = copy / f"{FLOW_512}{ending}"
    damage(path)
    with pytest.raises(EngineError, match=sentence) as caught:
        Repository(copy).load("shape_slat_flow_model_512", CPU)
    assert FLOW_512.split("/")[1] in str(caught.value) and "\n" not in str(caught.value)


PIPELINE_DAMAGE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another pipeline": (lambda d: d.update(name="FluxPipeline"), "this is another model"),
    "no args": (lambda d: d.update(args=3), 'no object "args"'),
    "a sampler missing": (lambda d: d["args"].pop("shape_slat_sampler"), "shape_slat_sampler must be an object"),
    "another sampler": (lambda d: d["args"]["tex_slat_sampler"].update(name="DDIM"), 'names the sampler "DDIM"'),
    "no steps": (lambda d: d["args"]["tex_slat_sampler"]["params"].update(steps=0), "steps must be at least 1"),
    "interval of three": (
        lambda d: d["args"]["tex_slat_sampler"]["params"].update(guidance_interval=[0, 1, 2]),
        "must have 2 values",
    ),
    "deviation of zero": (
        lambda d: d["args"]["tex_slat_normalization"]["std"].__setitem__(0, 0.0),
        "positive standard",
    ),
    "fewer means": (lambda d: d["args"]["shape_slat_normalization"]["mean"].pop(), "as many means"),
}


@pytest.mark.parametrize("what", PIPELINE_DAMAGE)
def test_a_wrong_pipeline_json_is_named(what: str, copy: Path) -> None:
    change, sentence = PIPELINE_DAMAGE[what]
    _json(copy / "pipeline.json", change)
    with pytest.raises(EngineError, match=sentence) as caught:
        Pipeline.from_folder(copy, device="cpu")
    assert "pipeline.json" in str(caught.value)


def test_a_pipeline_json_that_says_more_is_a_warning(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file was never seen when this was written, and comes after 14 GB of weights."""
    before = Repository(copy).config

    def say_more(data: dict[str, Any]) -> None:
        data["args"]["preview"] = {"views": 8}
        data["args"]["tex_slat_sampler"]["params"]["churn"] = 0.1
        data["args"]["tex_slat_sampler"]["args"]["schedule"] = "cosine"
        data["args"]["shape_slat_normalization"]["epsilon"] = 1e-6

    for file in ("pipeline.json", "texturing_pipeline.json"):
        _json(copy / file, say_more)
    assert Pipeline.from_folder(copy, device="cpu").config == before
    assert Repository(copy).texturing_config.samplers["tex_slat"] == before.samplers["tex_slat"]
    for key in ("preview", "churn", "schedule", "epsilon"):
        assert any(key in line and "pipeline.json" in line for line in caplog.messages), key
    caplog.clear()


def test_the_published_keys_are_no_news(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    repository = Repository(copy)
    assert repository.config and repository.texturing_config and not caplog.messages


def test_what_cannot_be_found_is_said(copy: Path) -> None:
    with pytest.raises(EngineError, match="There is no model folder"):
        Repository(copy / "nowhere")
    _json(copy / "pipeline.json", lambda d: d["args"]["models"].pop("tex_slat_decoder"))
    _json(copy / "pipeline.json", lambda d: d["args"]["models"].update(shape_slat_decoder="../../etc/passwd"))
    with pytest.raises(EngineError, match="names no file for tex_slat_decoder"):
        Repository(copy).stem("tex_slat_decoder")
    with pytest.raises(EngineError, match="leads out of the folder"):
        Repository(copy).stem("shape_slat_decoder")
    shutil.rmtree(copy / "facebook")
    with pytest.raises(EngineError, match=r"image_cond_model .* is missing .* --group dinov3 --accept dinov3"):
        Repository(copy).load_image_model(CPU)
    (copy / "pipeline.json").unlink()
    with pytest.raises(EngineError, match="pipeline.json is missing"):
        Pipeline.from_folder(copy, device="cpu")
    with pytest.raises(EngineError, match="There is no device"):
        Pipeline.from_folder(copy, device="abacus")
    with pytest.raises(EngineError, match="There is no dtype"):
        Pipeline.from_folder(copy, device="cpu", dtype="int4")
