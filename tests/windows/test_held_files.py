"""Everything that puts a file in its place or takes one away, while a scanner holds what was just written.

The stand-in refuses the first try for each path; in the last tests, every try.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence
from fault_server import small_glb
from service_tools import Mailbox, Running, local_server, task
from weights_mirror import Mirror, serving

from trellis_addon.client.client import Client
from trellis_addon.client.replies import Result
from trellis_addon.core.errors import TrellisError
from trellis_addon.core.output import put_in_place
from trellis_addon.formats.glb.preview import write_previews
from trellis_addon.jobs import records
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.runtime.code import ensure_code
from trellis_addon.runtime.layout import Installation, LocalFolder
from trellis_addon.service.content.files import FileStore
from trellis_addon.service.lifetime import presence
from trellis_addon.service.queue.journal import Journal
from trellis_addon.transfer.download import fetch_file
from trellis_addon.transfer.part import Remote
from trellis_addon.weights import licences, manifest


@pytest.fixture(autouse=True)
def _no_pause(windows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds, 0.005)))


@pytest.fixture
def folder(windows: Any) -> Path:
    found = windows.home / "Eigene Dateien"
    found.mkdir()
    return Path(found)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with serving(Mirror({"weights.bin": bytes(5000), "asset.glb": small_glb()})) as found:
        yield found


def _output(folder: Path, mirror: Mirror) -> bytes:
    (folder / "cup.glb").write_bytes(b"old")
    put_in_place({folder / "cup.glb": b"new"})
    return (folder / "cup.glb").read_bytes()


def _asset(folder: Path, mirror: Mirror) -> Path:
    with Client(mirror.url, "key", remote=False) as client:
        return client.download(Result("x", 0, 7, "f", f"{mirror.url}/asset.glb"), folder / "asset.glb")


def _weights(folder: Path, mirror: Mirror) -> Path:
    return fetch_file(Remote(f"{mirror.url}/weights.bin", 5000), folder / "weights.bin")


def _state(folder: Path, mirror: Mirror) -> bool:
    local = LocalFolder(folder / "local")
    for complete in (False, True):
        local.write_state(Installation(complete=complete))
    return local.state() == Installation(complete=True)


def _code(folder: Path, mirror: Mirror) -> Path:
    local = LocalFolder(folder)
    stamp = ensure_code(local) / "stamp.txt"
    stamp.write_text("another", encoding="utf-8")
    return ensure_code(local) / "trellis_addon" / "__init__.py"


def _worker(folder: Path, mirror: Mirror) -> bool:
    told = {"url": "http://127.0.0.1:1/v1", "token": "t", "pid": 7}
    for _ in range(2):
        presence.write_worker(folder, told)
    presence.note_end(folder, 7, "it was told to end")
    was_told = presence.read_worker(folder) == told and presence.last_end(folder) == "it was told to end"
    presence.forget_worker(folder, 7)
    return was_told and not presence.read_worker(folder)


def _accepted(folder: Path, mirror: Mirror) -> bool:
    key = next(iter(licences.LICENCES))
    licences.accept(folder, [key])
    return key in licences.accepted(folder)


def _manifest(folder: Path, mirror: Mirror) -> bool:
    entry = manifest.Entry("a.safetensors", 1, "0" * 64, group=next(iter(manifest.BY_KEY)))
    manifest.update_manifest(folder, lambda known: manifest.Manifest("ours", (entry,)))
    written = [known.path for known in manifest.read_manifest(folder).files] == ["a.safetensors"]
    manifest.update_manifest(folder, lambda known: manifest.Manifest())
    return written and not (folder / manifest.MANIFEST_FILE).exists()


def _records(folder: Path, mirror: Mirror) -> bool:
    records.keep_limits(folder, {"draft": 1.0})
    records.keep(folder, {"name": "Cup"})
    return (folder / records.LIMITS_FILE).exists() and (folder / records.RECORD_FILE).exists()


def _provenance(folder: Path, mirror: Mirror) -> Path:
    asset = Asset(folder / "asset.glb", "Cup", {})
    asset.save_provenance()
    return asset.sidecar


def _jobs(folder: Path, mirror: Mirror) -> bool:
    JobStore(folder)
    (folder / "jobs.sqlite3").write_bytes(b"no database" * 1000)
    return JobStore(folder).recent() == [] and len(list(folder.glob("jobs.damaged-*.sqlite3"))) == 1


def _preview(folder: Path, mirror: Mirror) -> Path:
    (folder / "asset.glb").write_bytes(small_glb())
    write_previews([(folder / "asset.glb", folder / "asset.png")], size=16)
    return folder / "asset.png"


def _result(folder: Path, mirror: Mirror) -> Path:
    with closing(Journal(":memory:")) as journal:
        return FileStore(time.time, folder, journal, lasting=True).put(b"glTF" + bytes(50)).path


PLACES: list[Callable[[Path, Mirror], Any]] = [
    *(_output, _asset, _weights, _state, _code, _worker, _accepted, _manifest, _records, _provenance, _jobs),
    *(_preview, _result),
]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_it_comes_through(
    place: Callable[[Path, Mirror], Any], times: int, folder: Path, mirror: Mirror, windows: Any
) -> None:
    windows.scanner.times = times
    done = place(folder, mirror)
    assert done == b"new" if place is _output else done.is_file() if isinstance(done, Path) else done
    assert windows.scanner.refusals, "it was refused at first"
    assert not [path.name for path in folder.rglob("*") if path.suffix in (".part", ".new")], "nothing is left over"


@pytest.mark.parametrize(
    ("place", "kept"), [(_asset, "*.part"), (_weights, "*.part"), (_state, "*.new"), (_output, "cup.glb")]
)
def test_what_is_held_for_ever_is_told_and_kept(
    place: Callable[[Path, Mirror], Any], kept: str, folder: Path, mirror: Mirror, windows: Any
) -> None:
    windows.scanner.times = 10**6
    with pytest.raises((TrellisError, OSError)) as caught:
        place(folder, mirror)
    assert "another program, such as a virus scanner, holds it" in str(caught.value)
    if isinstance(caught.value, TrellisError):
        sentence(caught.value)
    (left,) = folder.rglob(kept)
    assert left.stat().st_size > 0
    windows.scanner.times = 0
    asked = len(mirror.requests)
    if place is _asset:
        assert _asset(folder, mirror).is_file() and len(mirror.requests) == asked, "nothing is fetched again"


def test_whoever_waits_for_a_result_hears_of_it(folder: Path, windows: Any) -> None:
    """Although the picture that it was made of cannot be deleted yet."""
    windows.scanner.times, windows.scanner.functions = 10**6, {"unlink"}
    running = Running(folder=folder / "service", allow_private_addresses=True)
    box = Mailbox()
    try:
        with local_server(box) as url:
            running.post(task(webhookURL=url))
            ((_, _, body),) = box.wait(1)
            assert b"success" in body
    finally:
        running.close()
