"""What past runs took, of the finished jobs: what an estimate learns from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import TrellisError
from ..task.former import kept_settings
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings

if TYPE_CHECKING:
    from ..jobs.job import Asset, Job
    from ..jobs.store import JobStore

MOST = 200  # of the newest jobs: what a card did a year ago, with another version, says little


@dataclass(frozen=True)
class PastRun:
    """One result that was made on a device of ours.

    `device` is its name as the engine told it, `peak_memory` bytes of it (0 where nobody told), `resolution` what was
    really made, `eight_bits` the kind of 8 bits that the weights were held in, "" for none.
    """

    model: str
    device: str
    settings: Settings
    seconds: float
    peak_memory: int = 0
    resolution: int = 0
    eight_bits: str = ""


def past_runs(store: JobStore, most: int = MOST) -> tuple[PastRun, ...]:
    """The runs among the newest jobs, the newest first. Reads the store: not to be asked at every redraw."""
    try:
        return runs_of(store.recent(most))
    except TrellisError:  # a store that cannot be read is told where jobs are listed
        return ()


def runs_of(jobs: Iterable[Job]) -> tuple[PastRun, ...]:
    """The runs that jobs tell of: assets whose provenance has a "performance"."""
    found = []
    for job in jobs:
        for asset in job.assets:
            run = _run(asset)
            if run is not None:
                found.append(run)
    return tuple(found)


def _run(asset: Asset) -> PastRun | None:
    told = asset.provenance.get("performance")
    # worked on from kept latents, or of several pictures: another kind
    if not isinstance(told, Mapping) or asset.provenance.get("source") or asset.provenance.get("views"):
        return None
    seconds = _number(told.get("seconds"))
    model = asset.engine
    if model not in (DRAFT_MODEL, TRELLIS2_MODEL) or not 0 < seconds < 86400:
        return None
    kept = asset.provenance.get("settings")
    settings, unknown = kept_settings(kept)
    if unknown or not isinstance(kept, Mapping):  # it may have taken its time by something that is not known here
        return None
    return PastRun(
        model,
        str(told.get("device") or ""),
        settings,
        seconds,
        int(_number(told.get("peakMemory"))),
        int(_number(told.get("resolution"))),
        str(told.get("eightBits") or ""),
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
