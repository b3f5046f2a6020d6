"""Which engines there are on this machine, and which one answers for which model."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable

from ..core.errors import EngineError, FieldError
from ..core.messages import message
from ..runtime.child import local_python
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL
from ..weights.place import weights_folder
from .engine import Engine

CHOICES = ("auto", "draft", "trellis2")


def create_engine(model: str, device: str = "") -> Engine:
    """The engine that is `model`; importing it happens here, so that nobody pays for what is not used.

    `device` is PyTorch's name of it, such as "cuda:1"; empty is what `TRELLIS2_DEVICE` says, or the best there is.
    """
    if model == DRAFT_MODEL:
        from .draft import ReliefEngine

        return ReliefEngine()
    if model == TRELLIS2_MODEL and (weights := weights_folder()) is not None:
        from .trellis2 import PACKAGES, Trellis2Engine, check_packages

        check_packages(*PACKAGES)
        return Trellis2Engine(weights, device)
    raise EngineError(
        "The engine for {model} is not installed on this machine; use the draft engine or the remote API.", model=model
    )


def trellis2_available() -> bool:
    """Whether `microsoft:trellis-2@4b` can be run here: the weights are there, and a Python with PyTorch."""
    if weights_folder() is None:
        return False
    python = local_python()
    return os.path.isfile(python) if python != sys.executable else importlib.util.find_spec("torch") is not None


def engine_for(model: str, choice: str, is_available: Callable[[], bool] = trellis2_available) -> str:
    """The model id that answers a task for `model`, under the service's `--engine` choice; `is_available` says whether
    TRELLIS.2 can be run.

    Raises `FieldError` for a model that this choice does not serve.
    """
    if choice == "draft":
        return DRAFT_MODEL
    if choice == "auto" and model == TRELLIS2_MODEL and not is_available():
        return DRAFT_MODEL
    if choice == "trellis2" and model != TRELLIS2_MODEL:
        raise FieldError(
            "model", model, message("this service runs {model} only", model=TRELLIS2_MODEL), code="invalidModel"
        )
    return model
