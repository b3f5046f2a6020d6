"""Which of PyTorch's own builds fits a machine, and why.

All builds are stock wheels of one PyTorch version. One of them is what the default package index gives on a system
(CUDA 13.0 on Linux, CPU on Windows, Metal on Apple silicon), the others have an index of their own at PyTorch's.

What a driver must be for which CUDA is NVIDIA's table "Minor Version Compatibility": CUDA 13.x needs 580 or newer,
CUDA 12.x 525 on Linux and 528 on Windows. Which processors a build has code for is PyTorch's support matrix: CUDA 13.0
from Turing (7.5) on, CUDA 12.6 from Maxwell (5.0) to Hopper (9.0), ROCm 7.2 the targets named below.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...core.messages import message
from ..machine.hardware import Card, Machine

TORCH_VERSION = "2.13.0"
PYTORCH_INDEX = "https://download.pytorch.org/whl/"

_CUDA_13_DRIVER = 580
_CUDA_12_DRIVER = {"linux": 525, "windows": 528}
_TURING = (7, 5)
_ROCM_TARGETS = ("gfx908", "gfx90a", "gfx942", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1200", "gfx1201")


@dataclass(frozen=True)
class TorchBuild:
    """A build of PyTorch.

    `index` is "" where the default package index has it, else PyTorch's own index for it. `tag` is what its version
    number then ends in ("cu126"). `reason` is a sentence for the user. `download` is about how many bytes are fetched
    where the lock does not know, `device` what it is meant to run on ("cuda", "mps" or "cpu").
    """

    key: str
    label: str
    index: str = ""
    reason: str = ""
    tag: str = ""
    device: str = "cpu"
    download: int = 0

    @property
    def version(self) -> str:
        """The version as its wheel has it: 2.13.0+cu126."""
        return TORCH_VERSION + (f"+{self.tag}" if self.tag else "")


def _own(key: str, label: str, tag: str, device: str, download: float) -> TorchBuild:
    return TorchBuild(key, label, PYTORCH_INDEX + tag, "", tag, device, round(download * 1e9))


_CUDA_12 = _own("cuda12", "CUDA 12.6", "cu126", "cuda", 2.6)
_CPU = _own("cpu", "CPU", "cpu", "cpu", 0.2)
# (system, arch) -> its builds by key. A Mac with an Intel processor has none: PyTorch ended with 2.2 there.
BUILDS: dict[tuple[str, str], dict[str, TorchBuild]] = {
    ("linux", "x86_64"): {
        "cuda": TorchBuild("cuda", "CUDA 13.0", device="cuda"),
        "cuda12": _CUDA_12,
        "rocm": _own("rocm", "ROCm 7.2", "rocm7.2", "cuda", 5.5),
        "cpu": _CPU,
    },
    ("linux", "arm64"): {"cuda": TorchBuild("cuda", "CUDA 13.0", device="cuda"), "cpu": _CPU},
    ("windows", "x86_64"): {
        "cuda": _own("cuda", "CUDA 13.0", "cu130", "cuda", 1.9),
        "cuda12": _CUDA_12,
        "cpu": TorchBuild("cpu", "CPU"),
    },
    # x64 programs run there, the cards' drivers do not serve them
    ("windows", "arm64"): {"cpu": TorchBuild("cpu", "CPU")},
    ("macos", "arm64"): {
        "apple": TorchBuild("apple", "Metal", device="mps"),
        "cpu": TorchBuild("cpu", "CPU"),
    },
}

# What finishing alone needs: none of them.
NO_TORCH = TorchBuild("finishing", "without PyTorch")


def builds_for(machine: Machine) -> dict[str, TorchBuild]:
    """The builds that exist for a system, by key; empty where PyTorch serves it no longer."""
    return BUILDS.get((machine.system, machine.arch), {})


def choose_build(machine: Machine) -> TorchBuild:
    """The build that fits a machine, with a sentence why."""
    builds = builds_for(machine)
    if machine.is_translated:
        return _because(
            _CPU,
            message(
                "This Blender is the one for Intel Macs, and this Mac has Apple silicon: install that one, then again."
            ),
        )
    if not builds:
        return _because(_CPU, message("PyTorch has no build for this system; use the remote API or another machine."))
    by_kind = {kind: [card for card in machine.cards if card.kind == kind] for kind in ("nvidia", "amd", "apple")}
    if by_kind["nvidia"] and "cuda" in builds:
        return _for_nvidia(by_kind["nvidia"], machine.system, builds)
    if by_kind["amd"]:
        return _for_amd(by_kind["amd"], machine.system, builds)
    if by_kind["apple"] and "apple" in builds:
        return _because(builds["apple"], message("{card} computes with Metal.", card=by_kind["apple"][0].name))
    others = [card.name for card in machine.cards]
    if others:
        return _because(
            builds["cpu"],
            message("{card} cannot be used for this; the processor works instead, slowly.", card=others[0]),
        )
    return _because(builds["cpu"], message("No graphics card was found; the processor works instead, slowly."))


def _for_nvidia(cards: list[Card], system: str, builds: dict[str, TorchBuild]) -> TorchBuild:
    """The build for the newest of the cards: who has two wants the better one to work."""
    card = max(cards, key=lambda card: (_capability(card), card.total))
    if not card.is_asked:
        return _for_untold(card, builds)
    driver = _major(card.driver)
    said = message("{card} with driver {driver}", card=card.name, driver=card.driver) if card.driver else card.name
    if _capability(card) < _TURING and "cuda12" in builds:
        if driver and driver < _CUDA_12_DRIVER[system]:
            return _because(
                builds["cuda12"],
                message(
                    "{card} needs CUDA 12, and that driver {needed} or newer: update the driver; until then "
                    "the processor works instead.",
                    card=said,
                    needed=_CUDA_12_DRIVER[system],
                ),
            )
        return _because(builds["cuda12"], message("{card} is older than what CUDA 13 serves.", card=said))
    if not driver or driver >= _CUDA_13_DRIVER:
        return _because(builds["cuda"], message("{card} works with CUDA 13.", card=said))
    is_known_to_12 = _capability(card) <= (9, 0) and "cuda12" in builds
    if is_known_to_12 and driver >= _CUDA_12_DRIVER[system]:
        return _because(
            builds["cuda12"],
            message("{card} works with CUDA 12; CUDA 13 needs driver {driver}.", card=said, driver=_CUDA_13_DRIVER),
        )
    return _because(
        builds["cuda"],
        message(
            "{card} needs CUDA 13, and that driver {driver} or newer: update the driver; until then the "
            "processor works instead.",
            card=said,
            driver=_CUDA_13_DRIVER,
        ),
    )


def _for_untold(card: Card, builds: dict[str, TorchBuild]) -> TorchBuild:
    """One that only the system tells of: the common build, and what could not be asked."""
    driver = _major(card.driver)
    if card.driver and not driver:
        return _because(
            builds["cuda"],
            message(
                "{card} has no driver of NVIDIA's ({driver}): install it; until then the processor works instead.",
                card=card.name,
                driver=card.driver,
            ),
        )
    if driver and driver < _CUDA_13_DRIVER and "cuda12" in builds:
        return _because(
            builds["cuda12"],
            message(
                "{card} was found, and its driver {driver} serves CUDA 12; more is not known, as nvidia-smi does not "
                "answer.",
                card=card.name,
                driver=card.driver,
            ),
        )
    return _because(
        builds["cuda"],
        message(
            "{card} was found; whether it is new enough for CUDA 13 is not known, as nvidia-smi does not answer.",
            card=card.name,
        ),
    )


def _for_amd(cards: list[Card], system: str, builds: dict[str, TorchBuild]) -> TorchBuild:
    card = max(cards, key=lambda card: (card.capability in _ROCM_TARGETS, card.total))
    if "rocm" not in builds:
        return _because(
            builds["cpu"],
            message(
                "PyTorch has no build for {card} on Windows; the processor works instead, slowly."
                if system == "windows"
                else "PyTorch has no build for {card} on this system; the processor works instead, slowly.",
                card=card.name,
            ),
        )
    if card.capability in _ROCM_TARGETS:
        return _because(
            builds["rocm"],
            message("{card} ({capability}) works with ROCm 7.2.", card=card.name, capability=card.capability),
        )
    if card.capability:
        return _because(
            builds["cpu"],
            message(
                "PyTorch's ROCm build has no code for {card} ({capability}); the processor works instead.",
                card=card.name,
                capability=card.capability,
            ),
        )
    return _because(
        builds["cpu"],
        message(
            "{card} has no ROCm driver (amdgpu with KFD) loaded; with one, choose ROCm. The processor works instead.",
            card=card.name,
        ),
    )


def _because(build: TorchBuild, reason: str) -> TorchBuild:
    return replace(build, reason=reason)


def _capability(card: Card) -> tuple[int, int]:
    """8.9 -> (8, 9). A card that does not tell is taken for a common one: its driver is from before 2021."""
    major, _, minor = card.capability.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else _TURING


def _major(driver: str) -> int:
    head = driver.partition(".")[0]
    return int(head) if head.isdigit() else 0
