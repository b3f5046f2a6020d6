"""The wheels in a zip for a system that is not at hand: what is wrong with them is found by reading them."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest
import wheel_check

pytestmark = pytest.mark.checkout


def elf(machine: int) -> bytes:
    return b"\x7fELF".ljust(18, b"\0") + struct.pack("<H", machine)


def pe(machine: int) -> bytes:
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H", machine)


def macho(processor: int, signed: bool = True) -> bytes:
    commands = [(0x19, 24), *([(0x1D, 16)] if signed else [])]
    head = b"\xcf\xfa\xed\xfe" + struct.pack("<6I", processor, 0, 6, len(commands), 40, 0) + b"\0\0\0\0"
    return head + b"".join(struct.pack("<II", *each).ljust(each[1], b"\0") for each in commands)


def fat(*parts: bytes) -> bytes:
    start, head, body = 8 + 20 * len(parts), b"\xca\xfe\xba\xbe" + struct.pack(">I", len(parts)), b""
    for part in parts:
        head += struct.pack(">5I", struct.unpack_from("<I", part, 4)[0], 0, start + len(body), len(part), 0)
        body += part
    return head + body


X64, ARM = 0x01000007, 0x0100000C
PLAIN = {"plain/__init__.py": b"from .more import x\n", "plain/more.py": b"import json\nx = 1\n"}


def wheel(name: str, tag: str, files: dict[str, bytes], *requires: str) -> tuple[str, bytes]:
    about = "".join(f"Requires-Dist: {line}\n" for line in requires)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n{about}"
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        for path, data in {**files, f"{name}-1.dist-info/METADATA": about.encode()}.items():
            archive.writestr(path, data)
    return f"wheels/{name}-1-{tag}.whl", stored.getvalue()


def faults(tmp_path: Path, platform: str, *wheels: tuple[str, bytes], ours: str = "import plain") -> list[str]:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("blender_manifest.toml", f'platforms = ["{platform}"]\n')
        archive.writestr("trellis_addon/api.py", ours)
        for name, data in (wheel("plain", "py3-none-any", PLAIN), *wheels):
            archive.writestr(name, data)
    return wheel_check.wheel_faults(tmp_path / "a.zip")


# platform -> the tag's platform, the compiled file's ending, and a file for it
NATIVE = {
    "linux-x64": ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", "cpython-{}-x86_64-linux-gnu.so", elf(0x3E)),
    "windows-x64": ("win_amd64", "cp{}-win_amd64.pyd", pe(0x8664)),
    "windows-arm64": ("win_arm64", "cp{}-win_arm64.pyd", pe(0xAA64)),
    "macos-arm64": ("macosx_11_0_arm64", "cpython-{}-darwin.so", macho(ARM)),
    "macos-x64": ("macosx_10_10_x86_64", "cpython-{}-darwin.so", macho(X64)),
}


def native(platform: str, data: bytes | None = None) -> list[tuple[str, bytes]]:
    """A package with a compiled module, a wheel for each Python."""
    tag, ending, right = NATIVE[platform]
    found = []
    for number in ("311", "313"):
        files = {"fast/__init__.py": b"from . import core\n", f"fast/core.{ending.format(number)}": data or right}
        found.append(wheel("fast", f"cp{number}-cp{number}-{tag}", files))
    return found


@pytest.mark.parametrize("platform", NATIVE)
def test_what_fits_has_no_fault(platform: str, tmp_path: Path) -> None:
    assert set(NATIVE) == set(wheel_check.SYSTEMS)
    assert faults(tmp_path, platform, *native(platform), ours="import plain, fast\nfrom fast import core") == []


@pytest.mark.parametrize("platform", NATIVE)
@pytest.mark.parametrize("other", NATIVE)
def test_a_wheel_of_another_system_is_found(platform: str, other: str, tmp_path: Path) -> None:
    if platform != other:
        found = faults(tmp_path, platform, *native(other))
        assert f"fast-1-cp311-cp311-{NATIVE[other][0]}.whl is for no Python of {platform}" in found


def test_a_system_too_new_is_found(tmp_path: Path) -> None:
    newer = wheel("fast", "cp311-cp311-macosx_14_0_arm64", {"fast/__init__.py": b""})
    assert "is for no Python of macos-arm64" in faults(tmp_path, "macos-arm64", newer)[0]
    newer = wheel("fast", "cp311-cp311-manylinux_2_34_x86_64", {"fast/__init__.py": b""})
    assert "is for no Python of linux-x64" in faults(tmp_path, "linux-x64", newer)[0]


@pytest.mark.parametrize(
    ("platform", "data", "said"),
    [
        ("windows-arm64", pe(0x8664), "for win32 amd64, not for windows-arm64"),
        ("windows-x64", pe(0x14C), "for win32 x86, not for windows-x64"),
        ("linux-x64", elf(0xB7), "for linux aarch64, not"),
        ("macos-arm64", macho(X64), "for darwin x86_64, not"),
        ("macos-arm64", macho(ARM, signed=False), "without a signature"),
        ("macos-arm64", fat(macho(X64), macho(ARM, signed=False)), "without a signature"),
        ("macos-x64", elf(0x3E), "for linux x86_64, not"),
        ("macos-x64", b"rubbish", "no system known"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else str(value),
)
def test_a_compiled_file_of_another_processor_is_found(platform: str, data: bytes, said: str, tmp_path: Path) -> None:
    assert any(said in fault for fault in faults(tmp_path, platform, *native(platform, data)))


def test_one_file_for_both_of_apples_processors_is_right(tmp_path: Path) -> None:
    both = fat(macho(X64), macho(ARM))
    assert faults(tmp_path, "macos-arm64", *native("macos-arm64", both)) == []
    assert faults(tmp_path, "macos-x64", *native("macos-x64", both)) == []


def test_what_runs_anywhere_has_nothing_compiled(tmp_path: Path) -> None:
    hidden = wheel("sly", "py3-none-any", {"sly/__init__.py": b"", "sly/helper.exe": pe(0x8664)})
    assert "says that it runs anywhere, and has sly/helper.exe" in faults(tmp_path, "linux-x64", hidden)[0]


def test_one_package_twice_is_found(tmp_path: Path) -> None:
    (found,) = faults(tmp_path, "linux-x64", wheel("plain", "py2.py3-none-any", PLAIN))[:1]
    assert "are both taken on linux-x64 with Python 3.11" in found


@pytest.mark.parametrize(
    ("requires", "windows", "linux"),
    [
        ("gone", True, True),
        ("gone; sys_platform == 'win32'", True, False),
        ("gone; extra == 'more'", False, False),
        ("numpy>=1.26", False, False),
        ("Plain", False, False),
    ],
)
def test_requirements_hold_by_their_markers(requires: str, windows: bool, linux: bool, tmp_path: Path) -> None:
    needy = wheel("needy", "py3-none-any", {"needy/__init__.py": b""}, requires)
    for platform, is_missing in (("windows-x64", windows), ("linux-x64", linux)):
        found = faults(tmp_path, platform, needy)
        assert bool(found) == is_missing and all("needs gone on" in fault for fault in found)


# what a bundled module does when it loads, and where something is missing then: (windows, linux)
LOADING = {
    "import gone": (True, True),
    "import plain.gone": (True, True),
    "from gone.deep import x": (True, True),
    "from .gone import x": (True, True),
    "from plain import anything": (False, False),
    "import os.path, numpy.linalg, winreg": (False, False),
    "def later():\n    import gone": (False, False),
    "try:\n    import gone\nexcept ImportError:\n    gone = None": (False, False),
    "try:\n    import gone\nexcept ValueError:\n    pass": (True, True),
    "import contextlib\nwith contextlib.suppress(ImportError):\n    import gone": (False, False),
    "import typing\nif typing.TYPE_CHECKING:\n    import gone": (False, False),
    "import sys\nif sys.platform == 'win32':\n    import gone": (True, False),
    "import os\nif os.name == 'nt':\n    import plain\nelse:\n    import gone": (False, True),
    "import sys\nif sys.version_info >= (3, 10):\n    import gone": (True, True),
    "import sys\nif sys.version_info < (3, 10):\n    import gone": (False, False),
    "class Late:\n    import gone": (True, True),
    "from . import below": (True, True),
}


@pytest.mark.parametrize("code", LOADING)
def test_what_is_missing_while_a_package_loads(code: str, tmp_path: Path) -> None:
    loads = wheel("loads", "py3-none-any", {"loads/__init__.py": code.encode(), "loads/below.py": b"import gone\n"})
    for platform, is_missing in zip(("windows-x64", "linux-x64"), LOADING[code], strict=True):
        found = faults(tmp_path, platform, loads, ours="def late():\n    import loads")
        assert bool(found) == is_missing and all("gone" in fault and "is not there on" in fault for fault in found)
    assert faults(tmp_path, "linux-x64", loads) == [], "the extension never asks for it"


def test_what_newer_pythons_lost_is_found(tmp_path: Path) -> None:
    old = wheel("old", "py3-none-any", {"old.py": b"import cgi\n"})
    (found,) = faults(tmp_path, "linux-x64", old, ours="from old import x")
    assert found == "old.py imports cgi, which is not there on linux-x64 with Python 3.13"


def test_a_real_zip_has_passed_and_would_not_elsewhere(extension_zip: Path, tmp_path: Path) -> None:
    """The build ends where a fault is found; here the same wheels are said to be for another system."""
    with zipfile.ZipFile(extension_zip) as archive, zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        platform = "macos-x64" if "linux" in extension_zip.name else "linux-x64"
        other.writestr("blender_manifest.toml", f'platforms = ["{platform}"]\n')
        for name in archive.namelist():
            if "pillow" in name:
                other.writestr(name, archive.read(name))
    found = wheel_check.wheel_faults(tmp_path / "other.zip")
    assert sum("is for no Python of" in fault for fault in found) == 2
    assert any(f", not for {platform}" in fault for fault in found)
