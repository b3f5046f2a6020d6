"""Make a small model with random weights in the layout of the published one: for tests, and to try everything out.

    python -m devtools.pipeline.make_small FOLDER [--seed 0] [--timm]

All files of the repository are there, with the published names, JSON files and dtypes, in a few megabytes. What it
makes of a picture looks like nothing, but every stage runs as with the real model, in seconds on a CPU: a few hundred
voxels are occupied, and each of them refines into a sheet.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from trellis_addon.core.errors import EngineError
from trellis_addon.core.streams import prepare_streams
from trellis_addon.pipeline.checkpoint.dinov3_files import CLASS_NAME, MODEL_NAME, TIMM_NAME, to_timm
from trellis_addon.pipeline.checkpoint.repository import MODELS, TEXTURING_MODELS
from trellis_addon.pipeline.networks.dinov3 import DinoConfig, DINOv3
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
from trellis_addon.pipeline.networks.network import Network
from trellis_addon.pipeline.networks.structure_decoder import SparseStructureDecoder, StructureDecoderConfig
from trellis_addon.pipeline.networks.structure_flow import SparseStructureFlowModel
from trellis_addon.pipeline.networks.transformer import FlowConfig
from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig, FlexiDualGridVaeDecoder, SparseUnetVaeDecoder
from trellis_addon.pipeline.networks.vae_encoder import EncoderConfig, FlexiDualGridVaeEncoder
from trellis_addon.task.settings import SAMPLER_DEFAULTS

FILES = {
    "sparse_structure_flow_model": "ckpts/ss_flow_img_dit_1_3B_64_bf16",
    "sparse_structure_decoder": "microsoft/TRELLIS-image-large/ckpts/ss_dec_conv3d_16l8_fp16",
    "shape_slat_flow_model_512": "ckpts/slat_flow_img2shape_dit_1_3B_512_bf16",
    "shape_slat_flow_model_1024": "ckpts/slat_flow_img2shape_dit_1_3B_1024_bf16",
    "shape_slat_decoder": "ckpts/shape_dec_next_dc_f16c32_fp16",
    "tex_slat_flow_model_512": "ckpts/slat_flow_imgshape2tex_dit_1_3B_512_bf16",
    "tex_slat_flow_model_1024": "ckpts/slat_flow_imgshape2tex_dit_1_3B_1024_bf16",
    "tex_slat_decoder": "ckpts/tex_dec_next_dc_f16c32_fp16",
    "shape_slat_encoder": "ckpts/shape_enc_next_dc_f16c32_fp16",
}
LATENT = 4  # channels of all latents
COND = 64  # channels of the image features: one head of DINOv3
OCCUPIED = 0.0002  # share of the 64^3 voxels
WIDTHS = (32, 16, 8, 8, 8)


def make_small(folder: Path, seed: int = 0, timm: bool = False) -> Path:
    """Write the model into `folder`, which is made if need be, and return it; `timm` chooses DINOv3's other layout."""
    folder = Path(folder)
    generator = torch.Generator().manual_seed(seed)
    try:
        _write_models(folder, generator)
        _write_image_model(folder, generator, timm)
        _write_pipelines(folder)
    except OSError as error:
        raise EngineError(f"The small model cannot be written to {folder}: {error}.") from None
    return folder


def _write_models(folder: Path, generator: torch.Generator) -> None:
    decoder = {
        "model_channels": WIDTHS,
        "latent_channels": LATENT,
        "num_blocks": (1, 1, 0, 0, 0),
        "block_type": ("SparseConvNeXtBlock3d",) * 5,
        "up_block_type": ("SparseResBlockC2S3d",) * 4,
        "block_args": ({},) * 5,
        "use_fp16": True,
    }
    encoder = {key: value for key, value in decoder.items() if key != "up_block_type"} | {
        "model_channels": WIDTHS[::-1],
        "num_blocks": (0, 0, 0, 1, 1),
        "down_block_type": ("SparseResBlockS2C3d",) * 4,
    }
    structure = {
        "out_channels": 1,
        "latent_channels": LATENT,
        "num_res_blocks": 1,
        "num_res_blocks_middle": 1,
        "channels": (8, 8, 8, 8),
        "use_fp16": True,
    }
    configs: dict[str, tuple[Callable[..., Network], Any, dict[str, Any]]] = {
        "sparse_structure_flow_model": (SparseStructureFlowModel, FlowConfig, _flow(8, LATENT)),
        "sparse_structure_decoder": (SparseStructureDecoder, StructureDecoderConfig, structure),
        "shape_slat_flow_model_512": (SLatFlowModel, FlowConfig, _flow(32, LATENT)),
        "shape_slat_flow_model_1024": (SLatFlowModel, FlowConfig, _flow(64, LATENT)),
        "shape_slat_decoder": (FlexiDualGridVaeDecoder, DecoderConfig, {"resolution": 256, **decoder}),
        "tex_slat_flow_model_512": (SLatFlowModel, FlowConfig, _flow(32, 2 * LATENT)),
        "tex_slat_flow_model_1024": (SLatFlowModel, FlowConfig, _flow(64, 2 * LATENT)),
        "tex_slat_decoder": (
            SparseUnetVaeDecoder,
            DecoderConfig,
            {"out_channels": 6, "pred_subdiv": False, **decoder},
        ),
        "shape_slat_encoder": (FlexiDualGridVaeEncoder, EncoderConfig, encoder),
    }
    for name, (build, config, arguments) in configs.items():
        network = _random(build(config(**arguments)), generator)
        _adjust(network, generator)
        description = {"name": {**MODELS, **TEXTURING_MODELS}[name], "args": arguments}
        _write(folder / FILES[name], description, _as_stored(network))


def _flow(resolution: int, channels: int) -> dict[str, Any]:
    return {
        "resolution": resolution,
        "in_channels": channels,
        "out_channels": LATENT,
        "model_channels": 32,
        "cond_channels": COND,
        "num_blocks": 2,
        "num_heads": 2,
        "mlp_ratio": 2.0,
        "pe_mode": "rope",
        "share_mod": True,
        "initialization": "scaled",
        "qk_rms_norm": True,
        "qk_rms_norm_cross": True,
        "dtype": "bfloat16",
    }


def _random(network: Network, generator: torch.Generator) -> Network:
    """Weights that keep the scale of what goes through."""
    for key, parameter in network.named_parameters():
        if key.endswith(("gamma", "lambda1")) or ("norm" in key and key.endswith("weight")):
            parameter.data.fill_(1)
        elif parameter.dim() > 1:
            # a sparse convolution has its inputs in the last axis and finds about a third of its neighbours
            sparse = parameter.dim() == 5 and parameter.shape[1:4] == (3, 3, 3)
            inputs = 9 * parameter.shape[-1] if sparse else parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) / inputs**0.5
        else:
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.requires_grad_(False)


def _adjust(network: Network, generator: torch.Generator) -> None:
    """What makes a random network's answers useful: few voxels, which refine into sheets that have faces."""
    if isinstance(network, SLatFlowModel | SparseStructureFlowModel):
        network.out_layer.weight.data *= 0.02  # little comes on top of the noise
    elif isinstance(network, SparseStructureDecoder):
        z = torch.randn((1, LATENT, 8, 8, 8), generator=generator)
        network.torso, torso = torch.float32, network.torso
        head = network.out_layer[-1]
        assert isinstance(head, torch.nn.Conv3d) and head.bias is not None
        head.bias.data -= network(z).flatten().quantile(1 - OCCUPIED)
        network.torso = torso
    elif isinstance(network, FlexiDualGridVaeDecoder):
        lower = torch.tensor([1.0 if corner < 4 else -1.0 for corner in range(8)])  # corners with z = 0
        for key, parameter in network.named_parameters():
            if "to_subdiv" in key:
                parameter.data = 3 * lower if key.endswith("bias") else 0.3 * parameter.data
        network.output_layer.bias.data = torch.tensor(
            [0, 0, 0, -2.0, -2.0, 2.0, 0]
        )  # the surface crosses edges along z
        network.output_layer.weight.data *= 0.5


def _as_stored(network: Network) -> dict[str, Tensor]:
    """The weights in the dtypes of the published files: 16 bits, but for some of the structure decoder's."""
    mixed = isinstance(network, SparseStructureDecoder)
    return {
        key: (tensor if mixed and not network.in_torso(key) else tensor.to(network.torso)).contiguous()
        for key, tensor in network.state_dict().items()
    }


def _write_image_model(folder: Path, generator: torch.Generator, timm: bool) -> None:
    config = DinoConfig(
        patch_size=32, hidden_size=COND, intermediate_size=128, num_hidden_layers=2, num_attention_heads=1
    )
    network = _random(DINOv3(config), generator)
    weights = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    if timm:
        place, weights = TIMM_NAME, to_timm(weights)
        description: dict[str, Any] = {"architecture": "vit_large_patch16_dinov3_qkvb", "num_features": COND}
    else:
        place = MODEL_NAME
        description = {"architectures": ["DINOv3ViTModel"], "model_type": "dinov3_vit", **asdict(config)}
    _write_to(folder / place, "config.json", description, "model.safetensors", weights)


def _write_pipelines(folder: Path) -> None:
    samplers = {
        f"{name}_sampler": {
            "name": "FlowEulerGuidanceIntervalSampler",
            "args": {"sigma_min": 1e-5},
            "params": {
                "steps": own.steps,
                "guidance_strength": own.guidance_strength,
                "guidance_rescale": own.guidance_rescale,
                "guidance_interval": own.guidance_interval,
                "rescale_t": own.rescale_t,
            },
        }
        for name, own in SAMPLER_DEFAULTS.items()
    }
    common = {
        "shape_slat_normalization": {"mean": [0.5, -0.5, 0.25, 0.0], "std": [2.0, 1.5, 1.0, 2.5]},
        "tex_slat_normalization": {"mean": [-0.5, 0.5, 0.0, 0.25], "std": [1.5, 2.0, 1.0, 1.25]},
        "image_cond_model": {"name": CLASS_NAME, "args": {"model_name": MODEL_NAME}},
        "rembg_model": {"name": "BiRefNet", "args": {"model_name": "briaai/RMBG-2.0"}},
    }
    whole = {"models": {name: FILES[name] for name in MODELS}, **samplers, **common}
    whole["default_pipeline_type"] = "1024_cascade"
    texturing = {"models": {name: FILES[name] for name in TEXTURING_MODELS}, **common}
    texturing["tex_slat_sampler"] = samplers["tex_slat_sampler"]
    _write_json(folder / "pipeline.json", {"name": "Trellis2ImageTo3DPipeline", "args": whole})
    _write_json(folder / "texturing_pipeline.json", {"name": "Trellis2TexturingPipeline", "args": texturing})


def _write(stem: Path, description: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
    _write_to(stem.parent, f"{stem.name}.json", description, f"{stem.name}.safetensors", weights)


def _write_to(folder: Path, config: str, description: Mapping[str, Any], file: str, weights: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / config, description)
    save_file(weights, folder / file, metadata={"format": "pt"})


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m devtools.pipeline.make_small", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to; it is made if it is not there")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--timm", action="store_true", help="write DINOv3 in the layout of timm's mirror")
    arguments = parser.parse_args(argv)
    print(f"A small model is in {make_small(arguments.folder, arguments.seed, arguments.timm)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
