"""What kind of place a folder lies in: synchronised, on another machine, on a drive that is taken out, open to others.

Every answer is from the path and what the system says of it; nothing is written, and nothing raised.
"""

from __future__ import annotations

import functools
import ntpath
import os
import re
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from ..configuration import configuration
from ..processes import ask

# st_reparse_tag of what leads elsewhere; OneDrive's files and deduplicated ones are reparse points, too, and no links.
_MOUNT_POINT, _SYMLINK = 0xA0000003, 0xA000000C
_ONEDRIVE_VARIABLES = ("ONEDRIVE", "ONEDRIVECOMMERCIAL", "ONEDRIVECONSUMER")
# How the folders of services that upload them begin, wherever they lie.
_SYNCED = ("OneDrive", "Dropbox", "iCloudDrive", "iCloud Drive", "Google Drive", "GoogleDrive", "Nextcloud")
_SYNCED_MACOS = ("CloudStorage", "Mobile Documents")  # in ~/Library: iCloud's own, and everybody else's
# 9p is how a Linux below Windows sees Windows' drives.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|afpfs|webdav|9p|afs|ceph|lustre|beegfs|(fuse\.)?glusterfs|fuse\.(sshfs|rclone|s3fs|davfs\w*)"
)
_NETWORK_DRIVE, _REMOVABLE_DRIVE = 4, 2  # of GetDriveType
_TIMEOUT = 5.0  # seconds


def is_link(facts: os.stat_result) -> bool:
    """Whether what `lstat` told is of a link, also of Windows' other kind of link to a folder (a junction)."""
    tag = getattr(facts, "st_reparse_tag", 0)
    return stat.S_ISLNK(facts.st_mode) or tag in (_MOUNT_POINT, _SYMLINK)


def synced_by(folder: Path) -> str:
    """The service that uploads what lies in a folder, by its name; "" where none is known to."""
    variables = configuration().variables
    for name in variables:
        if name.upper() in _ONEDRIVE_VARIABLES and _is_in(folder, variables[name]):
            return "OneDrive"
    for before, part in zip(("", *folder.parts), folder.parts, strict=False):
        if before in _SYNCED_MACOS:
            return "iCloud" if before == "Mobile Documents" else re.split(r"[- ]", part)[0]
        found = next((name for name in _SYNCED if re.match(re.escape(name) + r"($|[ (-])", part)), "")
        if found:
            return "iCloud" if found.startswith("iCloud") else found
    return ""


def is_on_network(folder: Path) -> bool:
    """Whether a folder lies on another machine, or would where it is not there yet."""
    if sys.platform == "win32":
        return str(folder).startswith("\\\\") or _drive_type(folder) == _NETWORK_DRIVE
    return bool(_NETWORK.fullmatch(_file_system(str(folder), _mounts())))


def is_removable(folder: Path) -> bool:
    """Whether a folder lies on a drive that is made to be taken out."""
    if sys.platform == "win32":
        return _drive_type(folder) == _REMOVABLE_DRIVE
    return folder.parts[:2] == ("/", "media") or folder.parts[:3] == ("/", "run", "media")


def is_open_to_others(folder: Path) -> bool:
    """Whether other users of this machine may change what lies in a folder, or replace it.

    On Windows that is taken of every folder outside of the user's own: a new drive's rights say so.
    """
    if sys.platform == "win32":
        return not _is_in(folder, str(Path.home()))
    for place in (folder, *folder.parents):
        try:
            mode = place.stat().st_mode
        except OSError:  # not there yet
            continue
        if mode & stat.S_IWOTH and (place == folder or not mode & stat.S_ISVTX):
            return True
    return False


def is_flatpak(root: Path = Path("/")) -> bool:
    """Whether this program runs in Flatpak's sandbox, which has neither the system's programs nor its Pythons."""
    return (root / ".flatpak-info").is_file()


def _is_in(folder: Path, place: str) -> bool:
    """As the system at hand compares paths: by letters without their case on Windows."""
    path = ntpath if sys.platform == "win32" else os.path
    own, other = (path.normcase(path.abspath(text)) for text in (str(folder), place))
    return bool(place.strip()) and (own == other or own.startswith(other.rstrip("\\/") + path.sep))


def _drive_type(folder: Path) -> int:
    if sys.platform == "win32":
        import ctypes

        root = ntpath.splitdrive(ntpath.abspath(folder))[0] + "\\"
        try:
            return int(ctypes.windll.kernel32.GetDriveTypeW(root))
        except OSError:
            pass
    return 0


Mounts = tuple[tuple[str, str], ...]


def _mounts() -> Mounts:
    """(where, kind of file system) of everything that is mounted, but for the system's own root."""
    if sys.platform == "darwin":
        return _told_by_mount()
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            return _linux_mounts(file)
    except OSError:
        return ()


@functools.cache
def _told_by_mount() -> Mounts:
    return _macos_mounts((ask(["/sbin/mount"], _TIMEOUT) or "").splitlines())


def _linux_mounts(lines: Iterable[str]) -> Mounts:
    """Of lines such as `36 35 98:0 / /mnt/a\\040b rw,noatime shared:1 - nfs4 server:/a rw`."""
    found = []
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 4 and kind:
            place = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
            found.append((place, kind[0]))
    return tuple(found)


def _macos_mounts(lines: Iterable[str]) -> Mounts:
    """Of lines such as `//me@server/share on /Volumes/share (smbfs, nodev, nosuid)`."""
    found = (re.match(r".* on (/.*) \((\w+)", line) for line in lines)
    return tuple((line[1], line[2]) for line in found if line is not None)


def _file_system(folder: str, mounts: Mounts) -> str:
    """The kind of the innermost mount that a folder lies in; the last of those at one place hides the others."""
    inside = [(len(place), kind) for place, kind in mounts if place != "/" and _is_in(Path(folder), place)]
    longest = max((length for length, _ in inside), default=0)
    return next((kind for length, kind in reversed(inside) if length == longest), "")
