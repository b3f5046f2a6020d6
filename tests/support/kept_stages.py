"""Latents written by hand, and a service whose engine keeps them: for the tests of going on from what was kept."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import service_tools
from fault_server import small_glb
from service_tools import FakeEngine, Running

from trellis_addon.core.progress import Progress
from trellis_addon.engines import registry
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.latents import describe_making
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import TRELLIS2_MODEL

ROWS = 40


def latents_file(
    *,
    resolution: str = "512",
    kind: str = "512",
    coords: Any = None,
    shape: Any = None,
    texture: Any = None,
    metadata: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    length: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A safetensors file of latents, written by hand; sound unless told otherwise."""
    places = np.stack([np.zeros(ROWS), np.arange(ROWS) % 32, np.arange(ROWS) // 32, np.full(ROWS, 5)], 1)
    tensors = {
        "coords": np.asarray(places if coords is None else coords, "<i4"),
        "shape": np.asarray(np.linspace(-1, 1, ROWS * 8).reshape(ROWS, 8) if shape is None else shape, "<f4"),
        "texture": np.asarray(np.ones((ROWS, 8)) if texture is None else texture, "<f4"),
    }
    entries: dict[str, Any] = {
        "__metadata__": {"resolution": resolution, "pipeline_type": kind, **(metadata or {})},
    }
    body = b""
    for name, array in tensors.items():
        span = [len(body), len(body) + array.nbytes]
        dtype = "I32" if name == "coords" else "F32"
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        body += array.tobytes()
    for name, changes in (header or {}).items():
        entries[name] = {**entries.get(name, {}), **changes} if isinstance(changes, dict) else changes
    text = json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body + tail


# What is wrong with a file, by what it is called here
WRONG: dict[str, dict[str, Any]] = {
    "grid": {"resolution": "1024"},
    "resolution": {"resolution": "1e3", "kind": "1024_cascade"},
    "kind": {"kind": "../../x"},
    "outside": {"coords": np.full((ROWS, 4), 32)},
    "negative": {"coords": -np.ones((ROWS, 4))},
    "batch": {"coords": np.arange(ROWS * 4).reshape(ROWS, 4) % 32},
    "twice": {"coords": np.zeros((ROWS, 4))},
    "rows": {"texture": np.ones((ROWS - 1, 8))},
    "nothing": {"coords": np.zeros((0, 4)), "shape": np.zeros((0, 8)), "texture": np.zeros((0, 8))},
    "channels": {"shape": np.ones((ROWS, 65))},
    "flat": {"shape": np.ones(ROWS)},
    "not a number": {"shape": np.full((ROWS, 8), np.nan)},
    "infinite": {"texture": np.full((ROWS, 8), np.inf)},
    "dtype": {"header": {"shape": {"dtype": "F64"}}},
    "size": {"header": {"shape": {"shape": [ROWS, 9]}}},
    "huge": {"header": {"shape": {"shape": [2**62, 2**62]}}},
    "negative size": {"header": {"shape": {"shape": [-1, -1]}}},
    "overlap": {"header": {"texture": {"data_offsets": [0, ROWS * 32]}}},
    "beyond": {"header": {"texture": {"data_offsets": [ROWS * 48, ROWS * 48 + 2**40]}}},
    "odd": {"header": {"texture": 5}},
    "another tensor": {"header": {"more": {"dtype": "F32", "shape": [0, 1], "data_offsets": [0, 0]}}},
    "metadata": {"metadata": {"made": 5}},
    "making": {"metadata": {"made": "[]"}},
    "making's settings": {"metadata": {"made": '{"settings": {"settings": {"resolution": 3}}}'}},
    "making's seed": {"metadata": {"made": '{"seed": -1}'}},
    "notes": {"metadata": {"made": json.dumps({"notes": ["x" * 501]})}},
    "tail": {"tail": b"\0"},
    "header": {"length": 2**63},
    "long header": {"length": 2**20},
    "no header": {"length": 0},
}


def data_uri(data: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


class KeepingEngine(FakeEngine):
    """Tells in its GLB what it was given, and keeps latents."""

    model = TRELLIS2_MODEL

    def generate(self, order: Order, progress: Progress) -> Made:
        settings, seed = order.settings, order.seed
        self.given = [*getattr(self, "given", []), (order.image is not None, dict(settings), seed, order.latents)]
        facts = {"device": "Test", "peakMemory": 5, "resolution": 512, "notes": ["It is a test."]}
        return Made(small_glb(seed), latents_file(metadata={"made": describe_making(seed, settings, ())}), facts)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobStore:
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "jobs"))
    return JobStore()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service that has TRELLIS.2, as far as it can be told from outside."""
    monkeypatch.setattr(registry, "trellis2_available", lambda: True)
    monkeypatch.setattr(service_tools, "FakeEngine", KeepingEngine)
    running = Running()
    yield running
    running.close()


@pytest.fixture
def place(run: Running, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", service_tools.TOKEN)
    return f"{run.base}/v1"
