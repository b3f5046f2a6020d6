"""What one run is asked for: the settings of the API, as arguments of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .configs import SamplerSettings
from .sizes import MAX_TOKENS

if TYPE_CHECKING:
    from .checkpoint.repository import PipelineConfig

# pipeline type -> (side of the structure's grid, final resolution); a cascade refines the 512 shape
TYPES = {"512": (32, 512), "1024": (64, 1024), "1024_cascade": (32, 1024), "1536_cascade": (32, 1536)}
TYPE_OF_RESOLUTION = {512: "512", 1024: "1024_cascade", 1536: "1536_cascade"}
FIELDS = ("steps", "guidance_strength", "guidance_rescale", "rescale_t")


@dataclass(frozen=True)
class Request:
    """The arguments of one run. `shape` serves both stages of a cascade.

    `is_lowered` says that a higher resolution was asked for, and did not fit into the device's memory; `is_textured`
    whether a texture is sampled, or the shape alone.
    """

    pipeline_type: str
    structure: SamplerSettings
    shape: SamplerSettings
    texture: SamplerSettings
    max_tokens: int = MAX_TOKENS
    is_lowered: bool = False
    is_textured: bool = True

    def __post_init__(self) -> None:
        if self.pipeline_type not in TYPES:
            raise ValueError(f"pipeline_type must be one of {', '.join(TYPES)}")

    @property
    def structure_side(self) -> int:
        return TYPES[self.pipeline_type][0]

    @property
    def resolution(self) -> int:
        return TYPES[self.pipeline_type][1]

    @property
    def may_stand_in(self) -> bool:
        """Whether another texture model may do the work of the one for 512, which nobody has asked for."""
        return self.is_cascade or self.is_lowered

    @property
    def is_cascade(self) -> bool:
        return self.pipeline_type.endswith("_cascade")


def request_of(config: PipelineConfig, settings: Mapping[str, Any], is_fast: bool = False) -> Request:
    """The pipeline's own defaults with the settings that were set (by their Python names) put over them.

    `is_fast` has the samplers reuse velocities.
    """
    resolution = settings.get("resolution")
    kind = config.default_type if resolution is None else TYPE_OF_RESOLUTION[resolution]
    structure, shape, texture = (
        with_settings(config.samplers[name].settings.replace(reuses=is_fast), name, settings)
        for name in ("sparse_structure", "shape_slat", "tex_slat")
    )
    return Request(kind, structure, shape, texture, is_textured=settings.get("texture") is not False)


def with_settings(own: SamplerSettings, sampler: str, settings: Mapping[str, Any]) -> SamplerSettings:
    """A sampler's own settings with those of the API put over them."""
    changes = {field: settings.get(f"{sampler}_{field}") for field in FIELDS}
    return own.replace(**{k: v if k == "steps" or v is None else float(v) for k, v in changes.items()})
