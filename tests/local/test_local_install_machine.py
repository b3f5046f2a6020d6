"""What a machine has, which build of PyTorch fits it, and which Python: with stand-ins for the makers' tools."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import sentence

from trellis_addon.local.environment import python as pythons
from trellis_addon.local.environment.builds import BUILDS, choose_build
from trellis_addon.local.environment.python import VERSIONS, Python, find_python, look_at, managed_python
from trellis_addon.local.machine import hardware
from trellis_addon.local.machine.hardware import Card, Machine, find_machine, free_disk

posix = pytest.mark.skipif(
    os.name != "posix", reason="the stand-ins are shell scripts; what Windows tells is read from its registry, below"
)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is on the path, before what shells need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


# --- cards ---


@posix
def test_nvidias_own_tool_is_asked(tools: Path) -> None:
    rows = (
        "1, NVIDIA RTX A2000, 12GB, 6138, 5900, 550.54.14, 8.6\\n0, NVIDIA H200, 143771, 143100, 580.65.06, 9.0\\n"
        "2, NVIDIA T4, [N/A], [N/A], [N/A], [N/A]\\n"
    )
    script(tools / "nvidia-smi", f"printf '{rows}'".replace("A2000, 12GB", "A2000"))
    cards = [card for card in find_machine().cards if card.kind == "nvidia"]
    assert cards == [
        Card("NVIDIA H200", "nvidia", 0, 143771 * 2**20, 143100 * 2**20, "580.65.06", "9.0"),
        Card("NVIDIA RTX A2000", "nvidia", 1, 6138 * 2**20, 5900 * 2**20, "550.54.14", "8.6"),
        Card("NVIDIA T4", "nvidia", 2),
    ]


@posix
def test_an_old_driver_does_not_know_every_question(tools: Path) -> None:
    script(
        tools / "nvidia-smi",
        'case "$*" in *compute_cap*) echo not a valid field; exit 2;; esac\necho "0, GTX 970, 4043, 4000, 460.32"',
    )
    assert find_machine().cards[0] == Card("GTX 970", "nvidia", 0, 4043 * 2**20, 4000 * 2**20, "460.32")


@posix
@pytest.mark.parametrize("does", ["exec sleep 60", "exit 9", "echo 'No devices were found'", "head -c 3000 /dev/zero"])
def test_a_broken_driver_is_no_card(does: str, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_NVIDIA_TIMEOUT", 0.5)
    monkeypatch.setattr(hardware, "_linux_nvidia", lambda: [])  # what this machine may really have
    script(tools / "nvidia-smi", does)
    machine = find_machine()
    assert [card for card in machine.cards if card.kind == "nvidia"] == []
    assert machine.system in ("linux", "macos") and machine.memory > machine.memory_free > 0


def test_what_the_kernel_knows_of_other_cards(tmp_path: Path) -> None:
    files = {
        "drm/card0/device/vendor": "0x8086",
        "drm/card1/device/vendor": "0x1002",
        "drm/card1/device/product_name": "Radeon RX 7900 XTX",
        "drm/card1/device/mem_info_vram_total": "25753026560",
        "drm/card1/device/mem_info_vram_used": "753026560",
        "drm/card1-HDMI-A-1/device/vendor": "0x1002",
        "drm/card2/device/vendor": "0x10de",
        "kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\ngfx_target_version 0\n",
        "kfd/kfd/topology/nodes/1/properties": "simd_count 192\ngfx_target_version 110000\n",
        "kfd/kfd/topology/nodes/10/properties": "gfx_target_version 90010\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    intel, amd = hardware._linux_others(tmp_path)
    assert intel.kind == "intel" and intel.total == 0
    assert amd == Card("Radeon RX 7900 XTX", "amd", 0, 25753026560, 25 * 10**9, "", "gfx1100")
    assert hardware._amd_targets(tmp_path) == ["gfx1100", "gfx90a"]


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Fri Jan 24 21:19:31 UTC 2025\nGCC version: 12.2.0"
PCI = {
    "0000:00:02.0/vendor": "0x8086",
    "0000:00:02.0/class": "0x030000",
    "0000:01:00.0/vendor": "0x10de",
    "0000:01:00.0/class": "0x030200",
    "0000:01:00.1/vendor": "0x10de",
    "0000:01:00.1/class": "0x040300",
}


@pytest.mark.parametrize("does", ["", "exec sleep 30", "exit 9"], ids=["not there", "asleep", "broken"])
@posix
def test_nvidias_card_is_found_where_its_tool_says_nothing(
    does: str, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Flatpak's sandbox, with Debian's drivers, and at a Windows' first call."""
    about = "Model: \t\t NVIDIA GeForce RTX 4070\nIRQ:   \t\t 144\nVideo BIOS: \t 95.04"
    proc = tree(tmp_path / "proc", {"version": VERSION, "gpus/0000:01:00.0/information": about})
    monkeypatch.setattr(hardware, "_NVIDIA_TIMEOUT", 0.3)
    look = hardware._linux_nvidia
    monkeypatch.setattr(hardware, "_linux_nvidia", lambda: look(proc, tmp_path / "none"))
    monkeypatch.setattr(hardware, "_linux_others", lambda: [])
    if does:
        script(tools / "nvidia-smi", does)
    machine = replace(find_machine(), system="linux", arch="x86_64")
    if sys.platform == "linux":
        assert machine.cards == (Card("NVIDIA GeForce RTX 4070", "nvidia", 0, driver="570.86.15", is_asked=False),)
        build = choose_build(machine)
        assert build.key == "cuda12" and "nvidia-smi does not answer" in build.reason


@pytest.mark.parametrize(
    ("driver", "version", "key", "said"),
    [
        ("nvidia", VERSION.replace("570.86", "590.10"), "cuda", "whether it is new enough for CUDA 13 is not known"),
        ("nouveau", "", "cuda", "no driver of NVIDIA's (nouveau): install it"),
        ("", "", "cuda", "no driver of NVIDIA's (none): install it"),
    ],
)
def test_or_by_what_is_plugged_in(driver: str, version: str, key: str, said: str, tmp_path: Path) -> None:
    devices = tree(tmp_path / "devices", PCI)
    if driver:
        (tmp_path / "drivers" / driver).mkdir(parents=True)
        try:
            (devices / "0000:01:00.0" / "driver").symlink_to(tmp_path / "drivers" / driver)
        except OSError:
            pytest.skip("links may not be made here, and only Linux has these")
    proc = tree(tmp_path / "proc", {"version": version})
    (card,) = hardware._linux_nvidia(proc, devices)
    assert card.kind == "nvidia" and not card.is_asked
    build = choose_build(Machine("linux", "x86_64", (card,)))
    assert build.key == key and said in build.reason


ADAPTERS: list[dict[str, object]] = [
    {"DriverDesc": "Intel(R) UHD Graphics", "ProviderName": "Intel Corporation"},
    {
        "DriverDesc": "NVIDIA GeForce RTX 4070",
        "ProviderName": "NVIDIA",
        "DriverVersion": "32.0.15.8118",
        "HardwareInformation.qwMemorySize": 12 << 30,
    },
]


def test_on_windows_the_registry_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "_nvidia", lambda: [])
    monkeypatch.setattr(hardware, "_adapters", lambda: ADAPTERS)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(hardware, "machine_memory", lambda: (0, 0))
    nvidia, intel = find_machine().cards
    assert nvidia == Card("NVIDIA GeForce RTX 4070", "nvidia", 0, 12 << 30, 0, "581.18", is_asked=False)
    assert intel.kind == "intel"
    assert choose_build(Machine("windows", "x86_64", (nvidia, intel))).key == "cuda"


@pytest.mark.parametrize(("version", "number"), [("31.0.15.2849", "528.49"), ("9.18", ""), ("", ""), ("a.b.c.d", "")])
def test_windows_number_of_nvidias_driver(version: str, number: str) -> None:
    assert hardware._nvidia_version(version) == number


@pytest.mark.parametrize(("told", "said"), [("1\n", "the one for Intel Macs"), ("0\n", "no build"), (None, "no build")])
def test_a_blender_for_intel_on_apple_silicon_is_told(
    told: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(command: list[str], timeout: float) -> str | None:
        return told if command[-1] == "sysctl.proc_translated" else None

    monkeypatch.setattr(hardware, "ask", ask)
    monkeypatch.setattr(hardware, "_nvidia", lambda: [])
    monkeypatch.setattr(hardware, "machine_memory", lambda: (16 << 30, 8 << 30))
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(hardware.platform, "machine", lambda: "x86_64")
    machine = find_machine()
    assert machine.is_translated == (told == "1\n") and said in choose_build(machine).reason


def test_free_disk_of_what_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(free_disk(tmp_path), rel=0.1) and free_disk(tmp_path) > 0


# --- builds ---


def nvidia(capability: str, driver: str, system: str = "linux", arch: str = "x86_64") -> Machine:
    return Machine(system, arch, (Card("RTX", "nvidia", 0, 8 << 30, 8 << 30, driver, capability),))


def amd(target: str, system: str = "linux") -> Machine:
    return Machine(system, "x86_64", (Card("Radeon", "amd", 0, 8 << 30, 0, "", target),))


@pytest.mark.parametrize(
    ("machine", "key", "said"),
    [
        (nvidia("8.9", "580.65"), "cuda", "works with CUDA 13."),
        (nvidia("12.0", "595.10"), "cuda", "works with CUDA 13."),
        (nvidia("8.9", "581.08", "windows"), "cuda", "works with CUDA 13."),
        (nvidia("8.9", "579.99"), "cuda12", "CUDA 13 needs driver 580"),
        (nvidia("8.9", "525.60"), "cuda12", "works with CUDA 12"),
        (nvidia("8.9", "527.41", "windows"), "cuda", "update the driver"),
        (nvidia("8.9", "528.33", "windows"), "cuda12", "works with CUDA 12"),
        (nvidia("8.9", "470.10"), "cuda", "update the driver"),
        # too new for CUDA 12.6, too old a driver for 13
        (nvidia("12.0", "572.16", "windows"), "cuda", "update the driver"),
        # Pascal and Volta, which CUDA 13 does not serve, whatever the driver
        (nvidia("6.1", "580.65"), "cuda12", "older than what CUDA 13 serves"),
        (nvidia("7.0", "535.10"), "cuda12", "older than what CUDA 13 serves"),
        (nvidia("6.1", "470.10"), "cuda12", "update the driver"),
        (nvidia("", ""), "cuda", "works with CUDA 13."),
        (nvidia("9.0", "580.65", arch="arm64"), "cuda", "works with CUDA 13."),
        (amd("gfx1100"), "rocm", "works with ROCm"),
        (amd("gfx1036"), "cpu", "no code for Radeon (gfx1036)"),
        (amd(""), "cpu", "no ROCm driver"),
        (amd("", "windows"), "cpu", "on Windows"),
        (Machine("macos", "arm64", (Card("Apple M4", "apple"),)), "apple", "Apple M4 computes with Metal"),
        (Machine("linux", "x86_64", (Card("Arc", "intel"),)), "cpu", "Arc cannot be used"),
        (Machine("windows", "x86_64"), "cpu", "No graphics card was found"),
        (Machine("macos", "x86_64"), "cpu", "no build for this system"),
        # two cards: the newer one decides
        (Machine("linux", "x86_64", (nvidia("6.1", "580.1").cards[0], nvidia("8.9", "580.1").cards[0])), "cuda", "13"),
        # NVIDIA before AMD's integrated graphics
        (Machine("linux", "x86_64", (amd("gfx1036").cards[0], nvidia("8.9", "580.1").cards[0])), "cuda", "13"),
    ],
)
def test_the_build_that_fits(machine: Machine, key: str, said: str) -> None:
    build = choose_build(machine)
    assert build.key == key and said in build.reason, build
    assert build.reason.endswith(".") and "  " not in build.reason


def test_every_build_is_whole() -> None:
    for builds in BUILDS.values():
        assert "cpu" in builds
        for key, build in builds.items():
            assert key == build.key and build.device in ("cuda", "mps", "cpu")
            assert bool(build.index) == bool(build.tag) == bool(build.download), "its own index, and what it is called"
            assert not build.index or build.index.endswith("/" + build.tag)


# --- Pythons ---


@posix
def test_what_is_no_python_to_use_is_a_sentence(tools: Path, tmp_path: Path) -> None:
    facts = (
        '{"executable": "%s", "bits": %d, "threaded": %s, "system": "%s", "base": "%s", "markers": {"python_version": '
        '"%s", "python_full_version": "%s.0", "implementation_name": "%s", "platform_python_implementation": "%s"}}'
    )

    def told(*facts_told: object) -> str:
        path = script(tools / "python9", f"echo '{facts % facts_told}'")
        result = look_at(str(path))
        assert isinstance(result, str), result
        return result

    normal = ("/usr/bin/x", 64, "false", "linux-x86_64", "/usr")
    shim = script(tools / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    own = script(tmp_path / "blender" / "5.0" / "python" / "bin" / "python3.11", "exit 0")
    (tmp_path / "blender" / "5.0" / "scripts").mkdir()
    like = script(tmp_path / "tools" / "3.11" / "python" / "bin" / "python3.11", "exit 0")
    store = script(tmp_path / "WindowsApps" / "python.exe", "exit 0")
    for text, said in (
        (look_at(str(shim)), "does not start"),
        (look_at(str(tmp_path / "nothing")), "does not start"),
        (look_at(str(own)), "Blender's own"),
        (look_at(str(like)), "does not start"),
        (look_at(str(store)), "Windows Store"),
        (told(*normal, "3.9", "3.9", "cpython", "CPython"), "CPython 3.9.0, which there are no wheels for"),
        (told(*normal, "3.11", "3.11", "pypy", "PyPy"), "PyPy 3.11.0"),
        (told("/x", 64, "true", "linux-x86_64", "/usr", "3.13", "3.13", "cpython", "CPython"), "without the global"),
        (told("/x", 32, "false", "win32", "C:/", "3.11", "3.11", "cpython", "CPython"), "32-bit"),
        (told("/x", 64, "false", "win-arm64", "C:/", "3.12", "3.12", "cpython", "CPython"), "for ARM"),
        (told(own, 64, "false", "x", "/b", "3.11", "3.11", "cpython", "C"), "Blender's own"),
    ):
        assert isinstance(text, str) and said in text
        sentence(ValueError(text))


@posix
def test_shims_and_blenders_python_are_passed_over(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_python()
    if real is None:
        pytest.skip("needs a Python 3.11 to 3.14 on this machine")
    version = ".".join(real.version.split(".")[:2])
    blender = tmp_path / "blender" / "5.0" / "python" / "bin"
    blender.mkdir(parents=True)
    (tmp_path / "blender" / "5.0" / "scripts").mkdir()
    (blender / f"python{version}").symlink_to(real.executable)
    for name in VERSIONS:
        script(tools / f"python{name}", "exit 127")
    good = tmp_path / "good"
    good.mkdir()
    (good / "python3").symlink_to(real.executable)
    monkeypatch.setenv("PATH", f"{blender}:{tools}:{good}")
    monkeypatch.setattr(sys, "_base_executable", str(blender / f"python{version}"), raising=False)
    monkeypatch.setattr(pythons, "_PATTERNS", ())
    found = find_python()
    assert found is not None and found.executable == str(good / "python3")
    (good / "python3").unlink()
    assert find_python() is None


@pytest.mark.parametrize(
    ("found", "wanted", "best"),
    [
        ({"/opt/homebrew/Cellar/python@3.11/3.11.9/bin/python3.11": "3.11.9", "/usr/bin/python3.12": "3.12.3"}, "",
         "/usr/bin/python3.12"),
        ({"/home/jo/.pyenv/versions/3.11.9/bin/python3.11": "3.11.9", "/usr/bin/python3.14": "3.14.0"}, "",
         "/usr/bin/python3.14"),
        ({"/usr/bin/python3.12": "3.12.3", "/usr/local/bin/python3.11": "3.11.4"}, "", "/usr/local/bin/python3.11"),
        ({"/usr/local/bin/python3.11": "3.11.4", "/home/jo/.pyenv/versions/3.12.1/bin/python": "3.12.1"},
         "3.12", "/home/jo/.pyenv/versions/3.12.1/bin/python"),
        ({"/home/linuxbrew/.linuxbrew/bin/python3.11": "3.11.4"}, "", "/home/linuxbrew/.linuxbrew/bin/python3.11"),
    ],
)  # fmt: skip
def test_a_python_that_stays_is_preferred(
    found: dict[str, str], wanted: str, best: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pythons, "_candidates", lambda: iter(found))
    monkeypatch.setattr(pythons, "look_at", lambda path: Python(path, found[path], (), ()))
    chosen = find_python(wanted)
    assert chosen is not None and chosen.executable == best


def test_the_wheels_that_a_python_takes() -> None:
    found = find_python()
    machine = find_machine()
    for python in [managed_python(machine), *([found] if found else [])]:
        assert isinstance(python, Python) and "py3-none-any" in python.tags
        number = "cp3" + python.version.split(".")[1]
        assert (
            python.tags[0].startswith(f"{number}-{number}-")
            and f"cp310-abi3-{python.tags[0].split('-')[2]}" in python.tags
        )
        assert not any(tag.startswith("cp399") or tag.endswith("t-any") for tag in python.tags)
        assert dict(python.markers)["sys_platform"] == sys.platform
    windows = managed_python(Machine("windows", "x86_64"))
    assert "cp311-cp311-win_amd64" in windows.tags and dict(windows.markers)["platform_machine"] == "AMD64"
