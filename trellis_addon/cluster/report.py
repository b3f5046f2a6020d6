"""A cluster in words: the table of its machines, and what a doctor finds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core.errors import EngineError, InputError
from ..core.sizes import size_words
from . import board, joining
from .members import DRAINED, GONE
from .node import at, can_trellis2, describe_at, unfit, why_silent

_HEADINGS = ("MACHINE", "STATE", "WORKERS", "CARDS", "MEMORY", "VERSION", "WEIGHTS", "MADE", "SECONDS", "WORKS ON")
_ANSWERS = 60.0  # seconds that a machine may take to answer the doctor
_TRIED = 4 * 2**20  # bytes that are sent to each machine and back
_LEAST_STORE = 128 * 2**20  # bytes of Ray's object store that pieces under way may need
_LOOK = 0.5


def machines() -> list[dict[str, Any]]:
    """The machines that are part of the cluster, as Ray tells."""
    import ray

    return [row for row in ray.nodes() if row["Alive"]]


def status() -> dict[str, Any]:
    """What is known: the services with their machines, and the machines that are there without one."""
    return {
        "token": joining.asks_for_token(),
        "services": board.services(),
        "machines": [
            {
                "id": row["NodeID"],
                "name": _name(row),
                "address": row["NodeManagerAddress"],
                "processors": int(row["Resources"].get("CPU", 0)),
                "cards": int(row["Resources"].get("GPU", 0)),
                "objectStore": int(row["Resources"].get("object_store_memory", 0)),
            }
            for row in machines()
        ],
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """`status` in lines."""
    if not found["services"]:
        yield "No service uses this cluster; start one: python -m trellis_addon serve --cluster auto"
        rows = [(each["name"], each["address"], each["processors"], each["cards"]) for each in found["machines"]]
        yield from _columns([("MACHINE", "ADDRESS", "PROCESSORS", "CARDS"), *rows])
    for service in found["services"]:
        workers = sum(node["workers"] for node in service["nodes"])
        yield f"Service {service['service']}, engine {service['engine']}, workers: {workers}"
        yield from _columns([_HEADINGS, *(_row(node) for node in service["nodes"])])
        for node in service["nodes"]:
            if node["why"]:
                yield f"{node['name']} is not used: {node['why']}."
    if not found["token"]:
        yield "This cluster asks for no token: whoever reaches its ports runs programs on all its machines."


def doctor() -> tuple[list[str], list[str]]:
    """(what is well, what is not), in sentences; every machine is asked."""
    import ray
    from ray import exceptions

    well = [f"Ray {ray.__version__}, head at {ray.get_runtime_context().gcs_address}."]
    faults: list[str] = []
    (well if joining.asks_for_token() else faults).append(
        "The cluster asks for a token."
        if joining.asks_for_token()
        else "The cluster asks for no token: whoever reaches its ports runs programs on all its machines."
    )
    rows = machines()
    asked = [describe_at(row["NodeID"]) for row in rows]
    ray.wait(asked, num_returns=len(asked), timeout=_ANSWERS)
    mark = ""
    for row, reference in zip(rows, asked, strict=True):
        name = _name(row)
        try:
            about = ray.get(reference, timeout=0)
        except exceptions.GetTimeoutError:
            faults.append(f"{name} does not answer.")
            continue
        except exceptions.RayError as error:
            faults.append(f"{name}: {why_silent(error)}.")
            continue
        if why := unfit(about, needs_trellis2=can_trellis2(about), weights_mark=mark):
            faults.append(f"{name} cannot be used: {why}.")
            continue
        mark = mark or about["weightsMark"]
        well.append(_about(name, row, about))
        store = row["Resources"].get("object_store_memory", 0)
        if store < _LEAST_STORE:
            faults.append(
                f"{name} has an object store of {size_words(store)}: ray start --object-store-memory={_LEAST_STORE}."
            )
        well.append(f"{name} sends {size_words(_TRIED)} back in {_there_and_back(row['NodeID']):.2f} s.")
    return well, faults


def drain(wanted: str, *, now: bool = False, undo: bool = False, wait: float = 0.0) -> str:
    """Have a machine drained, or used again; a sentence about it. Waits up to `wait` seconds for it to be idle.

    Raises `InputError` where no machine, or more than one, is called `wanted`, and `EngineError` where it is not idle
    in time.
    """
    row = find(wanted)
    if undo:
        board.use(row["NodeID"])
        return f"{_name(row)} is used again."
    board.drain(row["NodeID"], board.NOW if now else board.FINISH)
    end = time.monotonic() + wait
    while wait and not all(_is_idle(row["NodeID"], service) for service in board.services()):
        if time.monotonic() > end:
            raise EngineError("{name} is not idle after {seconds:.0f} s.", name=_name(row), seconds=wait)
        time.sleep(_LOOK)
    what = "handed over" if now else "finished"
    return f"{_name(row)} gets nothing new" + (" and is idle." if wait else f"; what it works on is {what}.")


def find(wanted: str) -> dict[str, Any]:
    """The machine called so: by its name, address, or the first digits of its id. Raises `InputError`."""
    rows = machines()
    found = [row for row in rows if row["NodeID"].startswith(wanted) or wanted in (_name(row), row["NodeName"])]
    found = found or [row for row in rows if wanted in (row["NodeManagerHostname"], row["NodeManagerAddress"])]
    if len(found) == 1 and wanted:
        return found[0]
    raise InputError(
        '{count} machines are called "{wanted}"; there are {names}: give a name, or the digits in brackets.',
        count=len(found),
        wanted=wanted,
        names=[_name(row) for row in rows],
    )


def _is_idle(node: str, service: Mapping[str, Any]) -> bool:
    states = [each["state"] for each in service["nodes"] if each["id"] == node]
    return all(state in (DRAINED, GONE) for state in states)


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['NodeManagerHostname']} ({row['NodeID'][:6]})"


def _about(name: str, row: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    cards = ", ".join(f"{card['name']} {size_words(card['memory'])}" for card in about["cards"]) or "no card"
    what = about["weights"] if can_trellis2(about) else "draft only"
    ports = f"ports {row['NodeManagerPort']} and {row['ObjectManagerPort']}"
    return (
        f"{name} at {row['NodeManagerAddress']} ({ports}): version {about['version']} ({about['code']}), Python "
        f"{about['python']}, {cards}, {size_words(about['memory'])} of memory, {what}."
    )


def _there_and_back(node: str) -> float:
    import ray

    began = time.monotonic()
    ray.get(ray.remote(_same).options(num_cpus=0, max_retries=0, scheduling_strategy=at(node)).remote(bytes(_TRIED)))
    return time.monotonic() - began


def _same(data: bytes) -> bytes:
    return data


def _row(node: Mapping[str, Any]) -> tuple[object, ...]:
    cards = node["cards"]
    kinds = ", ".join(f"{cards.count(kind)} x {kind}" for kind in dict.fromkeys(cards))
    version = f"{node['version']} ({node['code']})" if node["version"] else "?"
    memory = size_words(node["memory"]) if node["memory"] else "?"
    weights = node["weightsMark"] or "-"
    doing = "; ".join(node["running"]) or "-"
    seconds = "-" if node["seconds"] is None else f"{node['seconds']:.1f}"
    first = (node["name"], node["state"], node["workers"], kinds or "-", memory, version, weights)
    return (*first, node["made"], seconds, doing)


def _columns(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
