"""What this machine has to run TRELLIS.2 on: cards, memory, disk.

Every fact comes from the maker's own tool or from the system, asked with a timeout; it takes up to some seconds and
is never done on Blender's main thread. What nobody tells is 0 or "".
"""

from __future__ import annotations

import contextlib
import csv
import os
import platform
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ...core.machine.memory import machine_memory, number_of, text_of
from ...core.processes import ask, find_program

_TIMEOUT = 10.0  # seconds; a driver that wakes up takes a few
_MIB = 2**20
_OF_WSL = "/usr/lib/wsl/lib"  # where Linux within Windows has the driver's tools
_MOST_ADAPTERS = 256  # a change of the driver leaves gaps in their numbers


@dataclass(frozen=True)
class Card:
    """A graphics card. `total` and `free` in bytes.

    `kind` is "nvidia", "amd", "apple" or "intel". `index` is the number its own runtime gives it. `capability` is
    CUDA's compute capability ("8.9"), or the name of AMD's target ("gfx1100"). `is_asked` is False for one of NVIDIA's
    that only the system tells of; it then has no driver of NVIDIA's where `driver` is a name ("nouveau").
    """

    name: str
    kind: str
    index: int = 0
    total: int = 0
    free: int = 0
    driver: str = ""
    capability: str = ""
    is_asked: bool = True


@dataclass(frozen=True)
class Machine:
    """`system` is "linux", "windows" or "macos", `arch` "x86_64" or "arm64"; `memory` and `memory_free` in bytes.

    `is_translated`: this program is one for Intel's processors, on a Mac that has Apple's.
    """

    system: str
    arch: str
    cards: tuple[Card, ...] = ()
    memory: int = 0
    memory_free: int = 0
    is_translated: bool = False


def find_machine() -> Machine:
    """This machine; its cards in the order of use: NVIDIA's, AMD's, Apple's, Intel's, each by its number."""
    system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")
    arch = "arm64" if platform.machine().lower() in ("arm64", "aarch64") else "x86_64"
    memory, free = machine_memory()
    cards = _nvidia()
    if system == "macos":
        cards += _apple(arch, memory, free)
    elif system == "windows":
        cards = (cards or _windows_nvidia()) + _windows_others()
    else:
        cards = (cards or _linux_nvidia()) + _linux_others()
    order = ("nvidia", "amd", "apple", "intel")
    cards.sort(key=lambda card: (order.index(card.kind), card.index))
    return Machine(system, arch, tuple(cards), memory, free, system == "macos" and arch != "arm64" and _is_translated())


def free_disk(path: Path) -> int:
    """Bytes free where `path` is or would be; 0 where that cannot be told."""
    for place in (path, *path.parents):
        try:
            return shutil.disk_usage(place).free
        except OSError:  # not there yet
            continue
    return 0


# --- NVIDIA ---

_NVIDIA = "NVIDIA graphics"  # one that nobody names
_NVIDIA_TIMEOUT = 30.0  # seconds: the first call after a start of Windows has taken more than ten


def nvidia_smi() -> str | None:
    """The whole path of NVIDIA's tool; None where it is not installed."""
    return find_program("nvidia-smi") or find_program("nvidia-smi", [_OF_WSL])


def _nvidia() -> list[Card]:
    tool = nvidia_smi()
    if tool is None:
        return []
    fields = "index,name,memory.total,memory.free,driver_version,compute_cap"
    began = time.monotonic()
    told = ask([tool, f"--query-gpu={fields}", "--format=csv,noheader,nounits"], _NVIDIA_TIMEOUT)
    # a driver from before 2021 does not know compute_cap and refuses the whole question
    if told is None and time.monotonic() - began < _NVIDIA_TIMEOUT:
        told = ask([tool, f"--query-gpu={fields.rpartition(',')[0]}", "--format=csv,noheader,nounits"], _TIMEOUT)
    rows = csv.reader((told or "").splitlines(), skipinitialspace=True)
    return [card for row in rows if (card := _nvidia_card(row)) is not None]


def _nvidia_card(row: list[str]) -> Card | None:
    """A row such as 0, NVIDIA H200, 143771, 143100, 570.86.15, 9.0; what a card does not tell is [N/A]."""
    if len(row) < 5 or not row[0].strip().isdigit():
        return None
    index, name, total, free, driver, *capability = (cell.strip() for cell in row)
    return Card(
        name=name,
        kind="nvidia",
        index=int(index),
        total=number_of(total) * _MIB,
        free=number_of(free) * _MIB,
        driver=driver if driver[:1].isdigit() else "",
        capability=capability[0] if capability and capability[0][:1].isdigit() else "",
    )


def _linux_nvidia(proc: Path = Path("/proc/driver/nvidia"), devices: Path = Path("/sys/bus/pci/devices")) -> list[Card]:
    """NVIDIA's cards as the kernel knows them: in a sandbox such as Flatpak, or without the driver's tools."""
    said = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text_of(proc / "version"))
    found: list[Card] = []
    for about in sorted(proc.glob("gpus/*/information")):
        model = re.search(r"^Model:\s*(.+)$", text_of(about), re.M)
        name = model[1].strip() if model else _NVIDIA
        found.append(Card(name, "nvidia", len(found), driver=said[0] if said else "", is_asked=False))
    if found:
        return found
    for device in sorted(devices.glob("*")):
        # a display controller, which a card's sound and USB are not
        if text_of(device / "vendor") == "0x10de" and text_of(device / "class").startswith("0x03"):
            driver = Path(os.path.realpath(device / "driver")).name if (device / "driver").exists() else "none"
            driver = said[0] if said and driver == "nvidia" else driver
            found.append(Card(_pci_name(device) or _NVIDIA, "nvidia", len(found), driver=driver, is_asked=False))
    return found


# --- Linux: what the kernel's drivers say ---


def _linux_others(sys_folder: Path = Path("/sys/class")) -> list[Card]:
    targets = _amd_targets(sys_folder)
    cards: list[Card] = []
    for device in sorted(sys_folder.glob("drm/card*/device")):
        if not device.parent.name.removeprefix("card").isdigit():  # card0-HDMI-A-1 is a plug
            continue
        kind = {"0x1002": "amd", "0x8086": "intel"}.get(text_of(device / "vendor"))
        if kind is None:
            continue
        total, used = (number_of(text_of(device / f"mem_info_vram_{what}")) for what in ("total", "used"))
        number = sum(card.kind == kind for card in cards)
        target = targets[number] if kind == "amd" and number < len(targets) else ""
        name = (
            text_of(device / "product_name") or _pci_name(device) or {"amd": "AMD graphics"}.get(kind, "Intel graphics")
        )
        cards.append(
            Card(
                name,
                kind,
                number,
                total,
                max(total - used, 0),
                text_of(sys_folder / "../module/amdgpu/version") if kind == "amd" else "",
                target,
            )
        )
    return cards


def _amd_targets(sys_folder: Path) -> list[str]:
    """The compute targets of AMD's cards, in the order of their nodes: 110001 -> gfx1101."""
    found = []
    nodes = sys_folder.glob("kfd/kfd/topology/nodes/*/properties")
    for properties in sorted(nodes, key=lambda path: number_of(path.parent.name)):
        pairs = dict(line.split(maxsplit=1) for line in text_of(properties).splitlines() if " " in line)
        if version := number_of(pairs.get("gfx_target_version", "0")):  # 0 is the processor
            found.append(f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}")
    return found


def _pci_name(device: Path) -> str:
    """The card's name in the system's list of PCI devices, by lspci where it is installed."""
    tool = find_program("lspci")
    told = ask([tool, "-mm", "-s", device.resolve().name], _TIMEOUT) if tool else None
    cells = next(csv.reader([(told or "").strip()], delimiter=" "), [])
    return f"{cells[2]} {cells[3]}" if len(cells) > 3 else ""


# --- Windows: the registry's list of display adapters ---

_ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


def _windows_others() -> list[Card]:
    """AMD's and Intel's cards, as their drivers registered themselves."""
    found: list[Card] = []
    for values in _adapters():
        name = str(values.get("DriverDesc", ""))
        maker = (str(values.get("ProviderName", "")) + " " + name).lower()
        kind = "amd" if "amd" in maker or "advanced micro" in maker or "radeon" in maker else ""
        kind = kind or ("intel" if "intel" in maker else "")
        if not kind:
            continue
        memory = values.get("HardwareInformation.qwMemorySize", 0)
        total = memory if isinstance(memory, int) else 0
        number = sum(card.kind == kind for card in found)
        found.append(Card(name, kind, number, total, 0, str(values.get("DriverVersion", ""))))
    return found


def _windows_nvidia() -> list[Card]:
    """NVIDIA's cards of the registry, where their own tool says nothing: it is not there, or hangs."""
    found: list[Card] = []
    for values in _adapters():
        name, maker = str(values.get("DriverDesc", "")), str(values.get("ProviderName", ""))
        if "nvidia" in f"{maker} {name}".lower():
            number = _nvidia_version(str(values.get("DriverVersion", "")))
            total = values.get("HardwareInformation.qwMemorySize", 0)
            memory = total if isinstance(total, int) else 0
            found.append(Card(name or _NVIDIA, "nvidia", len(found), memory, 0, number, is_asked=False))
    return found


def _nvidia_version(version: str) -> str:
    """Windows counts NVIDIA's driver 576.80 as 32.0.15.7680: its last five digits."""
    digits = "".join(version.split(".")[-2:])[-5:]
    return f"{digits[:3]}.{digits[3:]}" if len(digits) == 5 and digits.isdigit() else ""


def _adapters() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    if sys.platform == "win32":
        import winreg

        for number in range(_MOST_ADAPTERS):
            with (
                contextlib.suppress(OSError),  # none of this number, or none of ours to read
                winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{_ADAPTERS}\{number:04d}") as adapter,
            ):
                count = winreg.QueryInfoKey(adapter)[1]
                pairs = (winreg.EnumValue(adapter, index)[:2] for index in range(count))
                found.append({str(name): value for name, value in pairs})
    return found


# --- macOS ---


def _apple(arch: str, memory: int, free: int) -> list[Card]:
    """Apple silicon shares its memory with the processor; Intel Macs have nothing that PyTorch still serves."""
    if arch != "arm64":
        return []
    name = (ask(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], _TIMEOUT) or "").strip() or "Apple silicon"
    return [Card(name, "apple", 0, memory, free, platform.mac_ver()[0])]


def _is_translated() -> bool:
    """Whether this program for Intel's processors runs on one of Apple's, by Rosetta."""
    return (ask(["/usr/sbin/sysctl", "-n", "sysctl.proc_translated"], _TIMEOUT) or "").strip() == "1"
