"""Which programs hold a graphics card's memory, where its driver tells."""

from __future__ import annotations

import csv
import ntpath
import posixpath
from dataclasses import dataclass

from ...core.processes import ask
from .hardware import nvidia_smi

_TIMEOUT = 10.0  # seconds
_MIB = 2**20


@dataclass(frozen=True)
class Holder:
    """A process and the bytes it holds of a card; `name` is its program's, without the folder."""

    pid: int
    name: str
    used: int


def memory_holders() -> tuple[Holder, ...]:
    """Who holds memory of NVIDIA's cards, the most first; takes up to seconds. Windows often tells nobody's share."""
    tool = nvidia_smi()
    if tool is None:
        return ()
    told = ask([tool, "--query-compute-apps=pid,used_memory,process_name", "--format=csv,noheader,nounits"], _TIMEOUT)
    return read_holders(told or "")


def read_holders(told: str) -> tuple[Holder, ...]:
    """Rows such as 4711, 812, /opt/blender/blender; a process on two cards is one holder."""
    found: dict[int, Holder] = {}
    for row in csv.reader(told.splitlines(), skipinitialspace=True):
        if len(row) < 3 or not (row[0].strip().isdigit() and row[1].strip().isdigit()):
            continue
        pid, used = int(row[0]), int(row[1]) * _MIB
        name = ntpath.basename(posixpath.basename(",".join(row[2:]).strip()))
        found[pid] = Holder(pid, name, used + (found[pid].used if pid in found else 0))
    return tuple(sorted(found.values(), key=lambda holder: -holder.used))
