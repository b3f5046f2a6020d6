"""Several views of one object from a script and from the command line, and what is kept of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from views_tools import pictures

from trellis_addon import generate
from trellis_addon.api import fingerprint, finish, retry
from trellis_addon.cli import main
from trellis_addon.client.backends import Backend
from trellis_addon.core.errors import FieldError, ImageError
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.jobs.store import JobStore
from trellis_addon.stages import rework
from trellis_addon.task.settings import DRAFT_MODEL, Settings

FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for view, picture in pictures("front", "back", "left", "135").items():
        picture.save(tmp_path / f"thing_{view}.png")
    return tmp_path


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "store")


def test_views_reach_the_engine_and_the_provenance(folder: Path, store: JobStore) -> None:
    front, views = folder / "thing_front.png", {"back": folder / "thing_back.png", 270: folder / "thing_left.png"}
    made = generate(front, views=views, store=store, seed=3, settings=QUICK)
    assert made.name == "thing", "it is called after the object"
    job = store.get(made.provenance["task_uuid"])
    assert job is not None and list(job.views) == ["back", "left"] == list(made.provenance["views"])
    assert made.provenance["views"]["back"] == hashlib.sha256(job.views["back"].encode()).hexdigest()
    alone = generate(front, store=store, seed=3, settings=QUICK)
    assert "views" not in alone.provenance and alone.path.read_bytes() != made.path.read_bytes()

    again = finish(retry(job, store), Backend("draft"), store)
    assert again.path.read_bytes() == made.path.read_bytes()
    lossless = rework(made, store=store, texture_format="png")
    assert list(lossless.provenance["views"]) == ["back", "left"]
    assert b"image/jpeg" in made.path.read_bytes() and b"image/jpeg" not in lossless.path.read_bytes()


def test_what_cannot_be_is_said_before_anything_is_written_down(folder: Path, store: JobStore) -> None:
    front = folder / "thing_front.png"
    with pytest.raises(FieldError, match="the remote API makes an asset of one picture"):
        generate(front, views={"back": front}, backend="remote", key="k" * 32, store=store)
    with pytest.raises(ImageError, match=r"The back view: There is no image file"):
        generate(front, views={"back": folder / "none.png"}, store=store)
    with pytest.raises(FieldError, match="the front is the picture itself"):
        generate(front, views={"front": front}, store=store)
    assert store.recent() == []


def test_differences_are_told(folder: Path, store: JobStore, caplog: pytest.LogCaptureFixture) -> None:
    made = generate(folder / "thing_front.png", views={"back": folder / "thing_back.png"}, store=store, settings=QUICK)
    assert "back view has other colours" in caplog.text
    assert any("back view has other colours" in note for note in made.provenance["notes"])


def test_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS2_HOME", str(folder / "data"))

    def run(*arguments: str) -> tuple[int, Any]:
        code = main(["generate", str(folder / "thing_front.png"), *FLAGS, *arguments])
        return code, capsys.readouterr()

    output = folder / "out.glb"
    back, other = folder / "thing_back.png", folder / "thing_135.png"
    code, said = run("--view", f"back={back}", "--view", f"135={other}", "--output", str(output), "--seed", "1")
    assert code == 0, said.err
    assert list(json.loads(output.with_suffix(".json").read_text())["views"]) == ["135", "back"]
    for wrong, sentence in (
        ("back", "such as back=BACK.png"),
        (f"behind={back}", "degrees such as 135"),
        (f"back={folder / 'none.png'}", "The back view: There is no image file"),
    ):
        code, said = run("--view", wrong, "--output", str(output))
        assert code and sentence in said.err and "Traceback" not in said.err
    code, said = run("--texture", "false", "--output", str(output))
    assert code == 0 and json.loads(output.with_suffix(".json").read_text())["settings"]["settings"]["texture"] is False
    code, said = run("--view", f"back={back}", "--view", f"180={back}", "--output", str(output))
    assert code and "once" in said.err


def test_other_views_are_other_work(folder: Path) -> None:
    front, back, left = (folder / f"thing_{view}.png" for view in ("front", "back", "left"))
    marks = {
        fingerprint(front, Settings(), DRAFT_MODEL, views=views)
        for views in (None, {"back": back}, {"left": back}, {"back": left})
    }
    assert len(marks) == 4
    assert fingerprint(front, Settings(), DRAFT_MODEL, views={}) in marks, "as before there were views"


def test_the_shape_first_and_its_texture_later(folder: Path, store: JobStore) -> None:
    front, views = folder / "thing_front.png", {"left": folder / "thing_left.png"}
    whole = generate(front, views=views, store=store, seed=3, settings=QUICK)
    shape = generate(front, views=views, store=store, seed=3, settings={**QUICK, "texture": False})
    assert shape.path.stat().st_size < whole.path.stat().st_size
    assert shape.provenance["settings"]["settings"]["texture"] is False
    finer = rework(shape, store=store, decimation_target=100_000)
    assert finer.provenance["settings"]["settings"]["texture"] is False
    added = rework(shape, store=store, texture_again=True, seed=3)
    assert "texture" not in added.provenance["settings"]["settings"]
    assert (
        check_glb_file(added.path) and b"image/" in added.path.read_bytes() and b"image/" not in shape.path.read_bytes()
    )
    with pytest.raises(FieldError, match=r"settings\.texture: the remote API does not know it"):
        generate(front, backend="remote", key="k" * 32, texture=False, store=store)
