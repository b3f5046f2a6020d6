"""Weights in 8 bits: half the memory and half the reading of a flow model, for a result that is a little off.

Each output channel of a linear layer has a scale of its own. As int8 its weights are whole numbers of its largest one's
127th; they are unpacked where a layer computes, so arithmetic stays that of `precision`. As fp8 (e4m3) they are numbers
of 3 bits after the point, up to 448, and multiplied as such by cards that can (`networks.fp8`): twice as fast, and
further off. Converted once, into a file of our own beside the published one. Off unless asked for: nobody has seen what
it does to the published weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ...core.errors import EngineError
from ...core.files import discard, move
from ...weights.eight_bits import converted_path
from ..networks.fp8 import FP8, TINY, scaled
from ..networks.network import EIGHT, Network
from .safetensors_file import SafetensorsFile

log = logging.getLogger(__name__)

_FORMAT = "1"  # of the file: grows when it comes to hold something else
_MOST = 127.0

Read = Callable[[str], Tensor]  # a tensor of the published file, by the network's key


def quantised(weight: Tensor, kind: torch.dtype = torch.int8) -> tuple[Tensor, Tensor]:
    """Numbers (O, I), int8 in -127..127 or e4m3, and scales (O,) float32 with which they are nearest to a weight."""
    if kind == FP8:
        return scaled(weight)
    exact = weight.float()
    scale = exact.abs().amax(1).clamp_min(TINY) / _MOST
    return (exact / scale[:, None]).round_().to(torch.int8), scale


def in_eight_bits(path: Path, network: Network, kind: str, read: Read, device: torch.device) -> dict[str, Tensor]:
    """The network's weights, which it holds in that kind, on `device`, of the published file `path`, whose tensors
    `read` gives.

    They are taken from the file beside it, which is made where it is not there, or of another file; where it cannot be
    written, they are converted each time.
    """
    kept = converted_path(path, kind)
    source = _mark(path)
    try:
        return _from_kept(kept, source, network, device)
    except (EngineError, KeyError) as error:
        log.info("%s is converted into 8 bits: %s", path.name, error)
    weights = _converted(network, read)
    part = kept.with_suffix(".part")
    try:
        save_file(weights, part, metadata={"format": _FORMAT, "source": source})
        move(part, kept)
    except Exception as error:  # a folder that is only read, a full disk, in whatever words safetensors has for it
        discard(part)
        log.warning("%s is not kept, and converted each time: %s", kept.name, error)
    return {key: weight.to(device) for key, weight in weights.items()}


def _converted(network: Network, read: Read) -> dict[str, Tensor]:
    """On the CPU, each as the network holds it."""
    weights: dict[str, Tensor] = {}
    for key in network.state_dict():
        kind = network.dtype_of(key)
        if kind in EIGHT.values():
            weights[key], weights[network.scale_of(key)] = quantised(read(key), kind)
        elif not key.endswith(".scale"):  # that of the weight before it
            weights[key] = read(key).to(kind)
    return {key: weight.cpu().contiguous() for key, weight in weights.items()}


def _from_kept(kept: Path, source: str, network: Network, device: torch.device) -> dict[str, Tensor]:
    """Raises `EngineError` for a file that is not there, or damaged, and `KeyError` for one of something else."""
    wanted: Mapping[str, Tensor] = network.state_dict()
    with SafetensorsFile(kept, device) as file:
        if file.metadata.get("format") != _FORMAT or file.metadata.get("source") != source:
            raise KeyError("it is of another file, or version")
        shapes = file.shapes
        if {key: tuple(tensor.shape) for key, tensor in wanted.items()} != shapes:
            raise KeyError("it holds other weights")
        return {key: file.read(key).to(device, network.dtype_of(key)) for key in wanted}


def _mark(path: Path) -> str:
    """What tells one published file from another of the same name."""
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"
