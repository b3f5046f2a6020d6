"""What all networks share: a configuration read from JSON, and which weights are held in 16 bits."""

from __future__ import annotations

import logging
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import EngineError
from ...core.messages import message
from ...weights.eight_bits import FP8, INT8
from ..configs import DTYPE_NAMES
from . import fp8

log = logging.getLogger(__name__)

C = TypeVar("C")

EIGHT: Mapping[str, torch.dtype] = {INT8: torch.int8, FP8: fp8.FP8}
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}


class Network(nn.Module):
    """A network whose head and tail run in float32 and whose torso runs in `torso`.

    The torso's dtype is the activations' too. Subclasses say with `in_torso` which weights belong to it; all others
    stay in float32, as the published model was trained. `packed`, where it is set, is the dtype that the torso's
    weights are held in: a layer unpacks its own while it computes. What `can_be_eight_bits` can hold those of its
    torso's linear layers in 8 bits of some kind (`EIGHT`), with a scale for each output channel (`eight_bits`).
    """

    config: Any
    torso: torch.dtype = torch.float32
    packed: torch.dtype | None = None
    can_be_eight_bits = False
    _scaled: frozenset[str] = frozenset()  # the keys of weights in 8 bits
    _eight: torch.dtype = torch.int8  # what those are

    def in_torso(self, key: str) -> bool:
        raise NotImplementedError

    def dtype_of(self, key: str) -> torch.dtype:
        """The dtype that the weight `key` has at run time."""
        if key in self._scaled:
            return self._eight
        if key.endswith(".scale") or not self.in_torso(key):
            return torch.float32
        return self.packed or self.torso

    def hold_in_eight_bits(self, kind: str) -> None:
        """Have room for numbers of a kind of `EIGHT` and their scales in the torso's linear layers; for weights that
        are to come."""
        self._eight = EIGHT[kind]
        layers = {name: layer for name, layer in self.named_modules() if isinstance(layer, Linear)}
        self._scaled = frozenset(f"{name}.weight" for name in layers if self.in_torso(f"{name}.weight"))
        for key in self._scaled:
            layer = layers[key.removesuffix(".weight")]
            layer.scale = torch.empty(layer.out_features, device=layer.weight.device)

    def scale_of(self, key: str) -> str:
        """The key of the scales that the whole numbers of `key` have."""
        return key.removesuffix("weight") + "scale"

    def choose(self, torso: torch.dtype | None, is_packed: bool = False) -> None:
        """Compute in `torso`, where one is given; `is_packed` leaves the weights in what they are published in."""
        if torso is not None:
            self.packed = self.torso if is_packed and torso != self.torso else None
            self.torso = torso

    def cast(self, torso: torch.dtype) -> Network:
        """Set the torso's dtype and bring all weights that are there to theirs."""
        self.torso, self.packed = torso, None
        for key, parameter in self.named_parameters():
            parameter.data = parameter.data.to(self.dtype_of(key))
        return self


class Linear(nn.Linear):
    """A linear layer whose weights may be held in another type than it computes in.

    `scale` (O,), where there is one, is what the 8-bit numbers of each output channel count in.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.scale: Tensor | None
        self.register_buffer("scale", None)

    def unpacked(self, dtype: torch.dtype) -> Tensor:
        """The weights (O, I) in `dtype`."""
        weight = self.weight.to(dtype)
        return weight if self.scale is None else weight.mul_(self.scale.to(dtype)[:, None])

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dtype == fp8.FP8:
            assert self.scale is not None
            return fp8.product(x, self.weight, self.scale, self.bias)
        return F.linear(x, self.unpacked(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Conv3d(nn.Conv3d):
    """The same of a dense convolution."""

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        return self._conv_forward(x, self.weight.to(x.dtype), self.bias.to(x.dtype))


def full_size(
    build: Callable[[Any], Network],
    config: Any,
    torso: torch.dtype | None = None,
    is_packed: bool = False,
    eight_bits: str = "",
) -> tuple[int, torch.dtype]:
    """Bytes that a network's weights take at run time, and its torso's dtype; see `Network.choose`."""
    with torch.device("meta"):
        network = build(config)
    network.choose(torso, is_packed)
    if eight_bits and network.can_be_eight_bits:
        network.hold_in_eight_bits(eight_bits)
    sizes = (tensor.numel() * network.dtype_of(key).itemsize for key, tensor in network.state_dict().items())
    return sum(sizes), network.torso


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Layer norm over the last axis, computed in float32, in x's dtype."""
    if weight is None:  # torch's own kernel computes in float32 whatever the dtype
        return F.layer_norm(x, x.shape[-1:], eps=eps)
    return F.layer_norm(x.float(), x.shape[-1:], weight, bias, eps).to(x.dtype)


SMALLER = 2.0**-5  # exact, and 32 times the range; what it takes off the smallest numbers is 2^-20 of one


def to_stream(layer: Linear, x: Tensor) -> Tensor:
    """layer(x), to be added to a residual stream: in float16, which ends at 65,504, returned in float32.

    There the product is computed a 32nd as large, summed in float32 as all products are, and brought to size after it.
    """
    if x.dtype != torch.float16:
        return layer(x)
    out = F.linear(x * SMALLER, layer.unpacked(x.dtype)).float() / SMALLER
    return out if layer.bias is None else out + layer.bias


def within_range(x: Tensor) -> Tensor:
    """x, with what float16 could not hold at its largest number: a norm or a softmax of infinity would be no number."""
    return x.clamp_(-_LARGEST, _LARGEST) if x.dtype == torch.float16 else x


_LARGEST = torch.finfo(torch.float16).max


def parse(config: type[C], args: Any, where: str, *, may_have_more: bool = False) -> C:
    """A configuration of JSON's `args`: every key known, every type right, none missing.

    `where` names the file for the sentence of the `EngineError` that is raised otherwise. Where `may_have_more`, a key
    that is not known is a warning in the log: right for what describes no network, whose weights would tell.
    """
    if not isinstance(args, Mapping):
        raise EngineError("{where} is not the configuration of a model: expected an object of settings.", where=where)
    hints = typing.get_type_hints(config)
    known = {field.name: field for field in fields(config)}  # type: ignore[arg-type]
    unknown = sorted(set(args) - set(known))
    if unknown and may_have_more:
        tell_unknown(where, unknown)
    elif unknown:
        raise EngineError(
            '{where} has the setting "{setting}", which this version does not know; update the add-on.',
            where=where,
            setting=unknown[0],
        )
    values = {}
    for name, field in known.items():
        if name in args:
            values[name] = _checked(
                args[name], hints[name], message('{where}: the setting "{name}"', where=where, name=name)
            )
        elif field.default is MISSING and field.default_factory is MISSING:
            raise EngineError(
                '{where} lacks the setting "{name}"; the file is incomplete, download it again.', where=where, name=name
            )
    try:
        return config(**values)
    except ValueError as error:
        raise EngineError("{where}: {reason}.", where=where, reason=error) from None


def tell_unknown(where: str, keys: Sequence[str]) -> None:
    """A warning in the log that a file has settings which this version does not know, and goes without."""
    if keys:
        log.warning("%s has settings that this version does not know and ignores: %s", where, ", ".join(keys))


def _checked(value: Any, kind: Any, what: str) -> Any:
    """JSON's value as the type that the dataclass wants: lists become tuples, whole numbers do as floats."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise EngineError("{what} must be a list.", what=what)
        item, *rest = typing.get_args(kind)
        if rest != [...] and len(value) != 1 + len(rest):
            raise EngineError("{what} must have {count} values.", what=what, count=1 + len(rest))
        return tuple(_checked(v, item, what) for v in value)
    if origin is types.UnionType:
        if value is None:
            return None
        return _checked(value, typing.get_args(kind)[0], what)
    if origin is dict or kind is dict:
        if not isinstance(value, dict):
            raise EngineError("{what} must be an object.", what=what)
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise EngineError(
            "{what} must be {kind}, not {value}.", what=what, kind=_NAMES.get(kind, kind), value=repr(value)
        )
    return value


_NAMES = {
    int: message("a whole number"),
    float: message("a number"),
    str: message("a text"),
    bool: message("true or false"),
}
