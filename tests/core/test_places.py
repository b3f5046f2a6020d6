"""What kind of place a folder lies in: with paths, facts and words as each system gives them."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import pytest

from trellis_addon.core.machine import places
from trellis_addon.core.machine.places import (
    is_flatpak,
    is_link,
    is_on_network,
    is_open_to_others,
    is_removable,
    synced_by,
)

DIRECTORY, FILE, LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777
# of Windows' headers: IO_REPARSE_TAG_MOUNT_POINT, _SYMLINK, _CLOUD_6 (OneDrive), _DEDUP, _APPEXECLINK, _WCI
TAGS = {
    "a junction": (DIRECTORY, 0xA0000003, True),
    "a link to a folder": (DIRECTORY, 0xA000000C, True),
    "a link to a file": (LINK, 0xA000000C, True),
    "OneDrive's folder": (DIRECTORY, 0x9000601A, False),
    "OneDrive's file": (FILE, 0x9000601A, False),
    "a file of a deduplicated volume": (FILE, 0x80000013, False),
    "a door of the Store": (FILE, 0x8000001B, False),
    "a container's folder": (DIRECTORY, 0x80000018, False),
    "a folder": (DIRECTORY, 0, False),
    "a link on POSIX": (LINK, None, True),
}


@pytest.mark.parametrize("name", TAGS)
def test_only_what_leads_elsewhere_is_a_link(name: str) -> None:
    mode, tag, expected = TAGS[name]
    told = {} if tag is None else {"st_reparse_tag": tag, "st_file_attributes": 0x410 if tag else 0x10}
    facts: Any = SimpleNamespace(st_mode=mode, **told)
    assert is_link(facts) is expected


def test_of_real_files(tmp_path: Path) -> None:
    assert not is_link(tmp_path.lstat())
    try:
        (tmp_path / "link").symlink_to(tmp_path)
    except OSError:
        pytest.skip("links may not be made here; the facts above hold")
    assert is_link((tmp_path / "link").lstat())


class Windows(type(Path())):  # type: ignore[misc]
    """A path of Windows on this system, as far as it is asked for parts."""

    @property
    def parts(self) -> tuple[str, ...]:
        return PureWindowsPath(str(self)).parts


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(sys, "platform", "win32")
    for name in ("OneDrive", "OneDriveCommercial", "OneDriveConsumer"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("folder", "service"),
    [
        (r"C:\Users\Jo\OneDrive - Studio GmbH\Documents\trellis2", "OneDrive"),
        (r"c:\users\jo\desktop\ai", "OneDrive"),  # which it has moved into itself, by the variable
        (r"C:\Users\Jo\Desktop2\ai", ""),
        (r"C:\Users\Jo\Dropbox (Personal)\ai", "Dropbox"),
        (r"C:\Users\Jo\iCloudDrive\ai", "iCloud"),
        (r"G:\My Drive\ai", ""),
        (r"C:\Users\Jo\AppData\Local\trellis2-blender\local", ""),
        (r"D:\OneDriver\ai", ""),
    ],
)
def test_who_uploads_it_on_windows(folder: str, service: str, windows: pytest.MonkeyPatch) -> None:
    windows.setenv("OneDriveCommercial" if os.name == "nt" else "ONEDRIVECOMMERCIAL", r"C:\Users\Jo\Desktop")
    assert synced_by(Windows(folder)) == service


@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX; Windows' are above")
@pytest.mark.parametrize(
    ("folder", "service"),
    [
        ("/Users/jo/Library/Mobile Documents/com~apple~CloudDocs/ai", "iCloud"),
        ("/Users/jo/Library/CloudStorage/GoogleDrive-jo@example.org/My Drive", "GoogleDrive"),
        ("/Users/jo/Library/CloudStorage/OneDrive-Studio/ai", "OneDrive"),
        ("/home/jo/Dropbox", "Dropbox"),
        ("/home/jo/Nextcloud/3d", "Nextcloud"),
        ("/home/jo/models", ""),
    ],
)
def test_who_uploads_it_elsewhere(folder: str, service: str) -> None:
    assert synced_by(Path(folder)) == service


@pytest.mark.parametrize(
    ("folder", "kind", "network", "removable"),
    [
        (r"Z:\ai", 4, True, False),
        (r"E:\ai", 2, False, True),
        (r"D:\ai", 3, False, False),
        (r"\\server\share\ai", 0, True, False),
    ],
)
def test_drives_of_windows(folder: str, kind: int, network: bool, removable: bool, windows: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    kernel = SimpleNamespace(GetDriveTypeW=lambda root: asked.append(root) or kind)
    windows.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert (is_on_network(Windows(folder)), is_removable(Windows(folder))) == (network, removable)
    assert set(asked) <= {folder[:3], "\\\\server\\share\\"}


MOUNTINFO = """22 1 0:20 / / rw,relatime shared:1 - 9p none rw
30 22 0:30 / /home rw,relatime shared:2 - ext4 /dev/sda2 rw
31 30 0:31 / /home/jo/team\\040work rw,relatime shared:3 - nfs4 server:/export rw,vers=4.2
32 22 0:32 / /mnt/c rw,noatime - 9p drvfs rw
33 22 0:33 / /mnt/key rw - vfat /dev/sdb1 rw
34 30 0:34 / /home/jo/far rw - fuse.sshfs jo@server: rw
35 30 0:35 / /home/jo/far/near rw - tmpfs tmpfs rw
36 30 0:36 / /home/jo/disk rw - fuseblk /dev/sdc1 rw
broken
"""
MOUNT = """/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)
map auto_home on /System/Volumes/Data/home (autofs, automounted, nobrowse)
//jo@nas._smb._tcp.local/team on /Volumes/team (smbfs, nodev, nosuid, mounted by jo)
/dev/disk5s2 on /Volumes/Key (x) (exfat, local, nodev)
"""


@pytest.mark.skipif(os.name != "posix", reason="paths of POSIX; Windows' are above")
@pytest.mark.parametrize(
    ("system", "folder", "network"),
    [
        ("linux", "/home/jo/team work/ai", True),
        ("linux", "/home/jo/team works", False),
        ("linux", "/mnt/c/ai", True),
        ("linux", "/mnt/key/ai", False),
        ("linux", "/home/jo/far/ai", True),
        ("linux", "/home/jo/far/near/ai", False),
        ("linux", "/home/jo/disk", False),
        ("linux", "/opt/ai", False),
        ("macos", "/Volumes/team/ai", True),
        ("macos", "/Volumes/Key (x)/ai", False),
        ("macos", "/Users/jo", False),
    ],
)
def test_mounts(system: str, folder: str, network: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    read = places._linux_mounts if system == "linux" else places._macos_mounts
    mounts = read((MOUNTINFO if system == "linux" else MOUNT).splitlines())
    monkeypatch.setattr(places, "_mounts", lambda: mounts)
    assert is_on_network(Path(folder)) is network


def test_this_machine_answers(tmp_path: Path) -> None:
    assert isinstance(is_on_network(tmp_path / "new"), bool) and isinstance(is_removable(tmp_path), bool)


@pytest.mark.skipif(os.name != "posix", reason="POSIX' rights; on Windows it is the place that tells, below")
@pytest.mark.parametrize(
    ("parent", "root", "is_open"),
    [(0o755, 0o700, False), (0o755, 0o777, True), (0o777, 0o755, True), (0o777, None, True), (0o1777, None, False)],
)
def test_who_may_change_it(parent: int, root: int | None, is_open: bool, tmp_path: Path) -> None:
    above = tmp_path / "above"
    above.mkdir()
    if root is not None:
        (above / "root").mkdir()
        (above / "root").chmod(root)
    above.chmod(parent)
    assert is_open_to_others(above / "root") is is_open


@pytest.mark.parametrize(("folder", "is_open"), [(r"D:\AI", True), (r"C:\Users\Jo\ai", False), (r"C:\Users\Joe", True)])
def test_who_may_change_it_on_windows(folder: str, is_open: bool, windows: pytest.MonkeyPatch) -> None:
    windows.setattr(Path, "home", lambda: Windows(r"C:\Users\Jo"))
    assert is_open_to_others(Windows(folder)) is is_open


def test_flatpaks_sandbox_is_known(tmp_path: Path) -> None:
    assert not is_flatpak(tmp_path)
    (tmp_path / ".flatpak-info").write_text("[Application]\nname=org.blender.Blender\n")
    assert is_flatpak(tmp_path)
