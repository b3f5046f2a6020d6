"""Weights from safetensors files straight into networks: memory-mapped, each tensor to its device and dtype at once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import EngineError
from .network import Network

N = TypeVar("N", bound=Network)
Shapes = Mapping[str, tuple[int, ...]]
# From a file's shapes to where each weight comes from: (key in the file, part of it) by key of the network.
Renaming = Callable[[Shapes], dict[str, tuple[str, slice | None]]]

STORED = ("F16", "BF16", "F32")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises `EngineError` naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EngineError(f"The model's file {path} is missing; download the model again.") from None
    except (OSError, ValueError) as error:
        raise EngineError(f"The model's file {path} cannot be read ({error}); download it again.") from None
    if not isinstance(value, dict):
        raise EngineError(f"The model's file {path} is damaged: it holds no JSON object; download it again.")
    return value


def load_network(
    build: Callable[[], N],
    path: Path,
    device: torch.device,
    torso: torch.dtype | None = None,
    renaming: Renaming | None = None,
) -> N:
    """The network that `build` makes, with the weights of `path` on `device`.

    `torso` overrides the dtype of the network's torso. Raises `EngineError`, naming the file, when it is missing,
    truncated, or does not hold exactly the network's weights in their shapes.
    """
    with torch.device("meta"):  # shapes only: nothing is allocated or initialised that the file then replaces
        network = build()
    if torso is not None:
        network.torso = torso
    wanted = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    try:
        with safe_open(path, framework="pt", device=_safetensors_device(device)) as file:
            sources = _sources(file, path, wanted, renaming)
            weights = {key: _read(file, *sources[key]).to(device, network.dtype_of(key)) for key in wanted}
    except FileNotFoundError:
        raise EngineError(f"The model's file {path} is missing; download the model again.") from None
    except (SafetensorError, OSError) as error:
        raise EngineError(f"The model's file {path} is damaged or incomplete ({error}); download it again.") from None
    network.load_state_dict(weights, assign=True)
    return network.requires_grad_(False).eval()


def _sources(file: Any, path: Path, wanted: Shapes, renaming: Renaming | None) -> dict[str, tuple[str, slice | None]]:
    """Where each wanted weight lies in the file, after checking that it does."""
    slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    shapes = {key: tuple(part.get_shape()) for key, part in slices.items()}
    for key, part in slices.items():
        if part.get_dtype() not in STORED:
            raise EngineError(f"{path} stores {key} as {part.get_dtype()}; only {', '.join(STORED)} can be used.")
    sources: dict[str, tuple[str, slice | None]] = {key: (key, None) for key in shapes if key != "rope_phases"}
    if renaming is not None:
        sources = renaming(shapes)
    missing, extra = sorted(wanted.keys() - sources.keys()), sorted(sources.keys() - wanted.keys())
    if missing or extra:
        what = f"the weight {missing[0]} is missing" if missing else f"the weight {extra[0]} does not belong to it"
        raise EngineError(f"{path} is not the model that its configuration describes: {what}.")
    for key, (source, part) in sources.items():
        shape = shapes[source] if part is None else (len(range(*part.indices(shapes[source][0]))), *shapes[source][1:])
        if shape != wanted[key]:
            raise EngineError(
                f"{path} is not the model that its configuration describes: the weight {key} has shape"
                f" {list(shape)} instead of {list(wanted[key])}."
            )
    return sources


def _read(file: Any, key: str, part: slice | None) -> Tensor:
    return file.get_tensor(key) if part is None else file.get_slice(key)[part]


def _safetensors_device(device: torch.device) -> str:
    """The device as safetensors names it; what it does not know is read to the CPU first."""
    return str(device) if device.type in ("cpu", "cuda", "mps") else "cpu"
