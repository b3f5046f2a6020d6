"""Programs, names, addresses, ports and the registry as Windows has them."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import types
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, disc, sentence
from stand_in_windows import USER

from trellis_addon.core.addresses import path_of_address
from trellis_addon.core.errors import TrellisError
from trellis_addon.core.output import try_places
from trellis_addon.images.names import clean_name
from trellis_addon.local.environment import default_index, python
from trellis_addon.local.environment.index import _local
from trellis_addon.local.environment.python import find_python
from trellis_addon.local.machine import hardware
from trellis_addon.local.machine.gpu_memory import memory_holders
from trellis_addon.service import main as service


def test_what_lies_beside_a_downloaded_file_is_not_run(windows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what PATH names by "" and ".": asked for a card, for its memory, for a Python and for pip."""
    monkeypatch.setattr(python, "_PATTERNS", ())  # what is not on the path is no trap, and takes long to ask
    hardware.find_machine()
    memory_holders()
    found = find_python()
    assert found is None or os.path.isabs(found.executable)
    monkeypatch.setattr(default_index, "_TOLD", default_index.re.compile("nothing that a pip would say"))
    default_index._asked.cache_clear()
    with pytest.raises(TrellisError):
        default_index._asked()
    default_index._asked.cache_clear()
    assert windows.sprung == []


def test_the_traps_would_be_sprung(windows: Any) -> None:
    """By Windows' own way of looking, which Python's follows: the stand-in has teeth."""
    subprocess.run([f".{os.sep}nvidia-smi.exe"], check=True)
    assert windows.sprung == ["./nvidia-smi.exe"]
    windows.forgive()


@pytest.mark.parametrize("name", ["CON", "prn", "Aux", "nul.", "NUL.txt", "com1", "LPT9", "COM¹", "con .tgz", "nul "])
def test_a_name_is_no_device(name: str, windows: Any) -> None:
    cleaned = clean_name(name)
    assert cleaned.lower().partition(".")[0].rstrip() != name.lower().partition(".")[0].rstrip()
    assert cleaned.lower().startswith(name.lower()[:3])
    (windows.home / f"{cleaned}.glb").write_bytes(b"glTF")
    assert clean_name(cleaned) == cleaned


@pytest.mark.parametrize("name", ["Console", "auxiliary", "com", "COM10", "lpt", "nullius", "a.con", "My nul", USER])
def test_other_names_stay(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize("name", ["x" * 47 + ". end", "x" * 46 + " . end", "é" * 24 + ".", "con." + "x" * 60])
def test_a_name_that_is_cut_ends_in_no_dot(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned == cleaned.strip(" .") and 0 < len(cleaned.encode()) <= 48


def test_an_asset_called_after_a_device_is_saved(windows: Any, clean: Any, draft: Any) -> None:
    from trellis_addon.scene.asset.library import save_to_library
    from trellis_addon.scene.importing.importer import import_asset

    library, preview = windows.home / "Assets", windows.home / "preview.png"
    library.mkdir()
    disc(64).save(preview)
    for name in ("nul", "Cup", "cup"):  # the last two are one file there
        obj = import_asset(draft)
        obj.name = name
        save_to_library(obj, library, preview=preview)
    files = sorted(path.name for path in library.glob("*.blend"))
    assert files == ["Cup.blend", "cup-2.blend", "nul_.blend"]


def test_a_place_that_is_too_long_is_told_before_the_work(windows: Any) -> None:
    place = windows.home / ("d" * 100) / ("e" * 100) / "cup.glb"
    with pytest.raises(TrellisError) as caught:
        try_places([place])
    assert "cannot be written" in sentence(caught.value)


@pytest.mark.parametrize(
    ("address", "on_windows", "path"),
    [
        ("file://server/share/a.png", True, "\\\\server\\share\\a.png"),
        ("file://server/share/a.png", False, "//server/share/a.png"),
        ("file:///a%2525.png", False, "/a%25.png"),
        ("file:///C:/a%20b.png", True, "C:\\a b.png"),
        ("file:///C:/a b.png", True, "C:\\a b.png"),
        ("file://localhost/C:/x", True, "C:\\x"),
        ("file:///C:/Users/%E6%97%A5%E6%9C%AC%20J%C3%BCrgen/a.png", True, f"C:\\Users\\{USER}\\a.png"),
        (f"file://{socket.gethostname()}/a.png", False, "/a.png"),
        ("FILE://LOCALHOST/a.png", False, "/a.png"),
    ],
)
def test_the_path_of_an_address(address: str, on_windows: bool, path: str) -> None:
    assert path_of_address(address, on_windows=on_windows) == path
    if not on_windows:
        assert _local(address) == Path(path), "the folder of wheels is read by the same rule"


def test_a_picture_by_its_address(windows: Any) -> None:
    from trellis_addon.images.reading.sources import read_image_bytes

    path = windows.home / "100%25 Jürgen.png"
    disc(32).save(path)
    assert read_image_bytes(path.as_uri()) == (path.read_bytes(), "100%25 Jürgen")


def test_a_port_is_the_services_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a program that sets SO_REUSEADDR takes it over on Windows, and is sent the token."""
    asked: list[tuple[Any, ...]] = []

    class Socket(socket.socket):
        def setsockopt(self, *options: Any) -> None:
            asked.append(options)

    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", -5, raising=False)
    monkeypatch.setattr(socket, "socket", Socket)
    service.listen("127.0.0.1", 0).close()
    assert asked == [(socket.SOL_SOCKET, -5, 1)]


def test_adapters_are_found_beyond_gaps_in_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the driver leaves them, and some may not be read."""
    there = {"0001": "AMD Radeon RX 7900", "0003": None, "0007": "Intel Arc A770", "0071": "AMD Radeon Pro"}

    @contextmanager
    def open_key(root: Any, path: str) -> Any:
        number = path.rpartition("\\")[2]
        if number not in there:
            raise FileNotFoundError(errno.ENOENT, "The system cannot find the file specified")
        if there[number] is None:
            raise PermissionError(errno.EACCES, "Access is denied")
        yield there[number]

    fake = types.SimpleNamespace(
        HKEY_LOCAL_MACHINE=0,
        OpenKey=open_key,
        QueryInfoKey=lambda key: (0, 1, 0),
        EnumValue=lambda key, index: ("DriverDesc", key, 1),
    )
    monkeypatch.setitem(sys.modules, "winreg", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", "win32")
    found = [(card.name, card.kind, card.index) for card in hardware._windows_others()]
    assert found == [("AMD Radeon RX 7900", "amd", 0), ("Intel Arc A770", "intel", 0), ("AMD Radeon Pro", "amd", 1)]


@pytest.mark.checkout
def test_the_checkout_itself_can_be_unpacked_there() -> None:
    """No two files that differ in small and capital letters alone, no device, no name that is too long."""
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in told.stdout.decode("utf-8").split("\0") if name]
    if not names:
        pytest.skip("no checkout of git's")
    assert len({name.casefold() for name in names}) == len(names)
    parts = {part for name in names for part in name.split("/")}
    assert {
        part for part in parts if not part.startswith(".") and clean_name(part[:40]) != part[:40].strip(" .")
    } == set()
    assert max(map(len, names)) < 150
