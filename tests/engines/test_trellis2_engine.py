"""The TRELLIS.2 engine, whole: a picture in, a GLB out, through the service, with small weights in the real layout."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

from trellis_addon import generate  # noqa: E402
from trellis_addon.client.local_service import start_service  # noqa: E402
from trellis_addon.core.configuration import DEVICE_VARIABLE, MEMORY_VARIABLE, WEIGHTS_VARIABLE  # noqa: E402
from trellis_addon.core.errors import Cancelled, EngineError, TrellisError  # noqa: E402
from trellis_addon.engines import registry  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.formats.glb.check import check_glb_file  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from devtools.pipeline.make_small import make_small

    folder = tmp_path_factory.mktemp("weights")
    make_small(folder)
    return folder


def extras(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])["asset"]["extras"]


def test_whether_it_is_there(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    assert not registry.trellis2_available()
    assert registry.engine_for("microsoft:trellis-2@4b", "auto") == "draft:relief@1"
    with pytest.raises(EngineError, match="not installed"):
        registry.create_engine("microsoft:trellis-2@4b")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(weights))
    assert registry.trellis2_available()
    assert registry.engine_for("microsoft:trellis-2@4b", "auto") == "microsoft:trellis-2@4b"


def test_a_picture_becomes_a_finished_asset(
    weights: Path, disc_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {f"{stage}_steps": 2 for stage in ("sparse_structure", "shape_slat", "tex_slat")}
    settings: dict[str, Any] = {"resolution": 512, "texture_size": 1024, "remesh": False, "seed": 3, **few}
    for variable, value in ((WEIGHTS_VARIABLE, str(weights)), (DEVICE_VARIABLE, "cpu")):
        monkeypatch.setenv(variable, value)
    service = start_service("trellis2")
    try:
        first = generate(disc_file, backend=service.url, key=service.token, output=tmp_path / "first.glb", **settings)
        again = generate(disc_file, backend=service.url, key=service.token, output=tmp_path / "again.glb", **settings)
    finally:
        service.stop()
    assert first.engine == "microsoft:trellis-2@4b" and first.seed == 3
    assert check_glb_file(first.path)
    told = extras(first.path)
    assert told["engine"] == "microsoft:trellis-2@4b" and told["quality"]["faces"] > 100
    assert first.path.read_bytes() == again.path.read_bytes(), "the same seed, the same asset"

    bpy = pytest.importorskip("bpy")
    bpy.ops.wm.read_homefile(use_empty=True)
    from trellis_addon.scene import import_asset

    obj = import_asset(first, height=1.0)
    assert obj.dimensions.z == pytest.approx(1.0, rel=1e-4) and len(obj.data.uv_layers) == 1


def test_what_is_wrong_is_told_in_a_sentence(
    weights: Path, disc_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trellis_addon.engines.trellis2 import memory_budget

    monkeypatch.setenv(MEMORY_VARIABLE, "much")
    with pytest.raises(TrellisError, match="TRELLIS2_MEMORY.*much"):
        memory_budget()
    monkeypatch.setenv(MEMORY_VARIABLE, "1.5")
    assert memory_budget() == 1610612736


def test_it_shows_the_rough_shape_and_then_the_dense_one(
    weights: Path, disc_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each before what takes long: sampling the shape, and finishing."""
    from PIL import Image

    from trellis_addon.core.progress import Progress
    from trellis_addon.engines.trellis2 import Trellis2Engine
    from trellis_addon.formats.early_picture import is_small
    from trellis_addon.task.settings import Settings

    monkeypatch.setenv(DEVICE_VARIABLE, "cpu")
    told: list[Any] = []
    pictures: list[bytes] = []

    def on_picture(png: bytes, _: int) -> None:
        told.append("picture")
        pictures.append(png)

    # finishing is given up as soon as it begins
    progress = Progress(lambda stage, share: told.append(str(stage)), lambda: len(pictures) == 2, on_picture=on_picture)
    few = {f"{stage}_steps": 1 for stage in ("sparse_structure", "shape_slat", "tex_slat")}
    settings = Settings({"resolution": 512, "texture_size": 1024, **few})
    with Image.open(disc_file) as picture, pytest.raises(Cancelled):
        Trellis2Engine(weights).generate(Order(picture.convert("RGBA"), settings, 3), progress)
    rough, dense = (at for at, entry in enumerate(told) if entry == "picture")
    assert all(map(is_small, pictures)) and pictures[0] != pictures[1]
    assert told[rough - 1] == "Finding the rough shape" and told[rough + 1] == "Shaping"
    assert told[dense - 1] == "Building the mesh" and dense == len(told) - 1
