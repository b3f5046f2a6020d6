"""What the model's JSON files say of its networks and samplers, as plain data: no torch is needed to know it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.messages import message

S = TypeVar("S", float, NDArray[np.float64])

DTYPE_NAMES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class FlowConfig:
    """`args` of a flow model's JSON. `resolution` is the grid's side for the dense model, else only a remark."""

    resolution: int
    in_channels: int
    model_channels: int
    cond_channels: int
    out_channels: int
    num_blocks: int
    num_heads: int
    mlp_ratio: float = 4.0
    pe_mode: str = "rope"
    share_mod: bool = False
    initialization: str = "scaled"
    qk_rms_norm: bool = False
    qk_rms_norm_cross: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("resolution", "in_channels", "model_channels", "cond_channels", "out_channels", "num_heads"):
            require(getattr(self, name) > 0, message("{name} must be positive", name=name))
        require(self.num_blocks >= 0, message("num_blocks must not be negative"))
        require(self.mlp_ratio > 0, message("mlp_ratio must be positive"))
        require(
            self.model_channels % (2 * self.num_heads) == 0,
            message("model_channels must divide into heads of even width"),
        )
        require(self.model_channels // self.num_heads >= 6, message("a head needs at least 6 channels for three axes"))
        require(
            self.pe_mode == "rope", message('pe_mode "{pe_mode}" is not supported, only "rope"', pe_mode=self.pe_mode)
        )
        require(self.dtype in DTYPE_NAMES, message('dtype "{dtype}" is not supported', dtype=self.dtype))

    @property
    def head_dim(self) -> int:
        return self.model_channels // self.num_heads


@dataclass(frozen=True)
class DecoderConfig:
    """`args` of a decoder's JSON. The lists run from the coarsest level to the finest."""

    model_channels: tuple[int, ...]
    latent_channels: int
    num_blocks: tuple[int, ...]
    block_type: tuple[str, ...]
    up_block_type: tuple[str, ...]
    block_args: tuple[dict[str, Any], ...] = ()
    out_channels: int = 7
    pred_subdiv: bool = True
    use_fp16: bool = False
    resolution: int = 256
    voxel_margin: float = 0.5

    def __post_init__(self) -> None:
        check_levels(self.model_channels, self.num_blocks, self.block_type, self.up_block_type, "SparseResBlockC2S3d")
        require(self.latent_channels > 0 and self.out_channels > 0, message("the numbers of channels must be positive"))
        require(not any(self.block_args), message("block_args other than {} are not supported"))
        for wide, narrow in zip(self.model_channels, self.model_channels[1:], strict=False):
            require(wide % 8 == 0, message("model_channels must be multiples of 8 on all levels but the last"))
            require(
                narrow % (wide // 8) == 0, message("model_channels may not fall by more than 8 from level to level")
            )

    @property
    def finest_last(self) -> tuple[int, ...]:
        """Channels of each level, the finest level's last."""
        return self.model_channels


@dataclass(frozen=True)
class EncoderConfig:
    """`args` of the encoder's JSON. The lists run from the finest level to the coarsest."""

    model_channels: tuple[int, ...]
    latent_channels: int
    num_blocks: tuple[int, ...]
    block_type: tuple[str, ...]
    down_block_type: tuple[str, ...]
    block_args: tuple[dict[str, Any], ...] = ()
    in_channels: int = 6
    use_fp16: bool = False

    def __post_init__(self) -> None:
        check_levels(self.model_channels, self.num_blocks, self.block_type, self.down_block_type, "SparseResBlockS2C3d")
        require(self.latent_channels > 0 and self.in_channels > 0, message("the numbers of channels must be positive"))
        require(not any(self.block_args), message("block_args other than {} are not supported"))
        for narrow, wide in zip(self.model_channels, self.model_channels[1:], strict=False):
            require(wide % 8 == 0, message("model_channels must be multiples of 8 on all levels but the first"))
            require(8 * narrow % wide == 0, message("model_channels may not grow by more than 8 from level to level"))

    @property
    def finest_last(self) -> tuple[int, ...]:
        """Channels of each level, the finest level's last."""
        return self.model_channels[::-1]


FIRST_STEPS = 6  # that are always computed: they decide what is made


@dataclass(frozen=True)
class SamplerSettings:
    """How to sample. `guidance_interval` holds both ends; outside it the strength is 1, which is no guidance.

    `reuses`: after the first six steps every other one goes on with the velocity of the step before it.
    """

    steps: int = 50
    guidance_strength: float = 3.0
    guidance_rescale: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    rescale_t: float = 1.0
    reuses: bool = False

    def __post_init__(self) -> None:
        require(self.steps >= 1, message("steps must be at least 1"))
        require(self.rescale_t > 0, message("rescale_t must be positive"))

    def strength_at(self, t: float) -> float:
        low, high = self.guidance_interval
        return self.guidance_strength if low <= t <= high else 1.0

    def computed(self) -> list[bool]:
        """Of each step, whether the model is asked. Never not twice in a row, nor at the last step, nor where the
        guidance has just changed: the velocity has as well then."""
        strengths = [self.strength_at(t) for t in time_grid(self.steps, self.rescale_t)[:-1].tolist()]
        found: list[bool] = []
        for i, strength in enumerate(strengths):
            may = self.reuses and FIRST_STEPS <= i < self.steps - 1
            found.append(not (may and found[-1] and strength == strengths[i - 1]))
        return found

    def computed_steps(self) -> int:
        """How many steps call the model."""
        return sum(self.computed())

    def guided_steps(self) -> int:
        """How many steps call the model twice."""
        times = time_grid(self.steps, self.rescale_t)[:-1].tolist()
        computed = zip(self.computed(), times, strict=True)
        return sum(is_computed and self.strength_at(t) not in (0, 1) for is_computed, t in computed)

    def replace(self, **changes: Any) -> SamplerSettings:
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def time_grid(steps: int, rescale_t: float) -> NDArray[np.float64]:
    """The times 1 = t_0 > ... > t_steps = 0. In float64, because the guidance interval's ends fall exactly on some."""
    return time_at(np.linspace(1, 0, steps + 1), rescale_t)


def time_at(share: S, rescale_t: float) -> S:
    """The time from which this share (1 all, 0 nothing) of a schedule is left to go."""
    return rescale_t * share / (1 + (rescale_t - 1) * share)


def check_levels(
    channels: tuple[int, ...], blocks: tuple[int, ...], kinds: tuple[str, ...], steps: tuple[str, ...], step: str
) -> None:
    """The rules that encoder and decoder share; raises `ValueError`."""
    require(bool(channels) and min(channels) > 0, message("model_channels must be a list of positive numbers"))
    require(len(blocks) == len(channels) and min(blocks) >= 0, message("num_blocks must have a number for each level"))
    require(
        kinds == ("SparseConvNeXtBlock3d",) * len(channels),
        message("block_type must be SparseConvNeXtBlock3d on each level"),
    )
    require(steps == (step,) * (len(channels) - 1), message("the blocks between levels must be {step}", step=step))


def require(condition: bool, rule: str) -> None:
    """For a configuration's `__post_init__`: `rule` is what a `ValueError` says."""
    if not condition:
        raise ValueError(rule)
