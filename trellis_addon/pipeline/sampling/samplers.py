"""Euler samplers of rectified flow, with classifier-free guidance in an interval of time and rescaling.

The path is x_t = (1 - t) x_0 + (s + (1 - s) t) noise with s = sigma_min; the model predicts its velocity. Flow: Lipman
et al., arXiv 2210.02747. Guidance: Ho and Salimans, arXiv 2207.12598; in an interval: Kynkaanniemi et al., arXiv
2404.07724; rescaled: Lin et al., arXiv 2305.08891.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import EngineError
from ...core.progress import Progress
from ..configs import SamplerSettings, time_grid
from ..networks.attention import Layout
from ..networks.network import parse
from .hold import Hold


class Velocity(Protocol):
    """The model: x and the time t (B,) in 0..1000 -> one velocity like x for each of `conditional`."""

    def __call__(self, x: Tensor, t: Tensor, conditional: Sequence[bool]) -> Sequence[Tensor]: ...


def sampler_settings(kind: str, params: Mapping[str, Any], where: str) -> SamplerSettings:
    """The settings of a sampler class by its published name; raises `EngineError` for another."""
    settings = parse(SamplerSettings, params, where, may_have_more=True)
    if kind == "FlowEulerSampler":
        return replace(settings, guidance_strength=1.0, guidance_rescale=0.0)
    if kind == "FlowEulerCfgSampler":
        return replace(settings, guidance_interval=(float("-inf"), float("inf")))
    if kind == "FlowEulerGuidanceIntervalSampler":
        return settings
    raise EngineError('{where} names the sampler "{kind}", which this version does not know.', where=where, kind=kind)


@dataclass(frozen=True)
class Path:
    """The straight path between data and noise at one time."""

    t: float
    sigma_min: float

    @property
    def noise_share(self) -> float:
        return self.sigma_min + (1 - self.sigma_min) * self.t

    def data(self, x: Tensor, v: Tensor) -> Tensor:
        """x_0 that x at this time and the velocity v point to."""
        return (1 - self.sigma_min) * x - self.noise_share * v

    def velocity(self, x: Tensor, x_0: Tensor) -> Tensor:
        """The velocity that points from x at this time to x_0."""
        return ((1 - self.sigma_min) * x - x_0) / self.noise_share


Spread = Callable[[Tensor], Tensor]
Record = Callable[[Tensor, Tensor], None]


def dense_spread(x: Tensor) -> Tensor:
    """Standard deviation of every sample of (B, C, X, Y, Z), unbiased, kept broadcastable."""
    return x.std(dim=tuple(range(1, x.dim())), keepdim=True)


def sparse_spread(layout: Layout) -> Spread:
    """Standard deviation of every sample of (T, C), as population, for each of its rows."""

    def spread(x: Tensor) -> Tensor:
        mean, square = x.mean(dim=1), x.square().mean(dim=1)
        rows = [
            (square[s].mean() - mean[s].mean().square()).sqrt().expand(length)
            for s, length in zip(layout.slices, layout.lengths, strict=True)
        ]
        return torch.cat(rows)[:, None]

    return spread


def sample(
    velocity: Velocity,
    noise: Tensor,
    settings: SamplerSettings,
    spread: Spread,
    *,
    batch: int = 1,
    sigma_min: float = 1e-5,
    progress: Progress | None = None,
    stage: str = "",
    record: Record | None = None,
    hold: Hold | None = None,
) -> Tensor:
    """From noise to a sample: the last x.

    `spread` is `dense_spread` or `sparse_spread(layout)`. `record(x_t, x_0)` sees every step's result and the data that
    its velocity points to. `hold` has what is known stay. `progress` is asked at every step; nothing in the loop waits
    for the device.
    """
    times, is_computed = time_grid(settings.steps, settings.rescale_t), settings.computed()
    x, v = noise, noise
    if hold is not None and 0 < hold.until < 1:
        times = _with_time(times, hold.until)
        if hold.is_known:
            times, x = times[times <= hold.until], hold(noise, noise, hold.until, sigma_min)
        is_computed = [True] * len(times)  # between steps of so many lengths no velocity stands for another
    model_times = torch.from_numpy((1000 * times).astype(np.float32)).to(noise.device)
    for i, (t, t_next) in enumerate(zip(times[:-1].tolist(), times[1:].tolist(), strict=True)):
        if progress is not None:
            progress.update(stage, i / (len(times) - 1))
        path = Path(t, sigma_min)
        if is_computed[i]:
            v = guided(velocity, x, model_times[i].expand(batch), path, settings, spread)
        x_next = x - (t - t_next) * v
        if hold is not None and hold.holds(t_next):
            x_next = hold(x_next, noise, t_next, sigma_min)
        if record is not None:
            record(x_next, path.data(x, v))
        x = x_next
    return x


def _with_time(times: NDArray[np.float64], t: float) -> NDArray[np.float64]:
    """Falling times with this one among them, which takes the place of one that is the same but for rounding."""
    return -np.sort(-np.append(times[np.abs(times - t) > 1e-9], t))


def guided(velocity: Velocity, x: Tensor, t: Tensor, path: Path, settings: SamplerSettings, spread: Spread) -> Tensor:
    """The velocity at one time under classifier-free guidance."""
    strength = settings.strength_at(path.t)
    if strength == 1:
        return velocity(x, t, (True,))[0]
    if strength == 0:
        return velocity(x, t, (False,))[0]
    positive, negative = velocity(x, t, (True, False))
    v = strength * positive + (1 - strength) * negative
    if settings.guidance_rescale > 0:
        x_0_positive, x_0 = path.data(x, positive), path.data(x, v)
        rescaled = x_0 * (spread(x_0_positive) / spread(x_0))
        x_0 = settings.guidance_rescale * rescaled + (1 - settings.guidance_rescale) * x_0
        v = path.velocity(x, x_0)
    return v
