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
from ..configs import DTYPE_NAMES

log = logging.getLogger(__name__)

C = TypeVar("C")

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}


class Network(nn.Module):
    """A network whose head and tail run in float32 and whose torso runs in `torso`.

    The torso's dtype is the activations' too. Subclasses say with `in_torso` which weights belong to it; all others
    stay in float32, as the published model was trained.
    """

    config: Any
    torso: torch.dtype = torch.float32

    def in_torso(self, key: str) -> bool:
        raise NotImplementedError

    def dtype_of(self, key: str) -> torch.dtype:
        """The dtype that the weight `key` has at run time."""
        return self.torso if self.in_torso(key) else torch.float32

    def cast(self, torso: torch.dtype) -> Network:
        """Set the torso's dtype and bring all weights that are there to theirs."""
        self.torso = torso
        for key, parameter in self.named_parameters():
            parameter.data = parameter.data.to(self.dtype_of(key))
        return self


def full_size(
    build: Callable[[Any], Network], config: Any, torso: torch.dtype | None = None
) -> tuple[int, torch.dtype]:
    """Bytes that a network's weights take at run time, and its torso's dtype, which `torso` overrides."""
    with torch.device("meta"):
        network = build(config)
    network.torso = torso or network.torso
    sizes = (tensor.numel() * network.dtype_of(key).itemsize for key, tensor in network.named_parameters())
    return sum(sizes), network.torso


def layer_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6) -> Tensor:
    """Layer norm over the last axis, computed in float32, in x's dtype."""
    if weight is None:  # torch's own kernel computes in float32 whatever the dtype
        return F.layer_norm(x, x.shape[-1:], eps=eps)
    return F.layer_norm(x.float(), x.shape[-1:], weight, bias, eps).to(x.dtype)


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
