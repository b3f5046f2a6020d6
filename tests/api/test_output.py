"""Where an asset is asked for: tried before anything is paid, written whole or not, in a sentence where it fails."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from conftest import disc, encoded, sentence  # first: it is what finds the package

# isort: split
import pytest
from fault_server import SUBMIT, FaultServer, small_glb

from trellis_addon.api import copy_out, generate
from trellis_addon.cli import main
from trellis_addon.core.configuration import HOME_VARIABLE, REMOTE_URL_VARIABLE
from trellis_addon.core.errors import FieldError, OutputError
from trellis_addon.core.output import put_in_place, try_places
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.stages import rework

PICTURE = encoded(disc(64))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FaultServer]:
    with FaultServer() as server:
        monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
        monkeypatch.setenv("RUNWARE_API_KEY", server.token)
        monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
        yield server


@pytest.fixture
def asset(tmp_path: Path) -> Asset:
    """One of two results."""
    made = []
    for number in (1, 2):
        path = tmp_path / "home" / f"asset-{number}.glb"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(small_glb(number))
        made.append(Asset(path, "pot", {"seed": number}))
    return Asset(made[0].path, "pot", {"seed": 1}, variations=tuple(made))


def bad_places(folder: Path) -> dict[str, Path]:
    """Places that nothing can be written to, by what is wrong with them; each ends in .glb."""
    (folder / "file").write_bytes(b"x")
    (folder / "taken.glb" / "deep").mkdir(parents=True)
    places = {
        "under a file": folder / "file" / "a.glb",
        "deep under a file": folder / "file" / "b" / "c" / "a.glb",
        "a name too long": folder / ("n" * 300 + ".glb"),
        "a folder's name too long": folder / ("n" * 300) / "a.glb",
        "a name that is too long for the JSON beside it": folder / ("n" * 251 + ".glb"),
        "a path too long": folder.joinpath(*["n" * 200] * 30) / "a.glb",
        "NUL in the name": folder / "a\0b.glb",
    }
    if os.name == "posix":
        (folder / "loop.glb").symlink_to(folder / "loop.glb")
        (folder / "dangling.glb").symlink_to(folder / "file" / "nowhere.glb")
        os.mkfifo(folder / "pipe.glb")
        places |= {"a loop": folder / "loop.glb", "dangling": folder / "dangling.glb", "a pipe": folder / "pipe.glb"}
    if sys.platform == "linux":
        places |= {"proc": Path("/proc/a.glb"), "proc, deep": Path("/proc/self/a/b.glb")}
    return places


def entries(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- before ---


def test_bad_places_are_told_of_before_anything_is_sent(server: FaultServer, tmp_path: Path) -> None:
    places = bad_places(tmp_path)
    before = entries(tmp_path)
    for name, place in places.items():
        with pytest.raises(FieldError) as caught:
            generate(PICTURE, backend="remote", output=place)
        assert caught.value.field == "output" and "cannot be" in sentence(caught.value), name
        with pytest.raises(FieldError):
            rework(Asset(tmp_path / "x.glb", "x"), output=place)
    assert server.log == [] and entries(tmp_path) == before, "and nothing is left behind"


@pytest.mark.parametrize("taken", ["o-2.glb", "o-2.json", "o.json"])
def test_every_result_has_its_place(taken: str, server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / taken).mkdir()
    with pytest.raises(FieldError) as caught:
        generate(PICTURE, backend="remote", output=tmp_path / "o.glb", number_results=2)
    assert taken in sentence(caught.value) and server.log == []


def test_a_folder_in_which_the_assets_name_is_taken(server: FaultServer, tmp_path: Path) -> None:
    (tmp_path / "out" / "pot.glb").mkdir(parents=True)
    with pytest.raises(FieldError) as caught:
        generate(PICTURE, backend="remote", name="pot", output=tmp_path / "out")
    assert "pot.glb" in sentence(caught.value) and server.log == []


def test_a_full_disk_is_seen_before(server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("trellis_addon.core.output.shutil.disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(FieldError) as caught:
        generate(PICTURE, backend="remote", output=tmp_path / "o.glb")
    assert "disk is full" in sentence(caught.value) and server.log == []


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0,
    reason="rights of POSIX, and no root; on Windows what stands in the way is refused, in the tests above",
)
def test_rights(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    (tmp_path / "kept.glb").touch(mode=0o400)
    for place in (tmp_path / "closed" / "a.glb", tmp_path / "kept.glb"):
        with pytest.raises(FieldError):
            try_places([place])


def test_good_places_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "there.glb").write_bytes(b"mine")
    good = [tmp_path / "there.glb", tmp_path / "a" / "b" / "c.glb", tmp_path / ("n" * 250 + ".glb"), tmp_path / "ü.glb"]
    before = entries(tmp_path)
    try_places(good)
    assert entries(tmp_path) == before and good[0].read_bytes() == b"mine"


# --- after ---


def test_all_results_and_what_is_known_of_them(server: FaultServer, tmp_path: Path) -> None:
    made = generate(PICTURE, backend="remote", output=tmp_path / "new" / "o.glb", number_results=2, seed=7)
    assert [copy.path.name for copy in made.variations] == ["o.glb", "o-2.glb"]
    assert [copy.path.read_bytes() for copy in made.variations] == [small_glb(7), small_glb(8)]
    assert [Asset.from_file(copy.path).seed for copy in made.variations] == [7, 8]
    assert entries(tmp_path / "new") == {"o.glb", "o.json", "o-2.glb", "o-2.json"}


@pytest.mark.skipif(
    os.name != "posix", reason="rights and links of POSIX; on Windows a new file has those of its folder, by the system"
)
def test_it_is_written_as_any_file_is(asset: Asset, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.glb").symlink_to(tmp_path / "real" / "o.glb")
    copy_out(asset, tmp_path / "link.glb")
    assert (tmp_path / "link.glb").is_symlink() and (tmp_path / "real" / "o.glb").read_bytes() == small_glb(1)
    (tmp_path / "plain").touch()
    usual = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE((tmp_path / "real" / "o.glb").stat().st_mode) == usual
    (tmp_path / "real" / "o.glb").chmod(0o640)
    copy_out(asset, tmp_path / "link.glb")
    assert stat.S_IMODE((tmp_path / "real" / "o.glb").stat().st_mode) == 0o640


def test_places_that_went_bad_meanwhile(asset: Asset, tmp_path: Path) -> None:
    """While the work was done: a sentence that says where the asset is, whatever is wrong, and no half file."""
    places = bad_places(tmp_path)
    for link in ("dangling", "a loop", "a pipe"):  # the asset takes its place
        places.pop(link, None)
    before = entries(tmp_path)
    for name, place in places.items():
        with pytest.raises(OutputError) as caught:
            copy_out(asset, place)
        assert str(asset.path) in sentence(caught.value), name
    assert entries(tmp_path) == before


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="Windows knows no such limit; there its error for a full disk is read, in core/machine/disk",
)
@pytest.mark.parametrize("earlier", [b"", b"what was there before"])
def test_a_disk_that_gets_full(asset: Asset, tmp_path: Path, earlier: bytes) -> None:
    """In the middle of the second result: neither is left under its name, and what was there still is."""
    import resource
    import signal

    asset.variations[1].path.write_bytes(small_glb(2) + bytes(200_000))
    out = tmp_path / "out"
    out.mkdir()
    if earlier:
        (out / "o.glb").write_bytes(earlier)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(small_glb(2)) + 1000, hard))
        with pytest.raises(OutputError) as caught:
            copy_out(asset, out / "o.glb")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert str(asset.path) in sentence(caught.value)
    assert entries(out) == ({"o.glb"} if earlier else set())
    assert not earlier or (out / "o.glb").read_bytes() == earlier


def test_a_writing_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trellis_addon.core.output.shutil.copyfileobj", interrupted)
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(KeyboardInterrupt):
        put_in_place({tmp_path / "a": b"1", tmp_path / "b": tmp_path / "source"})
    assert entries(tmp_path) == {"source"}


# --- the command line ---


@pytest.mark.parametrize(
    "command",
    [
        lambda picture, place: ["generate", picture, "--output", f"{place}.glb"],
        lambda picture, place: ["generate", picture, "--output", f"{place}.blend"],
        lambda picture, place: ["generate", picture, "--output", "o.glb", "--render", f"{place}.png"],
        lambda picture, place: ["batch", str(Path(picture).parent), "--output", f"{place}.blend"],
    ],
    ids=["glb", "blend", "render", "batch"],
)
def test_commands_try_it_before(
    command: Callable[[str, str], list[str]], server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    picture = tmp_path / "pictures" / "pot.png"
    picture.write_bytes(PICTURE)
    (tmp_path / "file").write_bytes(b"x")
    for place in (str(tmp_path / "file" / "o"), str(tmp_path / ("n" * 300))):
        assert main([*command(str(picture), place), "--backend", "remote"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and "cannot be written" in said
    assert server.log == []


def test_fetch_brings_it_home_whatever_the_place(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its file may expire: the asset is fetched, and the sentence says where it is."""
    (tmp_path / "file").write_bytes(b"x")
    made = generate(PICTURE, backend="remote", seed=7)
    JobStore().delete(JobStore().recent()[0])
    uuid = made.provenance["task_uuid"]
    assert main(["fetch", uuid, "--output", str(tmp_path / "file" / "o.glb")]) == 1
    (job,) = JobStore().recent()
    assert str(job.assets[0].path) in capsys.readouterr().err and job.assets[0].path.read_bytes() == small_glb(7)
    assert main(["fetch", uuid, "--output", str(tmp_path / "o.glb")]) == 0
    assert (tmp_path / "o.glb").read_bytes() == small_glb(7) and len(server.asked(SUBMIT)) == 1


def test_a_blend_that_cannot_be_saved_after_all(
    server: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bpy")
    from trellis_addon.scene import files

    picture = tmp_path / "pot.png"
    picture.write_bytes(PICTURE)
    real = files.save_file

    def save(path: Path) -> None:
        real(tmp_path / "pot.png" / "under a file.blend")

    monkeypatch.setattr(files, "save_file", save)
    assert main(["generate", str(picture), "--backend", "remote", "--output", str(tmp_path / "o.blend")]) == 1
    (job,) = JobStore().recent()
    assert str(job.assets[0].path) in capsys.readouterr().err and job.assets[0].path.is_file()
