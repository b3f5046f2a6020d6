"""Where the weights of TRELLIS.2 lie on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.configuration import configuration
from ..core.folders import default_folder
from ..core.progress import Progress
from ..runtime.layout import local_folder


def weights_folder() -> Path | None:
    """Where the weights of TRELLIS.2 are on this machine: a copy of its repository; None where there are none.

    `TRELLIS2_WEIGHTS` names the folder; without it, it is `weights` in the local backend's folder, or in the data
    folder.
    """
    named = configuration().weights
    folders = [Path(named)] if named else [local_folder().weights, default_folder() / "weights"]
    return next((folder for folder in folders if (folder / "pipeline.json").is_file()), None)


def fetch_weights(progress: Progress, *, accepted: Iterable[str] = (), source: str = "") -> Path:
    """Download what TRELLIS.2 needs at every resolution, about 16 GB, into the local backend's folder.

    `accepted` are the keys of licences that the user accepts, "dinov3" among them; `source` is as for
    `fetching.fetch`. What is there is not fetched again, what broke off goes on. Raises `EngineError`.
    """
    from .fetching import fetch, needed

    local = local_folder()
    local.claim()
    fetch(local.weights, needed(), source, accepted, progress)
    return local.weights
