"""Where the data lie: also for a Blender or Python of the Microsoft Store, whose AppData is not the others'."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trellis_addon.core import folders
from trellis_addon.core.folders import default_folder, shown_folder, store_package

PACKAGE = "BlenderFoundation.Blender4.2LTS_ppwjx1n5r4v9t"
# where it runs from, and whether that is the Store's
PLACES = {
    r"C:\Program Files\WindowsApps\BlenderFoundation.Blender4.2LTS_4.2.3.0_x64__ppwjx1n5r4v9t\Blender\4.2\python\bin"
    r"\python.exe": PACKAGE,
    r"C:\Users\Jo\AppData\Local\Microsoft\WindowsApps\PythonSoftwareFoundation.Python.3.11_qbz5n2kfra8p0\python.exe": (
        "PythonSoftwareFoundation.Python.3.11_qbz5n2kfra8p0"
    ),
    r"C:\Users\Jo\AppData\Local\Microsoft\WindowsApps\python.exe": "",  # a door to one, whose `base_prefix` tells
    r"C:\Program Files\Blender Foundation\Blender 4.2\4.2\python\bin\python.exe": "",
    "/usr/bin/python3": "",
}


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    store_package.cache_clear()
    yield
    store_package.cache_clear()


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user's folder on Windows, with AppData in it."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delenv("TRELLIS2_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / "AppData" / "Local" / name)
    (tmp_path / "AppData" / "Local").mkdir(parents=True)
    return tmp_path


def package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Windows' answer to which package this process is of."""

    def tell(length: Any, buffer: Any) -> int:
        if not name:
            return 15700  # APPMODEL_ERROR_NO_PACKAGE
        buffer.value = name
        return 0

    kernel = SimpleNamespace(GetCurrentPackageFamilyName=tell)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)


@pytest.mark.parametrize("executable", PLACES)
def test_a_program_of_the_store_is_known_by_its_place(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "base_prefix", str(Path(executable).parent))
    assert store_package() == PLACES[executable]


@pytest.mark.parametrize("name", [PACKAGE, ""])
def test_or_by_what_windows_says(name: str, windows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, name)
    assert store_package() == name


def test_a_program_of_the_store_keeps_its_data_outside_of_appdata(
    windows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(monkeypatch, PACKAGE)
    assert default_folder() == windows / "trellis2-blender"
    # the folder shown and that of the library are the same
    default_folder().mkdir()
    assert shown_folder(default_folder()) == default_folder() and not list(default_folder().iterdir())


def test_other_programs_join_it_where_they_have_nothing(windows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, "")
    usual = windows / "AppData" / "Local" / "trellis2-blender"
    assert default_folder() == usual
    (windows / "trellis2-blender").mkdir()
    assert default_folder() == windows / "trellis2-blender"
    usual.mkdir()
    assert default_folder() == usual


def test_what_a_former_version_has_put_there_stays_in_use(windows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, PACKAGE)
    cache = windows / "AppData" / "Local" / "Packages" / PACKAGE / "LocalCache" / "Local" / "trellis2-blender"
    cache.mkdir(parents=True)
    assert default_folder() == windows / "trellis2-blender", "nothing is in it"
    (cache / "jobs.sqlite3").touch()
    assert default_folder() == cache


def test_a_chosen_folder_is_shown_where_it_really_is(windows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, PACKAGE)
    chosen, real = windows / "AppData" / "Local" / "mine", windows / "really"
    real.mkdir()
    try:
        chosen.symlink_to(real)  # as Windows redirects it
    except OSError:
        pytest.skip("links may not be made here; the other tests hold")
    assert shown_folder(chosen) == real
    assert shown_folder(windows / "nowhere") == windows / "nowhere"


def test_on_other_systems_it_is_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("TRELLIS2_HOME", raising=False)
    if not store_package():
        assert default_folder() == platformdirs.user_data_path("trellis2-blender", appauthor=False)
    monkeypatch.setenv("TRELLIS2_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere") and folders.EXTENSION.is_dir()
