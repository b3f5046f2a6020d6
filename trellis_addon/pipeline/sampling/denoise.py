"""Sampling with a flow model: everything that stays the same over the steps is prepared once, then the sampler runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...core.progress import Progress
from ..networks.attention import Layout, rope_phases
from ..networks.latent_flow import SLatFlowModel
from ..networks.structure_flow import SparseStructureFlowModel, from_tokens, to_tokens
from ..networks.transformer import Context, FlowTransformer
from .hold import Hold
from .samplers import SamplerSettings, dense_spread, sample, sparse_spread
from .views import Condition, Views, pictures_of


@dataclass(frozen=True)
class Denoising:
    """How to sample: the sampler's settings, whether both branches go in one pass, whom to tell, and what stays."""

    settings: SamplerSettings
    sigma_min: float
    together: bool
    progress: Progress
    stage: str
    hold: Hold | None = None


def denoise_structure(model: SparseStructureFlowModel, noise: Tensor, cond: Condition, how: Denoising) -> Tensor:
    """noise (B, C, R, R, R), cond (B, L, cond_channels) -> the structure's latent like noise.

    With views as `cond`, which know their weights, B is 1.
    """
    _, layout = to_tokens(noise)
    phases = model.phases(noise.device).repeat(len(noise), 1, 1)
    prepared = _prepare(model, phases, layout, cond, how)

    def velocity(x: Tensor, t: Tensor, conditional: Sequence[bool]) -> list[Tensor]:
        found = prepared(to_tokens(x)[0], t, conditional)
        return [from_tokens(v, len(x), x.shape[2:]) for v in found]

    return sample(
        velocity,
        noise,
        how.settings,
        dense_spread,
        batch=len(noise),
        sigma_min=how.sigma_min,
        progress=how.progress,
        stage=how.stage,
        hold=how.hold,
    )


def denoise_latent(
    model: SLatFlowModel, noise: Tensor, coords: Tensor, cond: Condition, how: Denoising, concat: Tensor | None = None
) -> Tensor:
    """noise (T, C) on coords (T, 4), cond (B, L, cond_channels) -> the latent like noise, still normalised.

    `concat` (T, C') is given to the model behind the noise at every step.
    """
    layout = Layout.of(coords)
    phases = rope_phases(coords[:, 1:], model.config.head_dim)
    prepared = _prepare(model, phases, layout, cond, how)

    def velocity(x: Tensor, t: Tensor, conditional: Sequence[bool]) -> Sequence[Tensor]:
        return prepared(x if concat is None else torch.cat([x, concat], dim=-1), t, conditional)

    return sample(
        velocity,
        noise,
        how.settings,
        sparse_spread(layout),
        batch=len(layout.lengths),
        sigma_min=how.sigma_min,
        progress=how.progress,
        stage=how.stage,
        hold=how.hold,
    )


def _prepare(model: FlowTransformer, phases: Tensor, layout: Layout, cond: Condition, how: Denoising) -> _Prepared:
    context, *further = (model.encode_context(features) for features in pictures_of(cond))
    weights = None
    if isinstance(cond, Views):
        assert cond.weights is not None
        weights = cond.weights.to(phases.device)
    return _Prepared(model, phases, layout, context, how.together, further, weights)


@dataclass(frozen=True)
class _Prepared:
    """A model with all that does not change from step to step."""

    model: FlowTransformer
    phases: Tensor
    layout: Layout
    context: Context
    together: bool
    further: Sequence[Context] = ()
    weights: Tensor | None = None

    def __call__(self, tokens: Tensor, t: Tensor, conditional: Sequence[bool]) -> Sequence[Tensor]:
        if self.weights is not None:
            return [self._blended(tokens, t) if sees else self._pass(tokens, t, (False,))[0] for sees in conditional]
        groups = [conditional] if self.together else [(sees,) for sees in conditional]
        return [v for group in groups for v in self._pass(tokens, t, group)]

    def _blended(self, tokens: Tensor, t: Tensor) -> Tensor:
        """What the pictures say, each as much as it has to; one prediction is kept beside the sum at a time."""
        assert self.weights is not None
        total = torch.zeros(())
        for number, share in enumerate(self.weights):
            v = share[:, None] * self._pass(tokens, t, (True,), number)[0]
            total = v if number == 0 else total.add_(v)
        return total

    def _pass(self, tokens: Tensor, t: Tensor, conditional: Sequence[bool], picture: int = 0) -> Tensor:
        return self.model.velocity(
            tokens, t, self.phases, self.layout, (self.context, *self.further)[picture], conditional
        )
