"""Reading golden fixtures and comparing with them: NAME.json beside NAME.safetensors.

The JSON holds a configuration and the list of tensors with shapes and dtypes. Whatever is wrong with a file or differs
from what was computed becomes a `Mismatch` with a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

MODEL = 5e-5  # float32 models, absolute
SAMPLER = 1e-5
TORSO = 3e-2  # a 16-bit torso against another one
# A 16-bit torso against float32, relative to the largest value: some dozens of roundings of 2^-9 and of 2^-12 each.
BFLOAT = 1e-1
HALF = 2e-2
GRID = 1e-15  # float64 times
EXACT = 0.0


class Mismatch(Exception):
    """What is wrong with a fixture, as a sentence."""


class Fixture:
    """One fixture: hands out its tensors, takes what was computed, and knows in the end what nobody looked at."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self.name = name
        self.device = device
        self.folder = folder
        self.config = _read_json(folder / f"{name}.json")
        self.tensors = _read_tensors(folder / f"{name}.safetensors")
        self.differences: dict[str, float] = {}
        self.torso_differences: dict[str, float] = {}
        self.remarks: list[str] = []
        self._seen: set[str] = set()
        self._check_listing(self.config.get("tensors"))

    def setting(self, name: str, kind: type) -> Any:
        """A value of the JSON."""
        value = self.config.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Mismatch(f'{self.name}.json has no usable "{name}"')
        return value

    def take(self, name: str, dtype: torch.dtype | None = torch.float32) -> Tensor:
        """An input tensor, on the device."""
        tensor = self._tensor(name, dtype)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise Mismatch(f"{name} is not finite")
        return tensor.to(self.device)

    def weights(self, prefix: str) -> dict[str, Tensor]:
        """The tensors below `prefix`, named without it."""
        found = {key[len(prefix) :]: self.take(key) for key in self.tensors if key.startswith(prefix)}
        if not found:
            raise Mismatch(f"there are no tensors {prefix}*")
        return found

    def load(self, module: nn.Module, weights: Mapping[str, Tensor]) -> Any:
        """The module with these weights, all of them and no others, on the device."""
        wanted = {key: tuple(parameter.shape) for key, parameter in module.state_dict().items()}
        for key in sorted(wanted.keys() | weights.keys()):
            if key not in weights:
                raise Mismatch(f"the weight {key} is missing")
            if key not in wanted:
                raise Mismatch(f"the weight {key} does not belong there")
            if tuple(weights[key].shape) != wanted[key]:
                raise Mismatch(f"the weight {key} has shape {list(weights[key].shape)}, not {list(wanted[key])}")
        module.load_state_dict(dict(weights))
        return module.to(self.device).eval()

    def names(self, prefix: str = "", suffix: str = "") -> list[str]:
        """What stands between `prefix` and `suffix` in tensor names, in order."""
        matches = [key for key in self.tensors if key.startswith(prefix) and key.endswith(suffix)]
        return [key[len(prefix) : len(key) - len(suffix)] for key in matches]

    def compare(self, name: str, actual: Tensor, tolerance: float) -> None:
        """Demand the tensor `name` to be `actual` up to an absolute `tolerance`, in shape and dtype too."""
        expected = self._tensor(name, actual.dtype)
        actual = actual.detach().cpu()
        if expected.shape != actual.shape:
            raise Mismatch(f"{name} has shape {list(expected.shape)}, computed was {list(actual.shape)}")
        self.note(name, difference(expected, actual, name), tolerance)

    def note(self, name: str, value: float, tolerance: float) -> None:
        """Book a difference; more than the tolerance is a mismatch."""
        book = self.torso_differences if name.endswith("torso") else self.differences
        book[name] = value
        if not value <= tolerance:
            raise Mismatch(f"{name} differs by {value:.3g}, allowed is {tolerance:g}")

    def compare_torso(self, name: str, actual: Tensor, tolerance: float, torso: str) -> None:
        """As `compare`, with what was computed in another type than the float32 of the fixture."""
        expected, actual = self._tensor(name, actual.dtype), actual.detach().cpu()
        if expected.shape != actual.shape:
            raise Mismatch(f"{name} has shape {list(expected.shape)}, in {torso} it was {list(actual.shape)}")
        size = max(1.0, float(expected.abs().max())) if expected.numel() else 1.0
        self.note(f"{name} of a {torso} torso", difference(expected, actual, name) / size, tolerance)

    def compare_optional(self, name: str, actual: Tensor, tolerance: float) -> None:
        if name in self.tensors:
            self.compare(name, actual, tolerance)

    def compare_activations(self, activations: Mapping[str, Tensor]) -> None:
        """All of the act.* or, in a file that leaves them out, none."""
        if self.names("act."):
            for name, actual in activations.items():
                self.compare(f"act.{name}", actual, MODEL)

    def skip(self, name: str, why: str) -> None:
        """Leave a tensor uncompared, which the line says; it must be there all the same."""
        self.take(name)
        self.remarks.append(f"{name} not compared: {why}")

    def finish(self) -> None:
        """Every tensor must have been used or compared."""
        left = sorted(set(self.tensors) - self._seen)
        if left:
            raise Mismatch(f"{left[0]} is not part of such a fixture")
        if not self.differences:
            raise Mismatch("there is nothing in it to compare with")

    def _tensor(self, name: str, dtype: torch.dtype | None) -> Tensor:
        if name not in self.tensors:
            raise Mismatch(f"{name} is missing")
        tensor = self.tensors[name]
        if dtype is not None and tensor.dtype != dtype:
            raise Mismatch(f"{name} is {_dtype_name(tensor)}, not {str(dtype).removeprefix('torch.')}")
        self._seen.add(name)
        return tensor

    def _check_listing(self, listing: Any) -> None:
        """The JSON's list of tensors against the file's."""
        if not isinstance(listing, dict):
            raise Mismatch(f"{self.name}.json has no list of tensors")
        for name in sorted(listing.keys() | self.tensors.keys()):
            if name not in self.tensors:
                raise Mismatch(f"{name} is missing")
            if name not in listing:
                raise Mismatch(f"{name} is not in the JSON's list of tensors")
            found = [list(self.tensors[name].shape), str(self.tensors[name].dtype)]
            if listing[name] != found:
                raise Mismatch(f"{name} is {found[1]} {found[0]}, its JSON says {listing[name]}")


def difference(expected: Tensor, actual: Tensor, name: str = "") -> float:
    """The largest absolute difference; raises `Mismatch` where a value is not finite."""
    a, b = expected.double(), actual.double()
    for tensor, whose in ((a, "the fixture"), (b, "what was computed")):
        if not bool(tensor.isfinite().all()):
            raise Mismatch(f"{name} is not finite in {whose}")
    return float((a - b).abs().max()) if a.numel() else 0.0


def fixture_names(folder: Path) -> list[str]:
    """The names of all fixtures of a folder, whole or half there."""
    return sorted({path.stem for path in folder.iterdir() if path.suffix in (".json", ".safetensors")})


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mismatch(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise Mismatch(f"{path.name} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise Mismatch(f"{path.name} is not a JSON object")
    return value


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise Mismatch(f"{path.name} is missing") from None
    except (OSError, ValueError, SafetensorError) as error:
        raise Mismatch(f"{path.name} cannot be read: {error}") from None


def _dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
