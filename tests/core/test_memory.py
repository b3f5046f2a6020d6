"""Main memory, as each system says it: the others' words and library are stand-ins."""

from __future__ import annotations

import ctypes
import os
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from trellis_addon.core.machine import memory
from trellis_addon.core.machine.memory import machine_memory

GIB = 2**30


def test_this_machine_has_some() -> None:
    total, free = machine_memory()
    assert 0 < free < total and total > GIB / 2


def test_windows_says_it_without_sysconf(monkeypatch: pytest.MonkeyPatch) -> None:
    def status(pointer: Any) -> int:
        told = pointer._obj
        assert told.length == ctypes.sizeof(told) == 64, "as MEMORYSTATUSEX"
        told.total, told.free = 128 * GIB, 100 * GIB
        return 1

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "sysconf", raising=False)
    kernel = SimpleNamespace(GlobalMemoryStatusEx=status)
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    assert machine_memory() == (128 * GIB, 100 * GIB)


VM_STAT = """Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10000.
Pages active:                            400000.
Pages inactive:                           20000.
Pages speculative:                         3000.
Pages purgeable:                            400.
"Translation faults":                 123456789.
"""


@pytest.mark.parametrize("is_silent", [False, True])
def test_macos_says_it_by_its_tools(is_silent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"sysctl": f"{64 * GIB}\n", "vm_stat": VM_STAT}
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(memory, "ask", lambda command, _: None if is_silent else told[os.path.basename(command[0])])
    assert machine_memory() == ((0, 0) if is_silent else (64 * GIB, 33400 * 16384))
