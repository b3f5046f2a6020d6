"""The built zip in a Blender of Blender's own site, with a site and a Blender that are stand-ins; and who calls it."""

from __future__ import annotations

import functools
import http.server
import io
import os
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import dev
import portable
import pytest
from conftest import ROOT

pytestmark = pytest.mark.checkout

PAGE = "".join(
    f'<a href="{name}">{name}</a>\n'
    for name in (
        *(f"blender-4.5.{number}-linux-x64.tar.xz" for number in (0, 2, 9, 10)),
        "blender-4.5.10-windows-x64.zip",
        "blender-4.5.10-windows-x64.msi",
        "blender-4.5.11-windows-arm64.zip",
        "blender-4.5.9-macos-arm64.dmg",
        "blender-4.5.10.sha256",
    )
)
# A Blender that does what is asked of it as far as `portable` sees.
BLENDER = """#!/bin/sh
case "$*" in
  *MADE*) echo "Blender"; echo 'MADE {"name": "lantern", "triangles": 3, "engine": "x"}' ;;
  *FOUND*) echo 'FOUND [{"name": "%s", "triangles": 3, "engine": "x"}]' ;;
esac
"""


@pytest.mark.parametrize(
    ("system", "name"),
    [
        ("linux-x64", "blender-4.5.10-linux-x64.tar.xz"),
        ("windows-x64", "blender-4.5.10-windows-x64.zip"),
        ("windows-arm64", "blender-4.5.11-windows-arm64.zip"),
        ("macos-arm64", "blender-4.5.9-macos-arm64.dmg"),
        ("macos-x64", ""),
    ],
)
def test_the_newest_of_a_release(system: str, name: str) -> None:
    assert portable.newest(PAGE, "4.5", system) == name
    assert portable.newest(PAGE, "4.4", system) == ""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site with Blender 4.5 for Linux and Windows; what is fetched goes to a temporary folder."""
    monkeypatch.setattr(portable, "WHERE", tmp_path / "fetched")
    folder = tmp_path / "site" / "Blender4.5"
    folder.mkdir(parents=True)
    with tarfile.open(folder / "blender-4.5.1-linux-x64.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo("blender-4.5.1-linux-x64/blender")
        entry.size, entry.mode = len(BLENDER % "lantern"), 0o755
        archive.addfile(entry, io.BytesIO((BLENDER % "lantern").encode()))
    with zipfile.ZipFile(folder / "blender-4.5.1-windows-x64.zip", "w") as packed:
        packed.writestr("blender-4.5.1-windows-x64/blender.exe", "MZ")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("system", "file"), [("linux-x64", "blender"), ("windows-x64", "blender.exe")])
def test_it_is_fetched_once(system: str, file: str, site: str, tmp_path: Path) -> None:
    found = portable.fetch("4.5", site, system)
    assert found.name == file and found.is_relative_to(tmp_path / "fetched" / f"blender-4.5.1-{system}")
    for archive in (tmp_path / "site" / "Blender4.5").glob("*.*"):
        archive.write_bytes(b"")
    assert portable.fetch("4.5", site, system) == found
    with pytest.raises(SystemExit, match="no Blender 4.5 for macos-x64"):
        portable.fetch("4.5", site, "macos-x64")


@pytest.mark.skipif(os.name != "posix", reason="the Blender is a shell script; on Windows a real one is tried, by CI")
@pytest.mark.parametrize(("name", "is_right"), [("lantern", True), ("cube", False)])
def test_what_is_made_must_be_there_again(name: str, is_right: bool, tmp_path: Path) -> None:
    blender = tmp_path / "blender"
    blender.write_text(BLENDER % name)
    blender.chmod(0o755)
    if is_right:
        said = portable.try_out([str(blender)], tmp_path / "a.zip", tmp_path)
        assert said == "lantern: 3 triangles, made by x, saved and opened again"
        return
    with pytest.raises(SystemExit, match="found .*cube"):
        portable.try_out([str(blender)], tmp_path / "a.zip", tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="the Blender is a shell script; on Windows a real one is tried, by CI")
@pytest.mark.parametrize(
    ("does", "said"), [("echo Traceback; exit 1", "ended with 1"), ("echo hello", "did not say MADE")]
)
def test_a_blender_that_fails_is_told_with_its_words(does: str, said: str, tmp_path: Path) -> None:
    blender = tmp_path / "blender"
    blender.write_text(f"#!/bin/sh\n{does}\n")
    blender.chmod(0o755)
    with pytest.raises(SystemExit, match=said):
        portable.try_out([str(blender)], tmp_path / "a.zip", tmp_path)


def test_the_workflow_calls_the_projects_own_commands_and_says_what_it_is() -> None:
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    commands = re.findall(r"run: (.*)", text)
    assert commands and all(command.startswith("python tools/dev.py ") for command in commands)
    for command in commands:
        words = re.sub(r"\$\{\{.*?\}\}", "4.5", command).split()[2:]
        dev.parse(words)  # ends the program where there is no such command
    for system in ("ubuntu-latest", "windows-latest", "windows-11-arm", "macos-latest", "macos-15-intel"):
        assert system in text
    assert "NEVER RUN" in text
