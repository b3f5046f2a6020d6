"""Locks between processes."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from trellis_addon.core.locks import take_lock

TAKE = """
import sys
from pathlib import Path
from trellis_addon.core.locks import take_lock
print(take_lock(Path(sys.argv[1])) is not None)
"""


def other_has(path: Path) -> bool:
    """Whether another process can have it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", TAKE, str(path)], env=environment, capture_output=True, check=True)
    return done.stdout.strip() == b"True"


def test_one_holds_it_until_it_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock = take_lock(path)
    assert lock is not None and not other_has(path)
    lock.close()
    lock.close()
    assert other_has(path)
    with take_lock(path) or pytest.fail("it was free"):
        assert not other_has(path)
    assert other_has(path)


@pytest.mark.skipif(os.name == "nt", reason="a stand-in for msvcrt; on Windows the real one is tried, above")
def test_windows_is_told_before_the_file_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is closed alone Windows lets go of when it gets to it."""
    held: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if mode == 0:
            held.remove(place)
        elif place in held:
            raise PermissionError(13, "Permission denied")
        else:
            held.add(place)

    fake = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", fake)  # type: ignore[arg-type]
    monkeypatch.setattr(sys, "platform", "win32")
    path = tmp_path / "lock"
    lock = take_lock(path)
    assert lock is not None and take_lock(path) is None
    lock.close()
    assert not held
    again = take_lock(path)
    assert again is not None
    again.close()
