"""The command for the day there is a card, on the processor and at small sizes: it must not fail on that day."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

import torch
from conftest import ROOT, run_python

from benchmarks import gpu
from benchmarks import pipeline as whole

TINY = ("--device", "cpu", "--tiny")
PATHS = os.pathsep.join(filter(None, sys.path))


@pytest.mark.once
def test_it_measures_line_by_line_and_keeps_all_of_it(tmp_path: Path) -> None:
    """Without the asset and the fixtures, which have tests of their own and take seconds."""
    told = tmp_path / "gpu.json"
    parts = ("passes", "backends", "precision")
    script = str(ROOT / "benchmarks" / "gpu.py")
    done = run_python(script, *TINY, "--json", str(told), "--only", *parts, PYTHONPATH=PATHS, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(told.read_text(encoding="utf-8"), parse_constant=pytest.fail)  # NaN is no JSON
    assert found["computes in"] == "float32" and list(found["parts"]) == list(parts)
    rows = {part: found["parts"][part]["found"] for part in parts}
    assert all(not found["parts"][part]["broken off"] for part in parts)
    assert [row["tokens"] for row in rows["passes"] if "ms" in row] == [60, 120]
    assert sum("kernel" in row for row in rows["passes"]) == 2 * gpu.KERNELS
    flash = [row for row in rows["backends"] if row["backend"] == "FLASH_ATTENTION"]
    assert len(flash) == 2 and all(row["error"] < 1e-5 for row in flash)
    off = {row["torso"]: row["relative error"] for row in rows["precision"]}
    eight = [off[f"bfloat16, weights in {kind}"] for kind in ("int8", "fp8")]
    assert off["float32"] == 0 < off["float16"] < off["bfloat16"] < eight[0] < 0.05 and eight[0] < eight[1] < 0.2
    fused = [row for row in rows["backends"] if row["backend"].startswith("fused")]
    assert len(fused) == 4 and all(row["error of what is allowed"] <= 1 and row["ms"] > 0 for row in fused)
    lines = done.stdout.splitlines()
    assert any("FLASH_ATTENTION" in line for line in lines)


@pytest.mark.once
def test_whole_runs_and_caps_come_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at full size on that day is gone through here with small networks: no line of it is new then."""
    for name in ("NETWORKS", "TYPICAL"):
        monkeypatch.setattr(whole, name, dict(getattr(whole, name)))
    monkeypatch.setattr(gpu.Setup, "resolutions", (512,))
    setup = gpu.Setup(torch.device("cpu"), Path(), True)
    (cap,) = gpu.caps(setup)
    assert cap["outcome"] == "made" and cap["cap GB"] == 6
    stages = {row["stage"]: row for row in gpu.runs(setup)}
    assert {"image", "structure", "shape 512", "texture", "shape decoder", "mesh", "all"} <= set(stages)
    assert stages["all"]["on an H100"] == 3


def test_a_part_that_takes_too_long_is_broken_off(capfd: pytest.CaptureFixture[str]) -> None:
    found = gpu.measure_apart("precision", list(TINY), 0.05)
    assert "were over" in found["broken off"] and found["found"] == []
    assert "BROKEN OFF" in capfd.readouterr().out


def test_all_parts_together_stay_under_eight_minutes() -> None:
    assert sum(limit for _, limit in gpu.PARTS.values()) < 480
