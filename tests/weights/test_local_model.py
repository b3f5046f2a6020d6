"""A small model from a mirror that is throttled, cut and damages what it sends, and the pipeline that runs it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import disc, sentence
from weights_mirror import Mirror, serving

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import IMAGE_MODEL, MODELS, TEXTURING_MODELS, Repository  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.pipeline.request import TYPES  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402
from trellis_addon.transfer import file as download_file  # noqa: E402
from trellis_addon.weights.fetching import fetch, needed, remove, status, verify  # noqa: E402
from trellis_addon.weights.manifest import make_manifest, write_manifest  # noqa: E402
from trellis_addon.weights.published import GROUP_OF_MODEL, MODELS_OF_TYPE  # noqa: E402

FEW = {"sparse_structure_steps": 1, "shape_slat_steps": 1, "tex_slat_steps": 1}


@contextlib.contextmanager
def served(folder: Path, timm: bool) -> Iterator[Mirror]:
    make_small(folder, timm=timm)
    write_manifest(folder, make_manifest(folder, "Small model"))
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with serving(Mirror(files)) as mirror:
        yield mirror


@pytest.fixture
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    with served(tmp_path_factory.mktemp("small"), timm=False) as mirror:
        yield mirror


def test_small_model_comes_through_a_bad_line_and_runs(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_file, "FIRST_WAIT", 0.002)
    mirror.rate = 4e6
    mirror.cuts = [10**7, 90_000, 20_000, 1, 50_000]
    mirror.damaged = {path: 1 for path in mirror.files if "tex_dec" in path}
    fetch(tmp_path, needed([512]), mirror.url, ["dinov3"])
    assert verify(tmp_path) == ()
    pipeline = Pipeline.from_folder(tmp_path, device="cpu")
    made = pipeline.run(disc(200), Settings(resolution=512, **FEW), seed=5)
    assert made.resolution == 512 and len(made.faces)

    with pytest.raises(EngineError) as caught:  # before anything is sampled
        pipeline.run(disc(200), Settings(resolution=1024, **FEW), seed=5)
    assert "slat_flow_model_1024" in sentence(caught.value) and "resolutions 1024 and 1536" in str(caught.value)
    assert "local weights fetch --group shape_1024" in str(caught.value)

    fetch(tmp_path, needed([1024]), mirror.url)
    remove(tmp_path, "texture_512")
    high = Pipeline.from_folder(tmp_path, device="cpu").run(disc(200), Settings(resolution=1024, **FEW), seed=5)
    assert high.resolution == 1024 and len(high.faces) > len(made.faces)
    assert {s.group.key for s in status(tmp_path) if s.state == "complete"} == set(needed([1024]))


def test_open_dinov3_of_a_mirror_serves_as_well(tmp_path: Path) -> None:
    with served(tmp_path / "small", timm=True) as mirror:
        fetch(tmp_path / "weights", ["core", "dinov3"], mirror.url, ["dinov3"])
    assert Repository(tmp_path / "weights").load_image_model(torch.device("cpu")).config.hidden_size == 64


def test_lists_of_networks_are_those_of_the_pipeline() -> None:
    assert set(MODELS_OF_TYPE) == set(TYPES)
    assert set(GROUP_OF_MODEL) == {*MODELS, *TEXTURING_MODELS, IMAGE_MODEL}
