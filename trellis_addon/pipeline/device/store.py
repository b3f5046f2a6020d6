"""The networks of one pipeline on one device: loaded when used, dropped when the memory is needed for others.

A run uses them in an order that is known, and the next run in the same one: dropped is the one that will be needed last
(Belady, A study of replacement algorithms, 1966). The one that was used last longest ago would be the worst choice: in
a cycle that is the next one.

A dropped network is read again from its file, which the system keeps in main memory as long as there is room: that is
the copy beside the device, and there is no other.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from ...core.errors import EngineError
from ...weights.eight_bits import suits
from ..checkpoint.repository import IMAGE_MODEL, Repository
from ..networks.network import Network, full_size
from ..precision import Precision, precision_of
from .memory import Budget


@dataclass(frozen=True)
class Outline:
    """What is known of a network before it is loaded: bytes of its weights, and of one value of its torso."""

    config: Any
    weights: int
    itemsize: int


class AnySource(Protocol):
    """Where networks come from, by the names of pipeline.json."""

    def load(self, name: str) -> Network: ...

    def outline(self, name: str) -> Outline: ...


class CheckpointSource:
    """Networks of a repository's files, for one device.

    `torso` overrides the 16-bit dtype that the files ask for, which the weights keep where `is_packed`; with
    a kind of `eight_bits` the flow models' are held in 8.
    """

    def __init__(
        self,
        repository: Repository,
        device: torch.device,
        torso: torch.dtype | None,
        is_packed: bool = False,
        eight_bits: str = "",
    ) -> None:
        self.repository = repository
        self.device = device
        self.torso = torso
        self.is_packed = is_packed
        self.eight_bits = eight_bits
        self._outlines: dict[str, Outline] = {}

    def load(self, name: str) -> Network:
        return self.repository.load(name, self.device, self.torso, self.is_packed, self.eight_bits)

    def outline(self, name: str) -> Outline:
        if name not in self._outlines:
            network, config = self.repository.description(name)
            chosen = None if name == IMAGE_MODEL else self.torso
            weights, torso = full_size(network, config, chosen, self.is_packed, self.eight_bits)
            self._outlines[name] = Outline(config, weights, torso.itemsize)
        return self._outlines[name]


class NetworkSource:
    """Networks that exist already."""

    def __init__(self, networks: Mapping[str, Network]) -> None:
        self.networks = networks

    def load(self, name: str) -> Network:
        return self.networks[name]

    def outline(self, name: str) -> Outline:
        network = self.networks[name]
        weights = sum(tensor.numel() * tensor.element_size() for tensor in network.parameters())
        return Outline(network.config, weights, network.torso.itemsize)


class ModelStore:
    """Networks by name, as many at once as the budget allows."""

    def __init__(self, source: AnySource, device: torch.device, budget: Budget) -> None:
        self.outline = source.outline
        self.device = device
        self.budget = budget
        self._load = source.load
        self._resident: dict[str, Network] = {}  # least recently used first
        self._course: tuple[str, ...] = ()
        self._place = 0  # in the course, of the next use

    def expect(self, course: Sequence[str]) -> None:
        """The names of the networks in the order in which they will be used, over and over."""
        self._course, self._place = tuple(course), 0

    def use(self, name: str, activations: int = 0) -> Network:
        """The network, with room for `activations` bytes beside it as far as dropping others makes room."""
        network = self._resident.pop(name, None)
        self._place += self._distance(name) + 1 if name in self._course else 0
        self._make_room(self.outline(name).weights + activations)
        if network is None:
            network = self._load(name)
        self._resident[name] = network
        return network

    @property
    def resident(self) -> tuple[str, ...]:
        """The names of the networks that are there, the least recently used first."""
        return tuple(self._resident)

    def clear(self) -> None:
        """Drop all networks."""
        self._resident.clear()
        _release(self.device)

    def _make_room(self, needed: int) -> None:
        dropped = False
        while self._resident and needed + sum(self.outline(n).weights for n in self._resident) > self.budget.total:
            del self._resident[max(self._resident, key=self._distance)]  # of several, the least recently used
            dropped = True
        if dropped:
            _release(self.device)

    def _distance(self, name: str) -> int:
        """How many uses of others are expected before the next one of this network."""
        length = len(self._course)
        steps = (i for i in range(length) if self._course[(self._place + i) % length] == name)
        return next(steps, length)


def choose_device(name: str = "auto") -> torch.device:
    """The device by name, or the best there is; raises `EngineError` for one that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, yes in there.items() if yes))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError('There is no device "{name}"; use auto, cuda, mps or cpu.', name=name) from None
    if not there.get(device.type, False):
        raise EngineError('This machine\'s PyTorch has no "{type}" device; use auto or cpu.', type=device.type)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            'There is no device "{name}": PyTorch sees {count}, counted from cuda:0.',
            name=name,
            count=torch.cuda.device_count(),
        )
    return device


def device_precision(device: torch.device) -> Precision:
    """Which numbers a device computes in, by what it says of itself."""
    if device.type != "cuda":
        return precision_of({"mps": "apple"}.get(device.type, "cpu"))
    name = torch.cuda.get_device_name(device)
    if torch.version.hip is not None:
        target = getattr(torch.cuda.get_device_properties(device), "gcnArchName", "")
        return precision_of("amd", str(target).partition(":")[0], name)
    major, minor = torch.cuda.get_device_capability(device)
    return precision_of("nvidia", f"{major}.{minor}", name)


def eight_bits_of(device: torch.device, asked: str) -> str:
    """What a device holds weights in 8 bits as; see `weights.eight_bits.suits`."""
    if device.type != "cuda" or torch.version.hip is not None:
        return suits(asked, "cpu")
    major, minor = torch.cuda.get_device_capability(device)
    return suits(asked, "nvidia", f"{major}.{minor}")


def _release(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
