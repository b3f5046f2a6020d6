"""One sampling on its way: its noise, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..core.errors import TrellisError
from ..core.progress import Progress
from .checkpoint.repository import IMAGE_MODEL
from .request import Request
from .result import Rough
from .sampling.views import Condition


class Noise:
    """Standard normal numbers, always drawn on the CPU, so that a seed means the same on every device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._device = device

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator).to(self._device)


@dataclass
class Sample:
    """What one seed has come to: what it was asked for, whom to tell of each stage, and, stage by stage, its state.

    `latent` is the structure's latent, then the shape's on `coords`; `side` that of the models that made it, 512 or
    1024; `structure` (R^3, C) the structure's latent to be kept. `features` are the picture's (`pipeline.Features`).
    With an `error` it has come to nothing. With `rough` it begins where that ended.
    """

    request: Request
    features: Mapping[int, Condition]
    noise: Noise
    parts: Mapping[str, Progress]
    latent: Tensor = field(default_factory=lambda: torch.empty(0))
    coords: Tensor = field(default_factory=lambda: torch.empty(0))
    side: int = 512
    resolution: int = 512
    notes: tuple[str, ...] = ()
    error: TrellisError | None = None
    structure: Tensor | None = None
    rough: Rough | None = None


ROUGH_NETWORKS = ("sparse_structure_flow_model", "sparse_structure_decoder")


def course(request: Request, results: int = 1, *, has_rough: bool = False) -> tuple[str, ...]:
    """The networks in the order in which so many results of one picture use them, up to where the next begin.

    `has_rough`: their rough shapes are there.
    """
    side = 512 if request.pipeline_type == "512" else 1024
    cascade = ("shape_slat_flow_model_512", "shape_slat_decoder", "shape_slat_flow_model_1024")
    shaping = (
        *(() if has_rough else ROUGH_NETWORKS),
        *(cascade if request.is_cascade else (f"shape_slat_flow_model_{side}",)),
    )
    painting = (f"tex_slat_flow_model_{side}", "shape_slat_decoder", "tex_slat_decoder")
    return (IMAGE_MODEL, *(name for name in shaping for _ in range(results)), *painting * results)
