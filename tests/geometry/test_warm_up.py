"""What an installation compiles beforehand is what finishing then runs."""

from __future__ import annotations

from pathlib import Path

import pytest

for package in ("warp", "scipy"):
    pytest.importorskip(package)

from conftest import run_python  # noqa: E402

_WARM_UP = "from trellis_addon.geometry.finish.warm_up import warm_up; warm_up()"
_FINISH = """
from trellis_addon.geometry.finish import warm_up
from trellis_addon.geometry.finish.roundtrip import round_trip
for remesh in (True, False):
    round_trip(warm_up._block(), resolution=48, texture_size=128, faces=500, remesh=remesh)
"""


def test_afterwards_nothing_is_compiled(tmp_path: Path) -> None:
    def kept() -> set[str]:
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}

    def run(code: str) -> None:
        done = run_python("-c", code, timeout=600, WARP_CACHE_PATH=str(tmp_path))
        assert done.returncode == 0, done.stderr

    run(_WARM_UP)
    compiled = kept()
    assert len(compiled) > 5
    run(_FINISH)
    assert kept() == compiled
