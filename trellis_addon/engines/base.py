"""The engines' interface, and which engine answers for which model."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..child import local_python
from ..errors import EngineError, FieldError
from ..folders import default_folder
from ..progress import Progress
from ..settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings

if TYPE_CHECKING:
    from PIL.Image import Image

CHOICES = ("auto", "draft", "trellis2")
WEIGHTS_VARIABLE = "TRELLIS2_WEIGHTS"  # a folder
DEVICE_VARIABLE = "TRELLIS2_DEVICE"  # auto, cuda, cuda:1, mps or cpu
MEMORY_VARIABLE = "TRELLIS2_MEMORY"  # GiB that it may take of the device


class Engine(Protocol):
    """Makes an asset of a picture. Every worker thread of a service has one of its own: it need not be thread-safe."""

    model: str
    """The model id this engine really is, written into every reply and every asset."""

    def generate(self, image: Image, settings: Settings, seed: int, progress: Progress) -> bytes:
        """A GLB file of the picture's subject.

        `image` is RGBA, 8 bits, with the subject cut out by its alpha. `seed` is in 0..2^63-1:
        the same image, settings and seed give the same bytes. Raises `EngineError` when it
        cannot be done, `Cancelled` when `progress` says so.
        """
        ...


def create_engine(model: str) -> Engine:
    """The engine that is `model`; importing it happens here, so that nobody pays for what is not used."""
    if model == DRAFT_MODEL:
        from .draft import ReliefEngine

        return ReliefEngine()
    if model == TRELLIS2_MODEL and (weights := weights_folder()) is not None:
        from .trellis2 import Trellis2Engine, check_packages

        check_packages("torch", "safetensors", "scipy", "fast_simplification")
        return Trellis2Engine(weights)
    raise EngineError(
        f"The engine for {model} is not installed on this machine; use the draft engine or the remote API."
    )


def weights_folder() -> Path | None:
    """Where the weights of TRELLIS.2 are on this machine: a copy of its repository; None where there are none.

    `TRELLIS2_WEIGHTS` names the folder; without it, it is `weights` in the data folder, or what `fetch_weights` left.
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    folder = Path(named) if named else default_folder() / "weights"
    if not named and not folder.is_dir():
        folder = _fetched() or folder
    return folder if (folder / "pipeline.json").is_file() else None


def fetch_weights(progress: Progress) -> Path:
    """Download the weights of TRELLIS.2, about 16 GB, to where other programs share them; raises `EngineError`.

    What is there is not fetched again, what broke off goes on.
    """
    from .trellis2 import check_packages

    check_packages("huggingface_hub", "torch")
    from ..pipeline.download import fetch_model

    folder = fetch_model(progress=progress)
    _pointer().parent.mkdir(parents=True, exist_ok=True)
    _pointer().write_text(str(folder), encoding="utf-8")
    return folder


def _pointer() -> Path:
    return default_folder() / "weights.txt"


def _fetched() -> Path | None:
    try:
        return Path(_pointer().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


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
