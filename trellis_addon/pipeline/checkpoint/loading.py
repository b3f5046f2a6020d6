"""Weights from safetensors files straight into networks: memory-mapped, each tensor to its device and dtype at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from ...core.errors import EngineError
from ...core.messages import message
from ..networks.network import Network
from .eight_bits import in_eight_bits
from .safetensors_file import DTYPES, SafetensorsFile

N = TypeVar("N", bound=Network)
Shapes = Mapping[str, tuple[int, ...]]
# From a file's shapes to where each weight comes from: (key in the file, part of it) by key of the network.
Renaming = Callable[[Shapes], dict[str, tuple[str, slice | None]]]

_JSON_LIMIT = 4 * 2**20  # bytes; the published ones have a few kilobytes


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `EngineError` naming the file."""
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError
        with path.open("rb") as file:
            text = file.read(_JSON_LIMIT + 1)
        if len(text) > _JSON_LIMIT:
            raise ValueError(f"it has more than {_JSON_LIMIT // 2**20} MB")
        value = json.loads(text)
    except FileNotFoundError:
        raise EngineError("The model's file {path} is missing; download the model again.", path=path) from None
    except RecursionError:
        raise EngineError("The model's file {path} is nested too deeply; download it again.", path=path) from None
    except (OSError, ValueError) as error:
        raise EngineError(
            "The model's file {path} cannot be read ({reason}); download it again.", path=path, reason=error
        ) from None
    if not isinstance(value, dict):
        raise EngineError("The model's file {path} is damaged: it holds no JSON object; download it again.", path=path)
    return value


def load_network(
    build: Callable[[], N],
    path: Path,
    device: torch.device,
    torso: torch.dtype | None = None,
    renaming: Renaming | None = None,
    is_packed: bool = False,
    eight_bits: str = "",
) -> N:
    """The network that `build` makes, with the weights of `path` on `device`.

    `torso` and `is_packed` are those of `Network.choose`; with a kind of `eight_bits` the weights of what can be are
    held so (`eight_bits.in_eight_bits`). Raises `EngineError`, naming the file, when it is missing,
    truncated, or does not hold exactly the network's weights in their shapes.
    """
    with torch.device("meta"):  # shapes only: nothing is allocated or initialised that the file then replaces
        network = build()
    network.choose(torso, is_packed)
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    with SafetensorsFile(path, device) as file:
        sources = _sources(file, path, wanted, renaming)
        if eight_bits and network.can_be_eight_bits:
            network.requires_grad_(False).hold_in_eight_bits(eight_bits)
            weights = in_eight_bits(path, network, eight_bits, lambda key: file.read(*sources[key]), device)
        else:
            weights = {key: file.read(*sources[key]).to(device, network.dtype_of(key)) for key in wanted}
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False).eval()


def _sources(
    file: SafetensorsFile, path: Path, wanted: Shapes, renaming: Renaming | None
) -> dict[str, tuple[str, slice | None]]:
    """Where each wanted weight lies in the file, after checking that it does."""
    shapes = file.shapes
    for key, dtype in file.dtypes.items():
        if dtype not in DTYPES:
            raise EngineError(
                "{path} stores {key} as {dtype}; only {allowed} can be used.",
                path=path,
                key=key,
                dtype=dtype,
                allowed=list(DTYPES),
            )
    sources: dict[str, tuple[str, slice | None]] = {key: (key, None) for key in shapes if key != "rope_phases"}
    if renaming is not None:
        sources = renaming(shapes)
    missing, extra = sorted(wanted.keys() - sources.keys()), sorted(sources.keys() - wanted.keys())
    if missing or extra:
        what = (
            message("the weight {weight} is missing", weight=missing[0])
            if missing
            else message("the weight {weight} does not belong to it", weight=extra[0])
        )
        raise EngineError("{path} is not the model that its configuration describes: {what}.", path=path, what=what)
    for key, (source, part) in sources.items():
        shape = shapes[source] if part is None else (len(range(*part.indices(shapes[source][0]))), *shapes[source][1:])
        if shape != wanted[key]:
            raise EngineError(
                "{path} is not the model that its configuration describes: the weight {key} has shape {shape} "
                "instead of {expected}.",
                path=path,
                key=key,
                shape=list(shape),
                expected=list(wanted[key]),
            )
    return sources
