"""What a machine says of itself, and why one does not fit."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.folders import PACKAGE
from ..core.machine.memory import machine_memory
from ..core.messages import message
from ..core.processes import ask
from ..core.version import VERSION
from ..engines.trellis2 import PACKAGES
from ..weights.place import weights_folder

_ASKED = 10.0  # seconds that the driver of a card may take to answer
_MARK = 8  # digits of a digest that tell two apart


def describe() -> dict[str, Any]:
    """What this machine has: run on each machine of the cluster, in a process of Ray's."""
    import ray

    weights = weights_folder()
    return {
        "version": VERSION,
        "code": code_mark(),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "system": sys.platform,
        "weights": str(weights) if weights is not None else "",
        "weightsMark": weights_mark(weights) if weights is not None else "",
        "lacks": [name for name in PACKAGES if importlib.util.find_spec(name) is None],
        "cards": _cards(),
        "memory": machine_memory()[0],
    }


def describe_at(node: str) -> Any:
    """The promise of what the machine with an id of Ray's says."""
    import ray

    asked = ray.remote(describe).options(num_cpus=0, max_retries=0, scheduling_strategy=at(node))
    return asked.remote()


def at(node: str) -> Any:
    """For Ray to have something done on one machine, and on no other."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def why_silent(error: Exception) -> str:
    """Why a machine could not say what it has, of what Ray says: a part of a sentence."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    return message(
        "the package cannot be used there ({reason})", reason=said[-1][:200] if said else type(error).__name__
    )


def can_trellis2(about: Mapping[str, Any]) -> bool:
    """Whether the machine can run TRELLIS.2, by its own word."""
    return bool(about["weights"]) and not about["lacks"]


def unfit(about: Mapping[str, Any], *, needs_trellis2: bool, weights_mark: str = "") -> str:
    """Why a machine cannot be used, a part of a sentence; empty where it can.

    The same code everywhere, or the same seed would not give the same bytes. `weights_mark` is that of the machines
    that are in use.
    """
    if about["version"] != VERSION:
        return message(
            "it has version {version} in place of {own_version}", version=about["version"], own_version=VERSION
        )
    if about["code"] != code_mark():
        return message(
            "its code is another one of the same version ({theirs} in place of {ours})",
            theirs=about["code"],
            ours=code_mark(),
        )
    if not needs_trellis2:
        return ""
    if about["lacks"]:
        return message("it lacks {packages}", packages=list(about["lacks"]))
    if not about["weights"]:
        return message("it has no weights; set TRELLIS2_WEIGHTS there")
    if weights_mark and about["weightsMark"] != weights_mark:
        return message(
            "its weights are others ({theirs} in place of {ours})", theirs=about["weightsMark"], ours=weights_mark
        )
    return ""


@functools.cache
def code_mark() -> str:
    """A few digits that differ where the library's code does, that this process has begun with."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
        digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:_MARK]


def weights_mark(folder: Path) -> str:
    """A few digits that differ where the weights do, by the names and sizes of their files: reading them takes long."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
    digest.update((folder / "pipeline.json").read_bytes())
    return digest.hexdigest()[:_MARK]


def _cards() -> list[dict[str, Any]]:
    """The cards of NVIDIA that the driver tells of: their names, and bytes of memory."""
    said = ask(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"], _ASKED) or ""
    rows = (line.rpartition(",") for line in said.splitlines())
    return [{"name": name.strip(), "memory": int(size) * 2**20} for name, _, size in rows if size.strip().isdecimal()]
