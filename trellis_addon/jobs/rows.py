"""A row of the table of jobs as a `Job`, and what of it is JSON; a row that cannot be read raises."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..client.replies import as_cost
from ..core.errors import TrellisError
from ..core.files import read_text
from ..core.messages import from_store
from ..core.version import VERSION
from ..task.former import todays
from ..task.task import Task
from .job import NOT_KEPT, REGION_FILE, REMOTE, Asset, Job, State, json_in, views_in

# What `job_of` raises for a row that a newer version has written, or a disk has lost some bytes of.
UNREADABLE = (TrellisError, ValueError, TypeError, KeyError, AttributeError, RecursionError)

_LAST_DATE = 32503680000.0  # the year 3000; beyond it nothing can write a date out
_TEXTS = ("name", "backend", "image_sha256", "batch", "fingerprint", "error", "target")
_TIMES = ("created", "sent", "finished", "delivered")


@dataclass(frozen=True)
class ForeignJob:
    """What can be told of a row that is no `Job` here: another version wrote it, or a disk lost some bytes.

    `state` is a word that may mean nothing here. `created` is in Unix seconds, 0.0 where that cannot be read; `cost`
    in US dollars, None where nothing is told. `reason` says what cannot be read, `written_by` is the version of this
    library that has written it, "" before 0.2.
    """

    uuid: str
    name: str
    backend: str
    state: str
    created: float
    cost: float | None
    reason: str
    written_by: str = ""

    @property
    def is_paid(self) -> bool:
        return self.backend == REMOTE

    @property
    def is_of_other_version(self) -> bool:
        """Whether it is certain that another version has written it."""
        return self.written_by not in ("", VERSION)


def foreign_of(row: Mapping[str, Any], error: Exception) -> ForeignJob:
    """What a row that cannot be read tells all the same; raises nothing."""
    columns = ("uuid", "name", "backend", "state", "written_by")
    texts = {key: row[key] if isinstance(row[key], str) else "" for key in columns}
    name = texts.pop("name") or f"task {str(row['uuid'])[:8]}"
    created = float(row["created"]) if _is_time(row["created"]) else 0.0
    reason = " ".join(str(error).split())[:200]
    return ForeignJob(name=name, created=created, cost=as_cost(row["cost"]), reason=reason, **texts)


def job_of(row: Mapping[str, Any], folder: Path, *, with_picture: bool = True) -> Job:
    """The job of a row; `folder` is its own. Raises one of `UNREADABLE`.

    A cost that can be none is not told: it is no reason to hide the job.
    """
    _check(row)
    request = {
        **todays(json.loads(row["request"])),
        "inputs": _inputs_in(folder) if with_picture else {"image": NOT_KEPT},
    }
    assets = tuple(
        Asset(folder / Path(asset["file"]).name, row["name"], {**asset["provenance"]})
        for asset in json.loads(row["assets"])
    )
    return Job(
        Task.from_request(request), row["name"], row["backend"], folder, State(row["state"]), row["image_sha256"],
        row["batch"], row["fingerprint"], row["created"], row["sent"], row["finished"], row["delivered"],
        from_store(row["error"]),
        as_cost(row["cost"]), tuple(replace(asset, variations=assets) for asset in assets), row["target"],
    )  # fmt: skip


def request_text(job: Job) -> str:
    """The task as asked for, its picture left out."""
    request = job.task.to_request()
    del request["inputs"]
    return json.dumps(request)


def assets_text(job: Job) -> str:
    return json.dumps([{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in job.assets])


def results_in(request: Any) -> int:
    """How many results a request asks for; one where it cannot be read."""
    try:
        count = json.loads(request).get("numberResults", 1)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return 1
    return count if isinstance(count, int) and 1 <= count <= 4 else 1


def _check(row: Mapping[str, Any]) -> None:
    """Raise `ValueError` where a column holds what it never should: SQLite keeps whatever it is given."""
    for column in _TEXTS:
        if not isinstance(row[column], str):
            raise ValueError(f"{column}: {row[column]!r}")
    for column in _TIMES:
        if not (_is_time(row[column]) or (row[column] is None and column != "created")):
            raise ValueError(f"{column}: {row[column]!r}")


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= _LAST_DATE


def _inputs_in(folder: Path) -> dict[str, Any]:
    """The task's pictures and latents as they were written down.

    After a crash of the whole machine a file can be there and empty.
    """
    found: dict[str, Any] = {}
    for name in ("image", "latents", "mesh"):
        try:
            text = read_text(folder / f"{name}.txt")
        except (OSError, ValueError):
            continue
        if text:
            found[name] = text
    if "image" in found and (views := views_in(folder)):
        found["views"] = views
    if "latents" in found and (region := json_in(folder / REGION_FILE)):
        found["region"] = region
    if "image" not in found and "latents" not in found:
        return {"image": NOT_KEPT}
    return found
