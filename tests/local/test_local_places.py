"""The local backend in places that are not like others: synchronised, shared, on a network, on a Mac that backs up."""

from __future__ import annotations

import os
import platform
import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trellis_addon.core.machine import backups, places
from trellis_addon.local.environment import plan as planning
from trellis_addon.local.environment.remove import delete, remove, size_of
from trellis_addon.runtime import layout
from trellis_addon.runtime.layout import LocalFolder
from trellis_addon.service.queue.journal import Journal


@pytest.fixture
def onedrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything below a folder of this name is a reparse point, as OneDrive's are where the system shows them."""
    lstat = Path.lstat

    def told(path: Path) -> Any:
        facts = lstat(path)
        if "OneDrive" not in path.parts:
            return facts
        more = {"st_reparse_tag": 0x9000601A, "st_file_attributes": 0x410}
        return SimpleNamespace(st_mode=facts.st_mode, st_size=facts.st_size, **more)

    monkeypatch.setattr(Path, "lstat", told)


def test_what_onedrive_looks_after_is_removed_and_counted(onedrive: None, tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "OneDrive" / "local")
    folder.claim()
    (folder.env / "lib").mkdir(parents=True)
    (folder.env / "lib" / "big").write_bytes(b"x" * 1000)
    (folder.weights).mkdir()
    (folder.weights / "model").write_bytes(b"x" * 500)
    assert size_of(folder) == 1500
    assert remove(folder) == 1500 and not folder.root.exists()


def test_a_junction_is_taken_away_and_not_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that says it is one: `rmdir` is asked for, and nothing below it."""
    (tmp_path / "junction").mkdir()
    (tmp_path / "junction" / "theirs").touch()
    taken: list[Path] = []
    facts = SimpleNamespace(st_mode=stat.S_IFDIR | 0o755, st_size=0, st_reparse_tag=0xA0000003)
    monkeypatch.setattr(Path, "lstat", lambda path: facts)
    monkeypatch.setattr(Path, "rmdir", lambda path: taken.append(path))
    assert list(delete(tmp_path / "junction")) == [0]
    assert [path.name for path in taken] == ["junction"] and (tmp_path / "junction" / "theirs").exists()


@pytest.fixture
def on_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "is_on_network", lambda folder: "share" in folder.parts)
    monkeypatch.setattr("trellis_addon.service.queue.journal.is_on_network", lambda folder: "share" in folder.parts)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_workers_secrets_lie_in_the_users_own_data_on_windows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "D" / "AI"
    posix = LocalFolder(root).service
    if os.name == "posix":
        assert posix == root / "service"
    monkeypatch.setattr(layout, "os", SimpleNamespace(name="nt", path=os.path))
    service, other = LocalFolder(root).service, LocalFolder(tmp_path / "E").service
    assert service.is_relative_to(data / "workers") and service != other
    assert LocalFolder(root).service == service


@pytest.mark.usefixtures("on_network")
def test_two_workstations_with_one_folder_have_a_worker_each(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even with one home for both: the address in one's `worker.json` would be of no use on the other."""
    shared = LocalFolder(tmp_path / "share" / "local")
    monkeypatch.setattr(platform, "node", lambda: "first")
    first = shared.service
    monkeypatch.setattr(platform, "node", lambda: "second")
    assert first.is_relative_to(data) and shared.service.is_relative_to(data) and shared.service != first


@pytest.mark.usefixtures("on_network")
def test_what_lies_elsewhere_goes_with_the_rest(data: Path, tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path / "share" / "local")
    folder.claim()
    folder.service.mkdir(parents=True)
    (folder.service / "worker.json").write_bytes(b"x" * 100)
    assert size_of(folder) == 100 and remove(folder) == 100
    assert not folder.elsewhere.exists() and not folder.root.exists()


def mode_of(journal: Journal) -> str:
    return str(journal._database.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.mark.usefixtures("on_network")
@pytest.mark.parametrize(("place", "mode"), [("share", "delete"), ("disk", "wal")])
def test_the_journal_has_no_log_beside_it_on_a_network(place: str, mode: str, tmp_path: Path) -> None:
    (tmp_path / place).mkdir()
    path = str(tmp_path / place / "service.sqlite")
    journal = Journal(path)
    assert mode_of(journal) == mode
    journal.close()
    again = Journal(path)
    assert mode_of(again) == mode and again.tasks(tmp_path) == []
    again.close()


@pytest.mark.parametrize("answer", ["delete", "locking protocol"])
def test_a_file_system_that_bears_no_log_is_done_without(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "PRAGMA journal_mode = WAL":
                if answer != "delete":
                    raise sqlite3.OperationalError(answer)
                statement = "PRAGMA journal_mode = DELETE"
            return super().execute(statement, *values)

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, **o, factory=Connection))
    journal = Journal(str(tmp_path / "service.sqlite"))
    assert mode_of(journal) == "delete" and journal.tasks(tmp_path) == []
    journal.close()


def test_a_mac_backs_up_and_indexes_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(backups, "ask", lambda command, timeout: asked.append(command))
    folder = LocalFolder(tmp_path / "local")
    folder.claim()
    monkeypatch.setattr(sys, "platform", "linux")
    backups.leave_out(folder.root)
    assert not asked and not (folder.root / ".metadata_never_index").exists()
    monkeypatch.setattr(sys, "platform", "darwin")
    backups.leave_out(folder.root)
    assert asked == [["/usr/bin/tmutil", "addexclusion", str(folder.root)]]
    assert (folder.root / ".metadata_never_index").is_file()
    remove(folder)
    assert not folder.root.exists(), "it goes with the rest"


NOTES = {
    "synced_by": ("OneDrive", "OneDrive would upload"),
    "is_on_network": (True, "lies on another machine"),
    "is_removable": (True, "can be taken out"),
    "is_open_to_others": (True, "Other users of this machine"),
    "is_flatpak": (True, "In Flatpak's sandbox"),
    "store_package": ("Maker.Blender_id", "only this Blender of the Microsoft Store sees"),
}


@pytest.mark.parametrize("name", NOTES)
def test_the_plan_says_what_is_worth_knowing_of_the_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, said = NOTES[name]
    for each in NOTES:
        value = answer if each == name else type(NOTES[each][0])()
        monkeypatch.setattr(planning, each, lambda *_, value=value: value)
    (note,) = planning._about_place(Path("C:/Users/Jo/AppData/Local/ai"))
    assert said in note


def test_of_an_ordinary_place_it_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_mounts", lambda: ())
    assert planning._about_place(Path.home() / "no such folder") == []
