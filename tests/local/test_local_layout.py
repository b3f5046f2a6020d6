"""The chosen folder: which it is, what it says about itself, and that what runs in it keeps to it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
from conftest import run_python, sentence

from trellis_addon.core.errors import EngineError
from trellis_addon.core.folders import default_folder
from trellis_addon.core.version import VERSION
from trellis_addon.runtime.layout import Installation, LocalFolder, chosen_folder, local_folder


def test_which_folder_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRELLIS2_LOCAL", raising=False)
    assert local_folder().root == default_folder() / "local"
    new, empty, full = (tmp_path / name for name in ("new", "empty", "full"))
    empty.mkdir()
    full.mkdir()
    (full / "diary.txt").write_text("")
    assert chosen_folder(new).root == new and chosen_folder(empty).root == empty
    assert chosen_folder(full).root == full / "trellis2", "what has other things in it is not filled"
    chosen_folder(empty).claim()
    (empty / "diary.txt").write_text("")
    assert chosen_folder(empty).root == empty, "what is ours stays so"
    monkeypatch.setenv("TRELLIS2_LOCAL", str(full))
    assert local_folder().root == full / "trellis2"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRELLIS2_LOCAL", "new")
    assert local_folder().root == new
    assert not new.exists() and sorted(path.name for path in full.iterdir()) == ["diary.txt"], "asking makes nothing"


def test_what_it_says_about_itself(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "a" / "b" / "c")
    assert folder.state() is None and not folder.is_installed
    assert folder.claim() == Installation(version=VERSION, made_root=True, made_above=2)
    state = Installation("1.2.3", "cuda", "3.12.1", "2.13.0", True, 1.7e9, True, 2, "cuda", "0123")
    folder.write_state(state)
    assert folder.state() == state and folder.claim() == state
    assert not folder.is_installed, "there is no interpreter"
    folder.python.parent.mkdir(parents=True)
    folder.python.touch()
    assert folder.is_installed
    # a newer version may say more, an older one less, and a crash may leave anything
    folder.state_file.write_text(json.dumps({**dataclasses.asdict(state), "mood": "good"}))
    assert folder.state() == state
    for text in ('{"complete": true}', "", "[1]", "{"):
        folder.state_file.write_text(text)
        assert folder.state() == Installation(complete=text.startswith('{"'))


def test_a_folder_that_was_there_is_not_ours_to_delete(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    assert not folder.claim().made_root


def test_a_folder_that_cannot_be_written_to_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="choose another folder") as error:
        LocalFolder(tmp_path / "file" / "local").claim()
    sentence(error.value)


def test_what_runs_there_keeps_to_it(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "local")
    folder.claim()
    base = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "HF_HOME": "/data",
        "PYTHONPATH": "/x",
        "PIP_INDEX_URL": "u",
        "UV_X": "u",
    }
    base |= {"VIRTUAL_ENV": "/v", "CONDA_PREFIX": "/c", "TRELLIS2_DEVICE": "cpu", "HTTPS_PROXY": "http://p"}
    confined = folder.environment(base)
    assert {name: confined[name] for name in ("PATH", "TRELLIS2_DEVICE", "HTTPS_PROXY")} == {
        "PATH": "/bin", "TRELLIS2_DEVICE": "cpu", "HTTPS_PROXY": "http://p",
    }  # fmt: skip
    assert not {"PYTHONPATH", "PIP_INDEX_URL", "UV_X", "VIRTUAL_ENV", "CONDA_PREFIX"} & set(confined)
    assert confined["TRELLIS2_LOCAL"] == str(folder.root)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH"):
        assert Path(confined[name]).is_relative_to(folder.cache), name
    assert Path(confined["HOME"]).is_dir() and Path(confined["TMPDIR"]).is_dir()
    assert base["HOME"] == "/home/me"
    asked = "import os, tempfile, pathlib; print(tempfile.gettempdir()); print(pathlib.Path.home())"
    if os.name == "posix":
        told = run_python("-c", asked, **folder.environment({})).stdout.splitlines()
        assert told == [str(folder.cache / "tmp"), str(folder.cache / "home")]


def test_asking_is_cheap() -> None:
    """Blender asks while it draws: nothing heavy is imported for it."""
    code = "import sys; import trellis_addon.runtime.layout, trellis_addon.runtime.child; print(*sys.modules)"
    done = run_python("-c", code)
    heavy = {"httpx", "numpy", "filelock", "packaging", "torch", "PIL"}
    assert done.returncode == 0 and not heavy & set(done.stdout.split()), done.stderr


def test_platform_names() -> None:
    folder = LocalFolder(Path("x"))
    assert folder.python.name == ("python.exe" if sys.platform == "win32" else "python")
    assert folder.code().name == VERSION and folder.code("9").parent == folder.code().parent
