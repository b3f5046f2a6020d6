"""The pipeline on a device, where there is none: nothing is left behind on the CPU, and nobody waits at each step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import disc
from pretend_device import pretend_cuda

from devtools.pipeline.make_small import make_small
from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.pipeline.change import change
from trellis_addon.pipeline.checkpoint import safetensors_file
from trellis_addon.pipeline.device import attention_choice
from trellis_addon.pipeline.device.store import choose_device
from trellis_addon.pipeline.pipeline import Pipeline, rough_of
from trellis_addon.pipeline.result import Latents
from trellis_addon.task.region import Region

FEW = {f"{kind}_steps": 2 for kind in ("sparse_structure", "shape_slat", "tex_slat")}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("weights"))


@pytest.fixture(autouse=True)
def _read_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """safetensors copies to a device by code of its own, which knows real ones only."""
    monkeypatch.setattr(safetensors_file, "_named", lambda device: "cpu")
    monkeypatch.setattr(attention_choice, "SHAPE", (1, 64, 2, 32))


def test_the_pretended_device_refuses_what_a_real_one_does() -> None:
    with torch.inference_mode(), pretend_cuda() as waits:
        a = torch.arange(6.0, device="cuda").view(2, 3)
        assert a.device.type == "cuda" and not waits
        with pytest.raises(RuntimeError, match="of the CPU"):
            a + torch.zeros(3)
        with pytest.raises(RuntimeError, match="of the CPU"):
            a[torch.tensor([0])]
        assert (a + 1).sum().item() == 21 and sum(waits.values()) == 1


@pytest.mark.parametrize("resolution", [512, 1536])
def test_every_stage_runs_on_a_device(weights: Path, resolution: int) -> None:
    settings = {"resolution": resolution, **FEW}
    expected = Pipeline.from_folder(weights, device="cpu", dtype="float32").run(disc(), settings, seed=3)
    with pretend_cuda():
        pipeline = Pipeline.from_folder(weights, device="cuda", dtype="float32")
        result = pipeline.run(disc(), settings, seed=3)
        again = pipeline.decode(result.latents)
        pipeline.retexture(result.latents, disc(), settings, seed=4)
    assert np.array_equal(result.faces, expected.faces)
    assert np.abs(result.vertices - expected.vertices).max() < 1e-5
    assert np.array_equal(result.attributes, again.attributes)


def test_no_step_waits_for_the_device(weights: Path) -> None:
    counted = []
    for steps in (2, 4):
        settings = {"resolution": 512, **{f"{kind}_steps": steps for kind in ("sparse_structure", "shape_slat")}}
        with pretend_cuda() as waits:
            Pipeline.from_folder(weights, device="cuda").run(disc(), {**settings, "tex_slat_steps": steps}, seed=3)
            counted.append(dict(waits))
    assert counted[0] == counted[1] and sum(counted[0].values()) < 60


def test_a_device_that_is_not_there_is_told_with_how_many_are() -> None:
    with pretend_cuda():
        assert choose_device("cuda:0").index == 0
        with pytest.raises(EngineError, match='no device "cuda:3": PyTorch sees 1'):
            choose_device("cuda:3")


def test_rough_shapes_views_and_changes_run_on_a_device_too(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What decoding does is seen above; here it gives the latents back."""
    settings = {"resolution": 512, **{name: 1 for name in FEW}}
    monkeypatch.setattr(Pipeline, "_decode", lambda self, latents, notes, progress: latents)
    pictures = {"back": disc()}

    def made(device: str) -> list[Latents]:
        pipeline = Pipeline.from_folder(weights, device=device, dtype="float32")
        rough = rough_of(pipeline.rough_all(disc(), settings, {3: Progress()}, views=pictures)[3])
        samples = pipeline.shape_all(disc(), settings, {3: Progress()}, views=pictures, rough=rough)
        whole: Any = pipeline.paint(samples[3])
        region = Region("box", (-0.5, 0.0, -0.5, 0.5, 0.5, 0.5))
        changed: Any = change(pipeline, whole, region, disc(), settings, seed=9)
        return [whole, changed]

    expected = made("cpu")
    with pretend_cuda():
        found = made("cuda")
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours.coords, theirs.coords)
        assert torch.allclose(ours.texture, theirs.texture, atol=1e-4)
