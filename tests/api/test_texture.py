"""A mesh gets the look of a picture, from a script and from the command line, and what is kept of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from mesh_tools import colour_of_side, glb
from views_tools import COLOURS, picture

import trellis_addon
from trellis_addon.api import finish, retry
from trellis_addon.cli import main
from trellis_addon.client.backends import Backend
from trellis_addon.core.errors import DamagedFileError, FieldError, InputError
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.write import container
from trellis_addon.jobs.store import JobStore
from trellis_addon.stages import rework
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task, check_published

FRONT = 2  # a box's side, by `mesh_tools.SIDES`


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "thing.glb").write_bytes(glb(more=True))
    picture(0.0, colour=COLOURS["front"]).save(tmp_path / "front.png")
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store")


def is_front(data: bytes) -> bool:
    return all(abs(a - b) < 12 for a, b in zip(colour_of_side(data, 0, 0, FRONT), COLOURS["front"], strict=True))


def test_what_is_kept_of_it_makes_it_again(folder: Path, store: JobStore) -> None:
    made = trellis_addon.texture(folder / "thing.glb", folder / "front.png", store=store, seed=3, settings=QUICK)
    first = made.path.read_bytes()
    assert is_front(first) and made.name == "thing" and made.seed == 3
    assert made.provenance["mesh_sha256"] and made.engine == "draft:relief@1"
    assert "settings" in made.provenance and "facing" not in json.dumps(made.provenance["settings"])
    job = store.get(made.provenance["task_uuid"])
    assert job is not None and job.task.mesh
    assert finish(retry(job, store), Backend("draft"), store).path.read_bytes() == first
    again = rework(made, store=store, texture_format="png")
    assert is_front(again.path.read_bytes()) and again.provenance["source"]["stage"] == "all"

    with pytest.raises(FieldError, match="the file that it is made from"):
        trellis_addon.texture(folder / "thing.glb", folder / "front.png", store=store, output=folder)
    (folder / "out").mkdir()
    once_more = trellis_addon.texture(
        made, folder / "front.png", store=store, facing=180, output=folder / "out", settings=QUICK
    )
    assert once_more.path == folder / "out" / "thing.glb"
    assert once_more.provenance["settings"]["settings"]["facing"] == "180"


def test_what_cannot_be_is_said_before_anything_is_written_down(folder: Path, store: JobStore) -> None:
    mesh, image = folder / "thing.glb", folder / "front.png"
    (folder / "cut.glb").write_bytes(glb()[:-8])
    for wrong, kind, words in (
        ({"backend": "remote", "key": "k" * 32}, FieldError, "the remote API textures no mesh"),
        ({"facing": "above"}, FieldError, "settings.facing"),
        ({"uvs": "none"}, FieldError, "settings.uvs"),
        ({"output": folder / "out.obj"}, FieldError, "ends in .glb"),
    ):
        with pytest.raises(kind, match=words):
            trellis_addon.texture(mesh, image, store=store, **wrong)
    with pytest.raises(DamagedFileError):
        trellis_addon.texture(folder / "cut.glb", image, store=store)
    document, found = split_glb(glb())
    for node in document["nodes"]:
        node["scale"] = [0, 0, 0]
    with pytest.raises(InputError, match="no surface"):
        trellis_addon.texture(container(document, bytes(found)), image, store=store)
    with pytest.raises(FieldError, match="give a GLB"):
        trellis_addon.texture(image, image, store=store)
    with pytest.raises(InputError, match="cannot be read"):
        trellis_addon.texture(folder / "gone.glb", image, store=store)
    assert not store.unfinished()
    with pytest.raises(FieldError, match="for a mesh that is textured"):
        trellis_addon.generate(image, store=store, facing="back")
    for given in (Task("picture", mesh="AAAA"), Task("picture", Settings(facing="back"), mesh="AAAA")):
        with pytest.raises(FieldError, match="textures no mesh"):
            check_published(given)


def test_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("TRELLIS2_HOME", str(folder / "home"))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]
    where = [str(folder / "thing.glb"), str(folder / "front.png"), "--output", str(folder / "out.glb")]
    assert main(["texture", *where, "--facing", "0", "--new-uvs", "--seed", "4", *flags]) == 0
    assert "thing, engine: draft:relief@1, seed 4" in capsys.readouterr().out
    made = (folder / "out.glb").read_bytes()
    assert is_front(made) and json.loads((folder / "out.json").read_text(encoding="utf-8"))["seed"] == 4
    assert "TEXCOORD_2" in split_glb(made)[0]["meshes"][0]["primitives"][0]["attributes"], "beside the two it had"
    for wrong, words in (
        (["--backend", "remote"], "textures no mesh"),
        (["--facing", "up"], "degrees such as 135"),
        (["--view", "back"], "such as back=BACK.png"),
    ):
        assert main(["texture", *where, *wrong]) in (1, 2)
        assert words in capsys.readouterr().err


def test_a_mesh_with_a_skeleton_keeps_it(folder: Path, store: JobStore) -> None:
    document, binary = split_glb((folder / "thing.glb").read_bytes())
    document["skins"] = [{"joints": [0]}]
    (folder / "bones.glb").write_bytes(container(document, bytes(binary)))
    made = trellis_addon.texture(folder / "bones.glb", folder / "front.png", store=store, settings=QUICK)
    assert split_glb(made.path.read_bytes())[0]["skins"] == [{"joints": [0]}] and is_front(made.path.read_bytes())
