"""What is known of a job without the database: a record of its row in its folder, or else its files.

The database is one file for all jobs, and one bad sector, full disk or over-eager synchronisation is enough to lose it.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..client.replies import as_number
from ..core.errors import TrellisError
from ..core.files import BRIEF, move, read_text
from ..core.messages import message
from ..task.settings import TASK_TYPE, TRELLIS2_MODEL
from ..task.task import check_uuid
from .job import REMOTE, Asset, State

log = logging.getLogger(__name__)

RECORD_FILE = "job.json"  # in a job's folder
LIMITS_FILE = "limits.json"  # the most to spend, beside the database
Row = dict[str, Any]  # a row of the table of jobs, by column

_NOT_KNOWN = message(
    "The list of jobs was lost, and this one's folder does not tell what became of it: Import asks the "
    "remote API for it, and pays nothing."
)


def keep(folder: Path, row: Mapping[str, Any]) -> None:
    """Write a job's row into its folder. That it cannot be written is no reason to stop: the database has it."""
    part = folder / f"{RECORD_FILE}.part"
    try:
        if folder.is_dir():
            part.write_text(json.dumps(dict(row)), encoding="utf-8")
            move(part, folder / RECORD_FILE, BRIEF)
    except (OSError, ValueError) as error:
        log.info("The record of the job %s cannot be written: %s", folder.name, error)


def find(jobs: Path) -> Iterator[Row]:
    """The rows of all jobs that have a folder here, as far as the folders tell."""
    for folder in sorted(jobs.iterdir()) if jobs.is_dir() else ():
        try:
            check_uuid(folder.name)
            if folder.is_dir():
                yield _recorded(folder) or _of_files(folder)
        except (TrellisError, OSError, ValueError) as error:
            log.warning("Nothing can be told of the folder %s: %s", folder, error)


def keep_limits(folder: Path, limits: Mapping[str, float]) -> None:
    """Write the spending limits beside the database; raises `OSError`."""
    part = folder / f"{LIMITS_FILE}.part"
    part.write_text(json.dumps(dict(limits)), encoding="utf-8")
    move(part, folder / LIMITS_FILE)


def find_limits(folder: Path) -> dict[str, float]:
    """The spending limits that were written beside the database, as far as they can be any."""
    try:
        found = json.loads(read_text(folder / LIMITS_FILE))
    except (OSError, ValueError, RecursionError):
        return {}
    kept = found.items() if isinstance(found, dict) else ()
    return {period: amount for period, amount in kept if as_number(amount) is not None and amount >= 0}


def _recorded(folder: Path) -> Row | None:
    try:
        row = json.loads(read_text(folder / RECORD_FILE))
    except (OSError, ValueError, RecursionError):
        return None
    is_one = isinstance(row, dict) and row.get("uuid") == folder.name
    return (
        row
        if is_one and all(isinstance(row.get(key), str) for key in ("name", "backend", "state", "request"))
        else None
    )


def _of_files(folder: Path) -> Row:
    """The row of a job that has no record, as of version 0.1.0: what its assets tell makes it ready."""
    assets = [asset for path in sorted(folder.glob("asset*.glb")) if (asset := _asset(path)) is not None]
    facts: Mapping[str, Any] = assets[0].provenance if assets else {}
    created = _time_of(facts.get("created"), folder)
    settings = facts.get("settings")
    request = {
        "taskType": TASK_TYPE,
        "taskUUID": folder.name,
        "model": str(facts.get("model") or TRELLIS2_MODEL),
        **(settings if isinstance(settings, dict) else {}),
    }
    costs = [cost for asset in assets if isinstance(cost := asset.provenance.get("cost_usd"), (int, float))]
    row: Row = {
        "uuid": folder.name,
        "name": assets[0].name if assets else f"task {folder.name[:8]}",
        "backend": str(facts.get("backend") or REMOTE),
        "state": State.READY if assets else State.FAILED,
        "request": json.dumps(request),
        "image_sha256": str(facts.get("image_sha256") or ""),
        "fingerprint": str(facts.get("fingerprint") or ""),
        "created": created,
    }
    if not assets:
        return {**row, "error": _NOT_KNOWN}
    listed = [{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in assets]
    # it has most likely been where it belongs: nothing is brought into a scene a second time
    times = dict.fromkeys(("sent", "finished", "delivered"), created)
    return {**row, **times, "cost": sum(costs) if costs else None, "assets": json.dumps(listed)}


def _asset(path: Path) -> Asset | None:
    try:
        asset = Asset.from_file(path)
    except TrellisError:
        return None
    return asset if asset.provenance else None


def _time_of(text: Any, folder: Path) -> float:
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp()
    except (ValueError, OverflowError, OSError):
        return folder.stat().st_mtime
