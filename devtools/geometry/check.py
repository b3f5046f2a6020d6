"""`python -m devtools.geometry.check FOLDER`: does this package agree with the reference's numbers?

Every case in the folder gets a line: its name, the largest difference, pass or FAIL. The exit code is 0 when
there is at least one case and none fails. Which cases there are is told by the files; a manifest may be there
or not.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis_addon.core.errors import InputError
from trellis_addon.core.streams import prepare_streams

from .cases import KINDS, Arrays, Result, file_case

_MOST_BYTES = 2**31  # of all arrays of a case together


def main(arguments: Sequence[str] | None = None) -> int:
    prepare_streams()
    parser = argparse.ArgumentParser(
        prog="python -m devtools.geometry.check", description="Compare with the reference's numbers."
    )
    parser.add_argument("folder", type=Path, help="holds fdg2mesh_*.npz, m2fdg_*.npz, volattr_*.npz, *.vxz, ...")
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        print(f"{folder} is not a folder.", file=sys.stderr)
        return 2
    failed = count = 0
    for name, result in run(folder):
        count += 1
        failed += result.passed is False
        verdict = {True: "pass", False: "FAIL", None: "reported"}[result.passed]
        difference = f"{result.difference:.2e}" if math.isfinite(result.difference) else "-"
        print(f"{name:<36} {difference:>9}  {verdict}{'  ' + result.note if result.note else ''}", flush=True)
    if not count:
        print(f"There is no case in {folder}.", file=sys.stderr)
        return 1
    print(f"{count} cases, {failed} failed")
    return 1 if failed else 0


def run(folder: Path) -> Iterator[tuple[str, Result]]:
    """(name, result) of every case in the folder, in the order of their names; no case raises."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".npz", ".vxz"):
            yield (path.stem if path.suffix == ".npz" else path.name), _judge(path)


def _judge(path: Path) -> Result:
    kind = next((kind for kind in KINDS if path.stem.startswith(kind)), "")
    try:
        with np.errstate(all="ignore"):
            if path.suffix == ".vxz":
                return file_case(path, _content_for(path))
            case = _load(path)
            kind = kind or _kind_of(case)
            result = KINDS[kind](case, path.stem)
    except Exception as error:  # whatever is wrong with a file, it is the case that fails, in one line
        passed = None if kind == "remesh_dc" else False
        return Result(passed, math.inf, _in_words(error))
    return result


def _load(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        arrays, total = _Case(), 0
        for name in file.files:
            arrays[name] = file[name]
            total += arrays[name].nbytes
            if total > _MOST_BYTES:
                raise InputError("its arrays are unreasonably large")
    return arrays


class _Case(dict[str, NDArray[Any]]):
    """A case's arrays; asking for one that is not there says which."""

    def __missing__(self, name: str) -> NDArray[Any]:
        raise InputError(f"{name} is missing")


def _kind_of(case: Arrays) -> str:
    """By what is in it, for a file with a name of its own."""
    tests = {
        "m2fdg": ("vertices", "faces", "intersected"),
        "fdg2mesh": ("dual_vertices", "mesh_faces"),
        "volattr": ("base_rgba", "uv"),
        "grid_sample": ("feats", "query"),
        "svo": ("svo", "depth"),
        "remesh_dc": ("project_back", "mesh_faces"),
    }
    for kind, names in tests.items():
        if all(name in case for name in names):
            return kind
    if any(name.startswith("attr_") for name in case):
        return "vxz_content"
    raise InputError("it is of no known kind")


def _content_for(path: Path) -> Arrays | None:
    """What a .vxz file should hold: NAME_content.npz for NAME_*.vxz, or the folder's vxz_content.npz."""
    parts = path.stem.split("_")
    names = ["_".join(parts[:count]) + "_content.npz" for count in range(len(parts), 0, -1)] + ["vxz_content.npz"]
    for name in names:
        if (beside := path.parent / name).is_file():
            return _load(beside)
    return None


def _in_words(error: Exception) -> str:
    text = " ".join(str(error).split()).strip("'\"") or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"


if __name__ == "__main__":
    sys.exit(main())
