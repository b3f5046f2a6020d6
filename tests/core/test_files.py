"""Reading what never ends; renaming and deleting where another program holds a file: tried again, nothing lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from stand_in_windows import refused

from trellis_addon.contract.glb_facts import glb_facts
from trellis_addon.core import files
from trellis_addon.core.errors import DamagedFileError, ImageError, InputError
from trellis_addon.core.messages import Message, reason_of
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.images import load_image
from trellis_addon.meshes import read_mesh


class Holder:
    """Refuses a function of `os` so often, as Windows does; `waits` are the pauses that were made meanwhile."""

    def __init__(self, patch: pytest.MonkeyPatch, times: int, number: int = 32) -> None:
        self.left, self.number, self.waits = times, number, list[float]()
        for name in ("replace", "rename", "unlink"):
            patch.setattr(os, name, self._guard(name, getattr(os, name)))
        patch.setattr(files, "time", SimpleNamespace(sleep=self.waits.append))

    def _guard(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def guarded(path: object, *more: object) -> None:
            if self.left:
                self.left -= 1
                error = refused(name, path)
                error.winerror = self.number  # type: ignore[attr-defined]
                raise error
            real(path, *more)

        return guarded


def _pair(folder: Path) -> tuple[Path, Path]:
    part, target = folder / "a.part", folder / "a"
    part.write_text("new", encoding="utf-8")
    target.write_text("old", encoding="utf-8")
    return part, target


@pytest.mark.parametrize("number", [5, 32, 33])
@pytest.mark.parametrize("times", [1, 3, 8])
def test_a_file_that_is_held_for_a_moment(
    times: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = _pair(tmp_path)
    with monkeypatch.context() as patch:
        holder = Holder(patch, times, number)
        files.move(part, target)
        assert len(holder.waits) == times and holder.waits == sorted(holder.waits), "the waits grow"
        holder.left = times
        files.unlink(target)
        holder.left = times
        (tmp_path / "folder").mkdir()
        files.rename(tmp_path / "folder", tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


@pytest.mark.parametrize(("number", "words"), [(32, "a virus scanner, holds it"), (5, "write-protected, or another")])
def test_one_that_is_held_for_ever_is_told_and_nothing_is_lost(
    number: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = _pair(tmp_path)
    with monkeypatch.context() as patch:
        holder = Holder(patch, 10**6, number)
        with pytest.raises(PermissionError) as caught:
            files.move(part, target)
        assert files.PATIENCE <= sum(holder.waits) < files.PATIENCE + 2
        holder.waits.clear()
        assert not files.discard(target) and sum(holder.waits) < 2
    reason = reason_of(caught.value)
    assert words in reason and isinstance(caught.value.strerror, Message), "it can be said in other languages"
    assert part.read_text(encoding="utf-8") == "new" and target.read_text(encoding="utf-8") == "old"


def test_gigabytes_are_waited_for_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, target = _pair(tmp_path)
    with part.open("r+b") as file:
        file.truncate(5 * 10**9)  # with nothing in it: it takes no room
    with monkeypatch.context() as patch:
        holder = Holder(patch, 10**6)
        with pytest.raises(PermissionError):
            files.move(part, target)
        assert 55 < sum(holder.waits) < 65


def test_the_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is what was waited: after a sleep of the machine a scanner needs its time as before."""
    part, target = _pair(tmp_path)
    with monkeypatch.context() as patch:
        holder = Holder(patch, 6)
        ticks = iter(range(0, 10**9, 3600))

        def clock() -> float:
            return float(next(ticks))

        patch.setattr(files, "time", SimpleNamespace(sleep=holder.waits.append, monotonic=clock, time=clock))
        files.move(part, target)
    assert target.read_text(encoding="utf-8") == "new"


@pytest.mark.skipif(os.name == "nt", reason="there every refusal may pass; see the tests above")
def test_where_a_refusal_is_final_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, target = _pair(tmp_path)
    waits: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(files, "time", SimpleNamespace(sleep=waits.append))

        def no(*paths: object) -> None:
            raise PermissionError(13, "Permission denied")

        patch.setattr(os, "replace", no)
        with pytest.raises(PermissionError, match="Permission denied"):
            files.move(part, target)
    with pytest.raises(FileNotFoundError):
        files.move(tmp_path / "nothing", target)
    files.unlink(tmp_path / "nothing")
    files.remove_folder(tmp_path / "nothing")
    assert waits == []


def test_a_folder_goes_as_far_as_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that is held keeps nothing else from being deleted, and is tried again."""
    for name in ("a", "b", "c"):
        (tmp_path / "job" / name).mkdir(parents=True)
        (tmp_path / "job" / name / f"{name}.glb").touch()
    real, waits = os.unlink, list[float]()

    def unlink(path: object, **options: object) -> None:
        if str(path).endswith("b.glb") and len(waits) < tries:
            raise refused("unlink", path)
        real(path, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        patch.setattr(files, "time", SimpleNamespace(sleep=waits.append))
        tries = 10**6
        assert not files.discard_folder(tmp_path / "job") and files.BRIEF <= sum(waits) < files.BRIEF + 1
        assert [path.name for path in (tmp_path / "job").iterdir()] == ["b"]
        waits.clear()
        tries = 3
        assert files.discard_folder(tmp_path / "job") and len(waits) == 3
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("path", "longer"),
    [
        ("C:\\AI\\env", "\\\\?\\C:\\AI\\env"),
        ("C:/AI/env", "\\\\?\\C:\\AI\\env"),
        ("\\\\nas\\share\\AI", "\\\\?\\UNC\\nas\\share\\AI"),
        ("//nas/share/AI", "\\\\?\\UNC\\nas\\share\\AI"),
        ("\\\\?\\C:\\AI", "\\\\?\\C:\\AI"),
        ("\\\\?\\UNC\\nas\\share", "\\\\?\\UNC\\nas\\share"),
        ("\\\\.\\NUL", "\\\\.\\NUL"),
    ],
)
def test_a_path_beyond_260_characters(path: str, longer: str) -> None:
    assert files.extended_name(path) == longer


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a named pipe has no path there")
def test_what_may_never_end_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "mesh.glb"
    os.mkfifo(pipe)
    for reads in (read_mesh, glb_facts, check_glb_file, read_glb):
        for endless in (pipe, Path("/dev/zero")):
            with pytest.raises((InputError, DamagedFileError), match="no ordinary file"):
                reads(endless)
        with pytest.raises((InputError, DamagedFileError), match="directory"):
            reads(tmp_path)
    with pytest.raises(ImageError, match="larger than 64 MB"):
        load_image("/dev/zero")
