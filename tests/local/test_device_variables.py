"""How PyTorch is to use the device is said in the environment of the processes that load it, unless the user has."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from trellis_addon.core.configuration import LOCAL_VARIABLE, PYTHON_VARIABLE
from trellis_addon.runtime import child as child_module
from trellis_addon.runtime.child import start_child
from trellis_addon.runtime.device_variables import device_variables

CUDA, ROCM, FLASH = "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"


def test_each_system_is_told_what_it_has() -> None:
    assert device_variables({}, "linux") == {
        FLASH: "1",
        CUDA: "expandable_segments:True",
        "PYTORCH_ALLOC_CONF": "expandable_segments:True",
    }
    assert device_variables({}, "win32") == device_variables({}, "darwin") == {FLASH: "1"}


@pytest.mark.parametrize("name", [CUDA, ROCM, "PYTORCH_ALLOC_CONF"])
def test_what_the_user_has_set_holds(name: str) -> None:
    assert device_variables({name: "max_split_size_mb:64"}, "linux") == {FLASH: "1"}
    assert device_variables({name: "", FLASH: "0"}, "linux") == {}


@pytest.mark.parametrize("is_local", [False, True])
def test_a_process_gets_them_and_this_one_does_not(is_local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that prints its environment, started as the worker and the doctor are."""
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    monkeypatch.delenv(LOCAL_VARIABLE, raising=False)
    for name in (CUDA, ROCM, FLASH, "PYTORCH_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    prints = "import json, os; print(json.dumps(dict(os.environ)))"
    start = child_module._start
    monkeypatch.setattr(child_module, "_start", lambda command, streams: start([sys.executable, "-c", prints], streams))
    child = start_child(".cli", [], is_local=is_local, stdout=subprocess.PIPE)
    said, _ = child.communicate()
    found = json.loads(said)
    assert {name: found[name] for name in device_variables({})} == device_variables({})
    assert FLASH not in os.environ and CUDA not in os.environ
