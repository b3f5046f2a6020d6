"""Batches into .blend files as people have left them, and two of them into one."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, QUICK, ROOT, disc, run_python

bpy = pytest.importorskip("bpy")

from trellis_addon import batch  # noqa: E402
from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.batch.run import _Maker  # noqa: E402
from trellis_addon.cli import main  # noqa: E402
from trellis_addon.client.backends import Backend  # noqa: E402
from trellis_addon.core.errors import TrellisError  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")
FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    disc(200).save(folder / "pot.png")
    return folder


def run(pictures: Path, output: Path) -> list[batch.Row]:
    rows = batch.run_batch(pictures, output, Backend("draft"), Settings(QUICK))
    assert [row.message for row in rows if not row.is_good] == []
    bpy.ops.wm.open_mainfile(filepath=str(output))
    return rows


def save(path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    bpy.ops.wm.read_homefile(use_empty=True)


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "WEIGHT_PAINT", "TEXTURE_PAINT"])
def test_saved_in_a_mode(mode: str, pictures: Path, tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.object.mode_set(mode=mode)
    output = tmp_path / "out.blend"
    save(output)
    run(pictures, output)
    assert {"Cube", "pot"} <= {obj.name for obj in bpy.data.objects}
    assert bpy.data.objects["pot"].location.y > 1


@pytest.mark.parametrize(
    "add", ["armature_add", "curve.primitive_bezier_curve_add", "surface.primitive_nurbs_surface_sphere_add"]
)
def test_saved_while_something_else_was_edited(add: str, pictures: Path, tmp_path: Path) -> None:
    operator: Any = bpy.ops.object
    for name in add.split("."):
        operator = getattr(bpy.ops if name in ("curve", "surface") else operator, name)
    operator()
    bpy.ops.object.mode_set(mode="EDIT")
    output = tmp_path / "out.blend"
    save(output)
    run(pictures, output)
    assert "pot" in bpy.data.objects and len(bpy.data.objects) == 2


def test_another_scene_is_the_open_one(pictures: Path, tmp_path: Path) -> None:
    bpy.context.window_manager.windows[0].scene = bpy.data.scenes.new("Second")
    output = tmp_path / "out.blend"
    save(output)
    run(pictures, output)
    assert "pot" in bpy.data.scenes["Second"].objects and len(bpy.data.scenes) == 2


def test_the_open_scene_is_another_files(pictures: Path, tmp_path: Path) -> None:
    bpy.context.scene.name = "Theirs"
    library, output = tmp_path / "library.blend", tmp_path / "out.blend"
    save(library)
    with bpy.data.libraries.load(str(library), link=True) as (_, into):
        into.scenes = ["Theirs"]
    bpy.context.window_manager.windows[0].scene = into.scenes[0]
    save(output)
    run(pictures, output)
    scene = next(scene for scene in bpy.data.scenes if "pot" in scene.objects)
    assert scene.is_editable


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_linked_or_missing_is_no_hindrance(is_there: bool, pictures: Path, tmp_path: Path) -> None:
    bpy.ops.mesh.primitive_cube_add()
    crate = bpy.data.collections.new("Crate")
    bpy.context.scene.collection.children.link(crate)
    crate.objects.link(bpy.context.object)
    library, output = tmp_path / "library.blend", tmp_path / "out.blend"
    save(library)
    with bpy.data.libraries.load(str(library), link=True) as (_, into):
        into.collections, into.objects = ["Crate"], ["Cube"]
    bpy.context.scene.collection.children.link(into.collections[0])
    bpy.context.scene.collection.objects.link(into.objects[0])
    save(output)
    if not is_there:
        library.unlink()
    run(pictures, output)
    assert "pot" in bpy.context.scene.objects


def test_a_grid_that_cannot_be_laid_loses_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*arguments: Any) -> None:
        raise KeyError("position")

    monkeypatch.setattr(blender, "lay_out_grid", odd, raising=False)
    run(pictures, tmp_path / "out.blend")
    assert "pot" in bpy.data.objects


def test_an_import_that_nobody_foresaw_takes_no_others_along(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disc(240, (30, 200, 90)).save(pictures / "vase.png")
    real = blender.import_asset

    def odd(asset: Any, **options: Any) -> Any:
        if asset.name == "pot":
            raise KeyError("position")
        return real(asset, **options)

    monkeypatch.setattr(blender, "import_asset", odd, raising=False)
    output = tmp_path / "out.blend"
    rows = batch.run_batch(pictures, output, Backend("draft"), Settings(QUICK))
    assert {row.image.name: row.state for row in rows} == {"pot.png": "failed", "vase.png": "made"}
    bpy.ops.wm.open_mainfile(filepath=str(output))
    assert "vase" in bpy.data.objects


def test_one_file_has_one_writer_at_a_time(pictures: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.blend"
    (tmp_path / "link").symlink_to(tmp_path)
    with files.alone_with(output):
        for same in (output, tmp_path / "link" / "out.blend", tmp_path / "." / "pictures" / ".." / "out.blend"):
            refused: list[Exception] = []

            def begin(same: Path = same, refused: list[Exception] = refused) -> None:
                try:
                    with files.alone_with(same):
                        pass
                except TrellisError as error:
                    refused.append(error)

            thread = threading.Thread(target=begin)
            thread.start()
            thread.join()
            assert len(refused) == 1 and "out.blend is being written by another program" in str(refused[0])
        done = run_python("-m", "trellis_addon", "batch", str(pictures), "--output", str(output), *FLAGS)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert "is being written by another program" in done.stdout + done.stderr
        with files.alone_with(tmp_path / "other.blend"):
            pass
    run(pictures, output)


def test_what_another_program_has_saved_meanwhile_stays(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.blend"
    save(output)
    real = _Maker._work_on

    def meanwhile(*arguments: Any) -> None:
        real(*arguments)
        code = "import bpy, sys; bpy.ops.wm.open_mainfile(filepath=sys.argv[1]); bpy.ops.mesh.primitive_cube_add();"
        done = run_python("-c", f"{code} bpy.ops.wm.save_mainfile()", str(output))
        assert done.returncode == 0, done.stderr

    monkeypatch.setattr(_Maker, "_work_on", meanwhile)
    with pytest.raises(TrellisError, match="saved by another program meanwhile"):
        batch.run_batch(pictures, output, Backend("draft"), Settings(QUICK))
    monkeypatch.undo()
    rows = run(pictures, output)
    assert {obj.name for obj in bpy.data.objects} == {"Cube", "pot"} and rows[0].state == "reused"


def test_two_batches_at_once_lose_nothing(pictures: Path, tmp_path: Path) -> None:
    output, second = tmp_path / "out.blend", tmp_path / "second"
    second.mkdir()
    disc(240, (30, 200, 90)).save(second / "vase.png")
    command = [sys.executable, "-m", "trellis_addon", "batch"]
    begun = [
        subprocess.Popen([*command, str(folder), "--output", str(output), *FLAGS], cwd=ROOT, stdout=subprocess.PIPE)
        for folder in (pictures, second)
    ]
    codes = {name: process.wait(PATIENCE) for name, process in zip(("pot", "vase"), begun, strict=True)}
    for process in begun:
        assert process.stdout is not None
        process.stdout.close()
    bpy.ops.wm.open_mainfile(filepath=str(output))
    assert 0 in codes.values()
    assert {name for name, code in codes.items() if code == 0} == {obj.name for obj in bpy.data.objects}


def test_a_batch_is_held_against_a_contract(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text('{"names": "SM_*", "triangles": 100, "maps": ["emission"]}')
    command = ["batch", f"{pictures}", "--output", f"{tmp_path / 'a.blend'}", *FLAGS, "--height", "2"]
    assert main([*command, "--mend"]) == 2 and "--contract" in capsys.readouterr().err
    assert main([*command, "--contract", "nothing"]) == 2 and not (tmp_path / "a.blend").exists()
    assert main([*command, "--contract", f"{rules}"]) == 0
    said = capsys.readouterr().out
    assert 'names: The name "pot" does not fit' in said, said
    assert "triangles: It has" in said and "maps: It lacks" in said
    assert "0 of 1 keep the contract." in said

    command[3] = f"{tmp_path / 'b.blend'}"
    assert main([*command, "--contract", f"{rules}", "--mend"]) == 0
    said = capsys.readouterr().out
    assert "maps: It lacks" in said and "triangles:" not in said and "names:" not in said
    bpy.ops.wm.open_mainfile(filepath=command[3])
    (obj,) = [obj for obj in bpy.data.objects if obj.type == "MESH"]
    assert obj.name == "SM_pot" and len(obj.data.polygons) <= 100 and obj.asset_data is not None


def test_views_of_one_object_are_one_asset(tmp_path: Path) -> None:
    from views_tools import pictures as views

    folder, output = tmp_path / "pictures", tmp_path / "out.blend"
    folder.mkdir()
    for view, picture in views("front", "back", "left").items():
        picture.save(folder / f"thing_{view}.png")
    disc(120).save(folder / "pot.png")
    rows = run(folder, output)
    assert [(row.image.name, sorted(row.views)) for row in rows] == [
        ("pot.png", []),
        ("thing_front.png", ["back", "left"]),
    ]
    assert {"pot", "thing"} <= {obj.name for obj in bpy.data.objects}
    assert [row.state for row in run(folder, output)] == ["present", "present"]
    views("back", "right")["right"].save(folder / "thing_back.png")
    assert [row.state for row in run(folder, output)] == ["present", "made"], "another back is another asset"
    (folder / "pot.png").unlink()
    (row,) = batch.run_batch(folder, tmp_path / "paid.blend", Backend("remote", "k" * 32), Settings(QUICK))
    assert row.state == "failed" and "the remote API makes an asset of one picture" in row.message


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--height", "0"], "height: 0.0 m"),
        (["--height", "nan"], "height: nan m"),
        (["--report", "FILE"], "cannot be written"),
    ],
)
def test_what_is_wrong_for_the_scene_is_said_before_anything_is_made(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], words: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    wrong = [option.replace("FILE", f"{tmp_path / 'file'}") for option in wrong]
    output, before = tmp_path / "a.blend", JobStore().recent()
    assert main(["batch", f"{pictures}", "--output", f"{output}", *FLAGS, *wrong]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said and not output.exists() and JobStore().recent() == before


def test_the_picture_of_an_asset_is_not_put_into_its_file(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, picture = f"{tmp_path / 'a.glb'}", next(pictures.iterdir())
    assert main(["generate", f"{picture}", "--output", output, "--render", output, *FLAGS]) == 2
    assert "cannot be one file" in capsys.readouterr().err
    assert main(["generate", f"{picture}", "--output", output, "--height", "-3", *FLAGS]) == 2
    assert not Path(output).exists()
