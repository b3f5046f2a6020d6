"""The engines' interface, and which engine answers for which model."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..core.errors import EngineError, FieldError
from ..core.folders import default_folder
from ..core.progress import Progress
from ..runtime.child import local_python
from ..runtime.layout import local_folder
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

CHOICES = ("auto", "draft", "trellis2")
WEIGHTS_VARIABLE = "TRELLIS2_WEIGHTS"  # a folder
DEVICE_VARIABLE = "TRELLIS2_DEVICE"  # auto, cuda, cuda:1, mps or cpu
MEMORY_VARIABLE = "TRELLIS2_MEMORY"  # GiB that it may take of the device


@dataclass(frozen=True)
class Made:
    """What an engine made: `glb` is the file.

    `latents` are what it was decoded from, a safetensors file to go on from without sampling again; None where an
    engine keeps none. `facts` are JSON data for whoever asks how it went, each where it is known: `device` (its name),
    `peakMemory` (bytes of the device), `resolution` (that was really made) and `notes` (sentences for the user about
    what was done otherwise than asked).
    """

    glb: bytes
    latents: bytes | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Makes an asset of a picture. Every worker thread of a service has one of its own: it need not be thread-safe."""

    model: str
    """The model id this engine really is, written into every reply and every asset."""

    def generate(
        self, image: Image | None, settings: Settings, seed: int, progress: Progress, *, latents: bytes | None = None
    ) -> Made:
        """A GLB file of the picture's subject.

        `image` is RGBA, 8 bits, with the subject cut out by its alpha. `seed` is in 0..2^63-1:
        the same image, settings and seed give the same bytes. With `latents`, checked by
        `engines.latents.check_latents`, the shape is the one kept in them: with an image its texture is sampled
        again, without one it is only decoded and finished again. Raises `EngineError` when it
        cannot be done, `Cancelled` when `progress` says so.
        """
        ...

    def release(self) -> None:
        """Give the device's memory back; the next `generate` takes again what it needs."""
        ...


def create_engine(model: str, device: str = "") -> Engine:
    """The engine that is `model`; importing it happens here, so that nobody pays for what is not used.

    `device` is PyTorch's name of it, such as "cuda:1"; empty is what `TRELLIS2_DEVICE` says, or the best there is.
    """
    if model == DRAFT_MODEL:
        from .draft import ReliefEngine

        return ReliefEngine()
    if model == TRELLIS2_MODEL and (weights := weights_folder()) is not None:
        from .trellis2 import Trellis2Engine, check_packages

        check_packages("torch", "safetensors", "scipy", "fast_simplification")
        return Trellis2Engine(weights, device)
    raise EngineError(
        f"The engine for {model} is not installed on this machine; use the draft engine or the remote API."
    )


def weights_folder() -> Path | None:
    """Where the weights of TRELLIS.2 are on this machine: a copy of its repository; None where there are none.

    `TRELLIS2_WEIGHTS` names the folder; without it, it is `weights` in the local backend's folder, or in the data
    folder.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    folders = [Path(named)] if named else [local_folder().weights, default_folder() / "weights"]
    return next((folder for folder in folders if (folder / "pipeline.json").is_file()), None)


def fetch_weights(progress: Progress, *, accepted: Iterable[str] = (), source: str = "") -> Path:
    """Download what TRELLIS.2 needs at every resolution, about 16 GB, into the local backend's folder.

    `accepted` are the keys of licences that the user accepts, "dinov3" among them; `source` is as for
    `local.weights.fetch`. What is there is not fetched again, what broke off goes on. Raises `EngineError`.
    """
    from ..weights.fetching import fetch, needed

    local = local_folder()
    local.claim()
    fetch(local.weights, needed(), source, accepted, progress)
    return local.weights


def trellis2_available() -> bool:
    """Whether `microsoft:trellis-2@4b` can be run here: the weights are there, and a Python with PyTorch."""
    if weights_folder() is None:
        return False
    python = local_python()
    return os.path.isfile(python) if python != sys.executable else importlib.util.find_spec("torch") is not None


def engine_for(model: str, choice: str) -> str:
    """The model id that answers a task for `model`, under the service's `--engine` choice.

    Raises `FieldError` for a model that this choice does not serve.
    """
    if choice == "draft":
        return DRAFT_MODEL
    if choice == "auto" and model == TRELLIS2_MODEL and not trellis2_available():
        return DRAFT_MODEL
    if choice == "trellis2" and model != TRELLIS2_MODEL:
        raise FieldError("model", model, f"this service runs {TRELLIS2_MODEL} only", code="invalidModel")
    return model
