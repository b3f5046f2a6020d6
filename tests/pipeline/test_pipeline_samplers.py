"""The samplers' time grid and guidance, and how the API's settings become their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from torch import Tensor  # noqa: E402

from trellis_addon.core.errors import Cancelled, EngineError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import Normalization, PipelineConfig, Sampler  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout  # noqa: E402
from trellis_addon.pipeline.request import Request, request_of  # noqa: E402
from trellis_addon.pipeline.sampling.samplers import (  # noqa: E402
    SamplerSettings,
    dense_spread,
    sample,
    sampler_settings,
    sparse_spread,
    time_grid,
)
from trellis_addon.task.settings import Settings  # noqa: E402

STRUCTURE = SamplerSettings(12, 7.5, 0.7, (0.6, 1.0), 5.0)
SHAPE = SamplerSettings(12, 7.5, 0.5, (0.6, 1.0), 3.0)
TEXTURE = SamplerSettings(12, 1.0, 0.0, (0.6, 0.9), 3.0)
NORMAL = Normalization((0.0,), (1.0,))
CONFIG = PipelineConfig(
    {
        "sparse_structure": Sampler(STRUCTURE, 1e-5),
        "shape_slat": Sampler(SHAPE, 1e-5),
        "tex_slat": Sampler(TEXTURE, 1e-5),
    },
    NORMAL,
    NORMAL,
)


def test_time_grid_hits_the_intervals_ends_exactly() -> None:
    times = time_grid(12, 3.0)
    assert times.dtype == np.float64
    assert times[0] == 1 and times[-1] == 0
    assert times[8] == 0.6 and times[3] == 0.9
    for i, t in enumerate(time_grid(7, 5.0)):
        tau = 1 - Fraction(i, 7)
        assert t == pytest.approx(float(5 * tau / (1 + 4 * tau)), abs=1e-15)


def test_guided_steps_at_the_published_defaults() -> None:
    assert [settings.guided_steps() for settings in (STRUCTURE, SHAPE, TEXTURE)] == [10, 9, 0]
    assert SamplerSettings(12, 3.0, 0.0, (0.6, 0.9), 3.0).guided_steps() == 6


class Linear:
    """v = x - c, with c = 1 for the image and 0 without; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[bool, ...]] = []

    def __call__(self, x: Tensor, t: Tensor, conditional: Sequence[bool]) -> list[Tensor]:
        assert t.dtype == torch.float32 and t.shape == (1,)
        self.calls.append(tuple(conditional))
        return [x - float(sees) for sees in conditional]


def test_the_model_is_called_twice_only_inside_the_interval() -> None:
    model = Linear()
    sample(model, torch.ones(5, 2), SHAPE, sparse_spread(Layout((5,))))
    assert model.calls == [(True, False)] * 9 + [(True,)] * 3
    for strength, seen in ((1.0, (True,)), (0.0, (False,))):
        model = Linear()
        sample(model, torch.ones(5, 2), SamplerSettings(3, strength), dense_spread)
        assert model.calls == [seen] * 3


def test_spread_is_per_sample_and_of_the_right_kind() -> None:
    x = torch.randn(2, 3, 4, 4, 4)
    expected = [float(np.std(part.numpy(), ddof=1)) for part in x]
    assert dense_spread(x).flatten().tolist() == pytest.approx(expected, rel=1e-5)
    rows = torch.randn(9, 5)
    spread = sparse_spread(Layout((3, 6)))(rows)
    assert spread.shape == (9, 1)
    assert spread[2, 0].item() == pytest.approx(float(np.std(rows[:3].numpy())), rel=1e-5)
    assert spread[3, 0].item() == pytest.approx(float(np.std(rows[3:].numpy())), rel=1e-5)


def test_cancel_is_heard_at_every_step() -> None:
    model = Linear()
    progress = Progress(is_cancelled=lambda: len(model.calls) >= 4)
    with pytest.raises(Cancelled):
        sample(model, torch.ones(5, 2), TEXTURE, dense_spread, progress=progress)
    assert len(model.calls) == 4


def test_published_sampler_classes() -> None:
    params = {"steps": 4, "guidance_strength": 3.0, "guidance_interval": [0.4, 0.5]}
    assert sampler_settings("FlowEulerSampler", params, "").guided_steps() == 0
    assert sampler_settings("FlowEulerCfgSampler", params, "").guided_steps() == 4
    assert sampler_settings("FlowEulerGuidanceIntervalSampler", params, "").guided_steps() == 1
    with pytest.raises(EngineError, match='the sampler "Heun"'):
        sampler_settings("Heun", params, "here")


def test_api_settings_are_put_over_the_models_own() -> None:
    assert request_of(CONFIG, Settings()) == Request("1024_cascade", STRUCTURE, SHAPE, TEXTURE)
    settings = Settings(
        resolution=1536, sparse_structure_steps=20, shape_slat_guidance_rescale=0.25, tex_slat_guidance_strength=2
    )
    request = request_of(CONFIG, settings)
    assert request.pipeline_type == "1536_cascade" and request.resolution == 1536
    assert request.structure == SamplerSettings(20, 7.5, 0.7, (0.6, 1.0), 5.0)
    assert request.shape == SamplerSettings(12, 7.5, 0.25, (0.6, 1.0), 3.0)
    assert request.texture == SamplerSettings(12, 2.0, 0.0, (0.6, 0.9), 3.0)
    assert request_of(CONFIG, {"resolution": 512, "tex_slat_rescale_t": 1}).pipeline_type == "512"
    assert request_of(CONFIG, {"shape_slat_guidance_rescale": 0}).shape.guidance_rescale == 0
    with pytest.raises(ValueError, match="pipeline_type"):
        Request("2048", STRUCTURE, SHAPE, TEXTURE)
