"""What a task will take: against the planner of the pipeline, against published times, and learned from past runs."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import run_python

from trellis_addon.core.configuration import EIGHT_BITS_VARIABLE
from trellis_addon.jobs.job import Asset, Job, State
from trellis_addon.jobs.store import JobStore
from trellis_addon.local import estimate as module
from trellis_addon.local.estimate import Estimate, estimate, fitting_resolution, needed_bytes, seconds_of
from trellis_addon.local.machine.gpu_memory import Holder, memory_holders, read_holders
from trellis_addon.local.machine.hardware import Card
from trellis_addon.local.runs import PastRun, past_runs
from trellis_addon.pipeline.precision import precision_of
from trellis_addon.pipeline.sizes import GB, RESERVE, TYPICAL, Budget, flow_weights, usual_tokens
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings
from trellis_addon.task.task import Task

H100 = Card("NVIDIA H100 80GB HBM3", "nvidia", 0, 80 * GB, 79 * GB)


def card(gigabytes: float, free: float | None = None, name: str = "NVIDIA Test") -> Card:
    return Card(name, "nvidia", 0, int(gigabytes * GB), int((gigabytes if free is None else free) * GB))


def test_it_needs_no_torch() -> None:
    code = "import sys, trellis_addon.local.estimate, trellis_addon.local.runs; print('torch' in sys.modules)"
    told = run_python("-c", code, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    assert told.stdout.strip() == "False", told.stderr


@pytest.mark.parametrize("capability", ["8.6", "6.1"])  # computed in 16 bits, and in 32 of weights in 16
@pytest.mark.parametrize("gigabytes", [3, 4, 5, 6, 8, 10, 12, 16, 24])
@pytest.mark.parametrize("eight_bits", ["", "int8"])
def test_the_resolution_is_the_one_that_the_pipeline_would_make(
    gigabytes: float, capability: str, eight_bits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    import torch

    monkeypatch.setenv(EIGHT_BITS_VARIABLE, eight_bits)
    from trellis_addon.pipeline.costs import PUBLISHED_DECODER, PUBLISHED_FLOW
    from trellis_addon.pipeline.device.store import ModelStore, Outline
    from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
    from trellis_addon.pipeline.networks.network import full_size
    from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig, SparseUnetVaeDecoder
    from trellis_addon.pipeline.pipeline import Pipeline

    levels: dict[str, Any] = {
        "block_type": ("SparseConvNeXtBlock3d",) * 5, "up_block_type": ("SparseResBlockC2S3d",) * 4, "use_fp16": True
    }  # fmt: skip
    decoder = DecoderConfig(PUBLISHED_DECODER[0], 32, PUBLISHED_DECODER[1], **levels)
    numbers = precision_of("nvidia", capability)
    itemsize = numbers.itemsize
    weights, _ = full_size(SparseUnetVaeDecoder, decoder, torch.float32 if itemsize == 4 else None, numbers.is_packed)
    texture = replace(PUBLISHED_FLOW, in_channels=64, out_channels=32)
    torso = torch.float32 if itemsize == 4 else None
    flow, _ = full_size(SLatFlowModel, texture, torso, numbers.is_packed, eight_bits)
    outlines = {
        "flow": Outline(PUBLISHED_FLOW, flow, itemsize),
        "decoder": Outline(decoder, weights, itemsize),
    }

    class Source:
        def load(self, name: str) -> Any:
            raise AssertionError(name)

        def outline(self, name: str) -> Outline:
            return outlines["decoder" if name.endswith("decoder") else "flow"]

    budget = Budget(int(gigabytes * GB) - RESERVE)
    pipeline = Pipeline(ModelStore(Source(), torch.device("cpu"), budget), None)  # type: ignore[arg-type]
    room = pipeline._room(1024, {1024: torch.empty(1, TYPICAL[1024].context, 1)})
    for asked in (512, 1024, 1536):
        steps = [side for side in range(asked, 1023, -128) if usual_tokens(side) <= room]
        small = pipeline._room(512, {512: torch.empty(1, TYPICAL[512].context, 1)})
        expected = 0 if small < TYPICAL[512].tokens else (steps or [512])[0]
        assert fitting_resolution(budget, asked, numbers) == expected
        made = replace(card(gigabytes), capability=capability)
        assert estimate(Settings(resolution=asked), made).resolution == expected


@pytest.mark.parametrize("eight_bits", ["int8", "fp8"])
def test_weights_in_8_bits_are_planned_with(eight_bits: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the flow models are lighter, where it is not the decoders that need most; nonsense is the engine's."""
    full = {side: needed_bytes(side, Budget(8 * GB)) for side in (512, 1024, 1536)}
    small = replace(card(4), capability="8.9")
    whole = estimate(Settings(resolution=1024), small)
    monkeypatch.setenv(EIGHT_BITS_VARIABLE, eight_bits)
    for side, needed in full.items():
        saved = needed - needed_bytes(side, Budget(8 * GB))
        assert 0 <= saved <= flow_weights(2) - flow_weights(2, True)
    assert module.precision(small).weight == 2
    room = module.Budget.flow_tokens(Budget(3 * GB), module.PUBLISHED_FLOW, flow_weights(2, True), 4101)
    assert room > 2 * module.Budget.flow_tokens(Budget(3 * GB), module.PUBLISHED_FLOW, flow_weights(2), 4101)
    runs = [PastRun(TRELLIS2_MODEL, small.name, Settings(), 9.0, GB, 1024, kind) for kind in ("", eight_bits)]
    assert estimate(Settings(), small, runs[:1]).memory == estimate(Settings(), small).memory > GB
    assert estimate(Settings(), small, runs).memory == GB, "what was enough in the same numbers is enough"
    monkeypatch.setenv(EIGHT_BITS_VARIABLE, "nonsense")
    assert estimate(Settings(resolution=1024), small) == whole


def test_a_rough_shape_takes_a_part_of_the_time_and_says_nothing_of_the_whole() -> None:
    whole, rough = (estimate(Settings(rough=rough), H100) for rough in (False, True))
    assert rough.seconds[1] < 0.5 * whole.seconds[0]
    runs = [PastRun(TRELLIS2_MODEL, H100.name, Settings(rough=True), 500.0, GB, 0)]
    assert estimate(Settings(), H100, runs) == whole and estimate(Settings(rough=True), H100, runs).learned


@pytest.mark.parametrize("eight_bits", ["", "int8", "fp8"])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_the_flow_models_weights_are_those_on_meta_tensors(eight_bits: str, itemsize: int) -> None:
    torch = pytest.importorskip("torch")
    from trellis_addon.pipeline.costs import PUBLISHED_FLOW
    from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
    from trellis_addon.pipeline.networks.network import full_size

    texture = replace(PUBLISHED_FLOW, in_channels=64, out_channels=32)
    torso = torch.float32 if itemsize == 4 else None
    weights, _ = full_size(SLatFlowModel, texture, torso, eight_bits=eight_bits)
    assert flow_weights(itemsize, bool(eight_bits)) == pytest.approx(weights, rel=2e-3)


def test_the_sizes_are_those_of_the_networks() -> None:
    torch = pytest.importorskip("torch")
    from trellis_addon.pipeline.costs import PUBLISHED_DECODER, PUBLISHED_FLOW
    from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
    from trellis_addon.pipeline.networks.network import full_size
    from trellis_addon.pipeline.networks.vae_decoder import FlexiDualGridVaeDecoder
    from trellis_addon.pipeline.sizes import DECODER_PARAMETERS, FLOW_PARAMETERS

    texture = replace(PUBLISHED_FLOW, in_channels=64, out_channels=32)
    with torch.device("meta"):
        assert sum(p.numel() for p in SLatFlowModel(texture).parameters()) == FLOW_PARAMETERS
    weights, _ = full_size(
        FlexiDualGridVaeDecoder, replace(module._PUBLISHED_DECODER, use_fp16=True, num_blocks=PUBLISHED_DECODER[1])
    )
    assert weights == pytest.approx(2 * DECODER_PARAMETERS, rel=0.01)


def test_what_it_says_to_need_is_enough_and_hardly_more() -> None:
    for side in (512, 1024, 1280, 1536):
        needed = needed_bytes(side, Budget(8 * GB))
        assert fitting_resolution(Budget(8 * GB), side) == side
        assert 3 * GB < needed < 8 * GB
    for gigabytes in (4, 5, 6, 7, 8, 12):
        for asked in (512, 1024, 1536):
            found = estimate(Settings(resolution=asked), card(gigabytes))
            assert found.memory <= gigabytes * GB
            assert found.resolution == asked or needed_bytes(asked, Budget(int(gigabytes * GB) - RESERVE)) > (
                gigabytes * GB
            )


def test_a_card_without_tensor_cores_needs_more_memory_and_time_and_is_told_so() -> None:
    pascal, ampere = (replace(card(6), capability=capability) for capability in ("6.1", "8.6"))
    settings = Settings(resolution=1024)
    assert estimate(settings, ampere).warning == "" and estimate(settings, ampere).resolution == 1024
    assert estimate(settings, pascal).resolution == 1024  # a GTX 1660 is not left out
    found = estimate(settings, replace(pascal, total=5 * GB, free=5 * GB))
    assert found.resolution == 512 and "1024 usually needs" in found.warning
    pascal, ampere = (replace(device, total=16 * GB, free=16 * GB) for device in (pascal, ampere))
    assert estimate(settings, pascal).memory > 1.2 * estimate(settings, ampere).memory
    assert estimate(settings, pascal).seconds[0] > 2 * estimate(settings, ampere).seconds[0]


def test_cards_before_ampere_are_estimated_by_what_they_can() -> None:
    """In the order of what their tensor cores, or their cores in float32, do."""
    names = ("GTX 1650", "GTX 1660 Ti", "GTX 1080", "RTX 2060", "RTX 2080 Ti", "Tesla V100", "RTX 4090")
    sixteen = [estimate(Settings(resolution=512), card(16, name=f"NVIDIA {name}")).seconds[0] for name in names]
    assert sixteen == sorted(sixteen, reverse=True)


@pytest.mark.parametrize(("resolution", "published"), [(512, 3), (1024, 17), (1536, 60)])
def test_a_first_guess_holds_the_published_times_of_an_h100(resolution: int, published: float) -> None:
    """Those are sampling and decoding alone; finishing on the processor comes to them."""
    settings = Settings(resolution=resolution)
    dense = seconds_of(settings, replace(H100, name="NVIDIA H100")) - seconds_of(
        settings, replace(H100, name="other", kind="nvidia", total=10**6 * GB)
    )
    assert published / 2 < dense < published * 2
    found = estimate(settings, H100)
    assert found.seconds[0] < found.seconds[1] and not found.learned and found.runs == 0


def longer_stage(settings: Settings, device: Card) -> float:
    """Of a result's time, what the longer of sampling and finishing takes: of several results they overlap."""
    sampling, finishing = module.stages_of(settings, device)
    assert sampling > 0 and finishing > 0
    return max(sampling, finishing) / seconds_of(settings, device)


def test_more_asked_for_takes_longer() -> None:
    def high(**changes: Any) -> float:
        return estimate(Settings(changes), H100).seconds[1]

    assert high(resolution=512) < high(resolution=1024) < high(resolution=1536)
    assert high() < high(tex_slat_steps=50) and high() < high(texture_size=4096)
    assert high(number_results=3) == pytest.approx(high() + 2 * high() * longer_stage(Settings(), H100))
    slow = Card("NVIDIA GeForce RTX 3060", "nvidia", 0, 12 * GB, 12 * GB)  # whose sampling is what takes long
    three, one = (estimate(Settings(number_results=n), slow).seconds[1] for n in (3, 1))
    assert three == pytest.approx(one * (1 + 2 * longer_stage(Settings(), slow)))
    assert estimate(Settings(number_results=3), None, model=DRAFT_MODEL).seconds[0] == pytest.approx(
        3 * estimate(Settings(), None, model=DRAFT_MODEL).seconds[0]
    )
    assert estimate(Settings(), None).seconds[0] > estimate(Settings(), H100).seconds[1]


def run_of(settings: Settings, seconds: float, **changes: Any) -> PastRun:
    made = PastRun(TRELLIS2_MODEL, H100.name, settings, seconds, 6 * GB, settings.value("resolution"))
    return replace(made, **changes)


def test_it_learns_the_speed_of_the_device_from_other_settings() -> None:
    slow = 1.7
    runs = [
        run_of(settings, slow * noise * seconds_of(settings, H100))
        for settings, noise in (
            (Settings(resolution=512), 0.95), (Settings(), 1.0), (Settings(tex_slat_steps=30), 1.04),
            (Settings(texture_size=4096), 1.02), (Settings(), 9.0),  # once the machine was asleep in between
        )
    ]  # fmt: skip
    asked = Settings(resolution=1536)
    found = estimate(asked, H100, runs)
    truth = slow * seconds_of(asked, H100)
    assert found.learned and found.runs == 5
    assert found.seconds[0] < truth < found.seconds[1] < 1.6 * truth
    assert estimate(asked, card(16, name="NVIDIA GeForce RTX 5060 Ti"), runs).learned is False
    assert estimate(asked, None, runs).learned is False
    mac = Card("Apple M4 Pro", "apple", 0, 24 * GB, 12 * GB)
    assert estimate(asked, mac, [replace(runs[0], device="Apple GPU")]).runs == 1
    assert estimate(asked, None, [replace(runs[0], device="CPU")]).runs == 1
    one = estimate(asked, H100, runs[:1])
    assert one.runs == 1 and one.seconds[1] / one.seconds[0] > found.seconds[1] / found.seconds[0]


def test_memory_that_was_enough_is_enough() -> None:
    runs = [run_of(Settings(), 20.0, peak_memory=4 * GB), run_of(Settings(resolution=512), 9.0, peak_memory=2 * GB)]
    assert estimate(Settings(), H100).memory > 4 * GB
    assert estimate(Settings(), H100, runs).memory == 4 * GB
    assert estimate(Settings(resolution=1536), H100, runs).memory > 6 * GB  # nobody has made that yet


def test_a_draft_has_a_time_and_no_memory() -> None:
    found = estimate(Settings(), card(4), model=DRAFT_MODEL)
    assert found.memory == 0 and not found.warning and 0.1 < found.seconds[0] < found.seconds[1] < 10
    runs = [PastRun(DRAFT_MODEL, "CPU", Settings(), 8.0)] * 3
    learned = estimate(Settings(texture_size=4096), None, runs, model=DRAFT_MODEL)
    assert learned.learned and learned.seconds[0] > 8
    assert estimate(Settings(), None, runs).learned is False  # says nothing of the other model


def test_blender_holding_the_memory_is_told() -> None:
    asked = Settings(resolution=1536)
    assert estimate(asked, card(16, 15)).warning == ""
    blender = Holder(os.getpid(), "blender", int(9 * GB))
    found = estimate(asked, card(12, 3), holders=[blender])
    assert found.warning.startswith("Blender holds 9 of 12 GB") and found.warning.endswith(".")
    assert found.resolution < 1536
    other = estimate(asked, card(12, 3), holders=[Holder(1, "game.exe", 8 * GB)]).warning
    assert other.startswith("game.exe and others hold 9 of 12 GB")
    assert "Blender or another program holds 9 of 12 GB" in estimate(asked, card(12, 3)).warning
    # what our own worker holds is free for the next task
    worker = Holder(4711, "python", int(8.5 * GB))
    freed = estimate(asked, card(12, 3), holders=[worker], workers=[4711])
    assert freed == estimate(asked, card(12, 11.5)) and not freed.warning


def test_a_card_that_is_too_small_is_told() -> None:
    found = estimate(Settings(resolution=1536), card(6))
    assert 1024 <= found.resolution < 1536
    assert "6.9 GB" in found.warning and str(found.resolution) in found.warning
    assert "not enough even for 512" in estimate(Settings(), card(3)).warning
    assert estimate(Settings(), card(3)).resolution == 0
    assert estimate(Settings(), card(0)).warning == ""  # nobody tells its size


def test_holders_are_read_as_the_driver_writes_them() -> None:
    told = (
        "4711, 812, /opt/blender-5.0/blender\n"
        "815, 2048, C:\\Program Files\\Game, The\\game.exe\n"
        "4711, 100, /opt/blender-5.0/blender\n"
        "99, [N/A], [Not Found]\n"
        "\nNo devices were found\n"
    )
    game, blender = read_holders(told)
    assert (game.pid, game.name, game.used) == (815, "game.exe", 2048 << 20)
    assert (blender.pid, blender.name, blender.used) == (4711, "blender", 912 << 20)
    assert isinstance(memory_holders(), tuple)


def finished(store: JobStore, provenance: dict[str, Any]) -> Job:
    job = store.add(Task("A" * 100, Settings(resolution=512, seed=3)), name="frog", backend="http://127.0.0.1:1/v1")
    asset = Asset(job.folder / "asset.glb", job.name, provenance)
    for state in (State.SENDING, State.RUNNING):
        job = store.move(job, state)
    return store.move(job, State.READY, assets=(asset,))


def test_runs_are_read_from_the_finished_jobs(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    performance = {"seconds": 42.5, "device": H100.name, "peakMemory": 5 * GB, "resolution": 512, "notes": []}
    settings = Settings(resolution=512, tex_slat_steps=20).to_request()
    good = {"engine": TRELLIS2_MODEL, "settings": settings, "performance": performance}
    for provenance in (
        good,
        {**good, "performance": None},
        {**good, "performance": {**performance, "seconds": "long"}},
        {**good, "performance": {**performance, "seconds": -1}},
        {**good, "settings": {"settings": {"resolution": 700}}},
        {**good, "settings": ["odd"]},
        {**good, "engine": "other:model@1"},
        {"engine": TRELLIS2_MODEL},  # made by the remote platform
        {**good, "engine": DRAFT_MODEL, "performance": {"seconds": 0.7}},
    ):
        finished(store, provenance)
    draft, run = past_runs(store)
    assert run == PastRun(TRELLIS2_MODEL, H100.name, Settings(resolution=512, tex_slat_steps=20), 42.5, 5 * GB, 512)
    assert (draft.model, draft.seconds, draft.device) == (DRAFT_MODEL, 0.7, "")
    assert isinstance(estimate(Settings(), H100, (draft, run)), Estimate)
    assert estimate(Settings(), H100, (draft, run)).runs == 1


def test_a_store_that_cannot_be_read_teaches_nothing(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    (tmp_path / "jobs.sqlite3").write_bytes(b"not a database at all, but long enough to be looked at" * 40)
    assert past_runs(store) == ()


def test_what_the_user_allows_of_the_memory_is_all_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Settings(resolution=1536)
    assert estimate(asked, card(24)).resolution == 1536
    monkeypatch.setenv("TRELLIS2_MEMORY", "5")
    assert 512 < estimate(asked, card(24)).resolution < 1536
    monkeypatch.setenv("TRELLIS2_MEMORY", "much")
    assert estimate(asked, card(24)).resolution == 1536
