"""The TRELLIS.2 engine: the pipeline module makes voxels of a picture, finishing makes a GLB of the voxels."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EngineError, FieldError
from ..progress import Progress
from ..settings import TRELLIS2_MODEL, Settings
from .base import DEVICE_VARIABLE, MEMORY_VARIABLE

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..pipeline.pipeline import Pipeline

log = logging.getLogger(__name__)

_GIB = 2**30
# What sampling takes of the whole, as it is on a GPU.
_SAMPLING = 0.7


class Trellis2Engine:
    """`microsoft:trellis-2@4b` on this machine, from weights in a folder."""

    model = TRELLIS2_MODEL

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._pipeline: Pipeline | None = None

    def generate(self, image: Image, settings: Settings, seed: int, progress: Progress) -> bytes:
        """A GLB of the picture's subject; see `engines.base.Engine`.

        The longest side of the model's cube is 1, its centre the origin; its front faces +Z, up is +Y. Where the
        device's memory does not suffice for the resolution, a lower one is made, and the file says so in
        `asset.extras.notes`. Raises `EngineError`, `Cancelled`.
        """
        from ..ovoxel.finish import DenseAsset, finish

        progress.update("Loading the model", 0.0)
        if self._pipeline is None:
            self._pipeline = self._load()
        result = self._pipeline.run(image, settings, seed, progress.part(0.0, _SAMPLING))
        for note in result.notes:
            log.warning("%s", note)
        dense = DenseAsset(
            result.vertices, result.faces, result.coords, result.attributes, result.resolution, result.intersected
        )
        provenance = {
            "engine": self.model,
            "seed": seed,
            "settings": settings.to_request(),
            "resolution": result.resolution,
            "notes": list(result.notes),
        }
        finished = finish(
            dense,
            decimation_target=settings.value("decimation_target"),
            texture_size=settings.value("texture_size"),
            remesh=settings.value("remesh"),
            provenance=provenance,
            name="TRELLIS.2",
            progress=progress.part(_SAMPLING, 1.0),
        )
        return finished.glb

    def _load(self) -> Pipeline:
        from ..pipeline.pipeline import Pipeline

        return Pipeline.from_folder(
            self._weights, device=os.environ.get(DEVICE_VARIABLE) or "auto", memory_budget=memory_budget()
        )


def memory_budget() -> int | None:
    """The bytes that `TRELLIS2_MEMORY` allows of the device; None is all that is free."""
    text = os.environ.get(MEMORY_VARIABLE, "").strip()
    if not text:
        return None
    try:
        gibibytes = float(text)
    except ValueError:
        gibibytes = 0.0
    if not 1.0 <= gibibytes <= 10_000:
        raise FieldError(MEMORY_VARIABLE, text, "give GiB, such as 12")
    return int(gibibytes * _GIB)


def check_packages(*names: str) -> None:
    """Raise `EngineError` where one of these packages of the local backend is not installed."""
    import importlib.util

    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise EngineError(
            f"{', '.join(missing)} is not installed here; install the local backend: pip install '.[local]'."
        )
