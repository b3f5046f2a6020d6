"""Damaged files: an object that is sound, or a sentence and a scene without a trace of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SCOPE, sentence

bpy = pytest.importorskip("bpy")

from scene_objects import check_sound, datablocks, write  # noqa: E402
from test_glb_check import (  # noqa: E402
    USHORT,
    Glb,
    animated,
    broken_bytes,
    broken_json,
    pack,
    refused,
    rich,
    simple,
)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, TrellisError  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def survive(tmp_path: Path) -> Callable[[str, bytes], bool]:
    """Imports bytes: an object that is sound, or a sentence and a file as it was."""
    bpy.data.meshes.new("Something of the artist's").use_fake_user = True
    before = datablocks()
    path = tmp_path / "input.glb"  # where the culprit lies should Blender itself come down

    def run(name: str, data: bytes) -> bool:
        path.write_bytes(data)
        try:
            obj = blender.import_asset(path, location=(0, 0, 0))
        except DamagedFileError as error:
            sentence(error)
            assert datablocks() == before, name
            return False
        except TrellisError as error:
            raise AssertionError(f"{name}: {error!r}") from error
        try:
            check_sound(obj)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
        kept = {(kind, block) for kind, block, _ in before}
        new = [getattr(bpy.data, kind)[block] for kind, block, _ in datablocks() if (kind, block) not in kept]
        bpy.data.batch_remove(new)
        assert datablocks() == before, name
        return True

    return run


def test_broken_files_leave_nothing_behind(survive: Callable[[str, bytes], bool]) -> None:
    outcomes = [survive(name, data) for name, data in broken_bytes(rich().done(), 300)]
    assert len(outcomes) > 300 and 0.02 < np.mean(outcomes) < 0.7


@pytest.mark.parametrize("make", [rich, animated])
def test_broken_values_leave_nothing_behind(make: Callable[[], Glb], survive: Callable[[str, bytes], bool]) -> None:
    """All that the check lets through, and some of what it refuses; in the releases between, every fourth of them."""
    step = 4 if SCOPE == "between" else 1
    glb = make()
    binary, document = bytes(glb.binary), {**glb.document, "buffers": [{"byteLength": len(glb.binary)}]}
    outcomes = []
    for number, (name, changed) in enumerate(broken_json(document)):
        data = pack(changed, binary)
        if number % step == 0 and (number % 10 == 0 or not refused(data)):
            outcomes.append(survive(name, data))
    assert len(outcomes) > 200 / step and sum(outcomes) > 50 / step


@pytest.mark.parametrize("seed", range(8))
def test_triangles_that_are_no_polygon_although_the_file_says_so(
    seed: int, survive: Callable[[str, bytes], bool]
) -> None:
    """FB_ngon_encoding on indices drawn at random: corners twice in a face, faces of no area, fans across the cube."""
    glb, dice = simple(), np.random.default_rng(seed)
    primitive = glb.document["meshes"][0]["primitives"][0]
    drawn = np.sort(dice.integers(0, 24, (30, 3)), axis=0)  # many begin with the same corner
    primitive["indices"] = glb.accessor(drawn.reshape(-1), USHORT)
    primitive["extensions"] = {"FB_ngon_encoding": {}}
    glb.document["extensionsUsed"] = ["FB_ngon_encoding"]
    survive(f"drawn {seed}", glb.done())


def test_a_failure_between_others_leaves_them_alone(tmp_path: Path) -> None:
    good = write(tmp_path, simple(), "good")
    first = blender.import_asset(good)
    before = datablocks()
    for data in (b"", good.read_bytes()[:-8], simple().done().replace(b'"mesh": 0', b'"mesh": 7')):
        with pytest.raises(DamagedFileError):
            blender.import_asset(write(tmp_path, data, "bad"))
        assert datablocks() == before
    check_sound(blender.import_asset(good, location=(0, 0, 0)))
    assert first.name in bpy.context.scene.objects


def test_a_failure_after_the_importer_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trellis_addon.scene.importing import importer

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(importer, "wire_materials", fail)
    before = datablocks()
    with pytest.raises(KeyboardInterrupt):
        blender.import_asset(write(tmp_path, rich()))
    assert datablocks() == before


def test_places_without_a_file(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.glb", tmp_path, Path("")):
        with pytest.raises(TrellisError) as caught:
            blender.import_asset(path)
        sentence(caught.value)
    with pytest.raises(TrellisError):
        blender.import_asset("")


@pytest.mark.parametrize("text", ["[1, 2]", "null", "{", '"x"', "\x00"])
def test_damaged_provenance_is_a_sentence(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, simple())
    path.with_suffix(".json").write_text(text)
    with pytest.raises(DamagedFileError, match="provenance") as caught:
        blender.import_asset(path)
    sentence(caught.value)


@pytest.mark.parametrize("height", [0, -1, math.nan, math.inf, 1e9])
def test_impossible_heights(height: float, tmp_path: Path) -> None:
    before = datablocks()
    with pytest.raises(TrellisError, match="height"):
        blender.import_asset(write(tmp_path, simple()), height=height)
    assert datablocks() == before
