"""How long a task will take on a device and how much of its memory, before it is begun.

Time is arithmetic: what the stages cost (pipeline.costs) at the speed that such a card is known for, and finishing on
the processor. Once there are past runs on the same device, their own times correct it. Memory is what the pipeline
itself plans with (pipeline.sizes). No torch, no device, no file is touched: an interface may ask at every redraw.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.configuration import configuration
from ..core.errors import FieldError
from ..core.messages import message
from ..pipeline.configs import DecoderConfig
from ..pipeline.costs import PUBLISHED_DECODER, PUBLISHED_FLOW, PUBLISHED_SAMPLERS, stage_costs
from ..pipeline.precision import FLOAT32, Precision, precision_of
from ..pipeline.request import TYPE_OF_RESOLUTION, Request, with_settings
from ..pipeline.sizes import (
    DECODER_PARAMETERS,
    GB,
    IMAGE_MODEL_PARAMETERS,
    IMAGE_MODEL_PEAK,
    RESERVE,
    SCORES_PEAK,
    TYPICAL,
    VOXELS_PER_TOKEN,
    Budget,
    decoder_bytes,
    flow_bytes,
    flow_weights,
    usual_tokens,
)
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings
from ..weights.eight_bits import asked_for, suits

if TYPE_CHECKING:
    from .machine.gpu_memory import Holder
    from .machine.hardware import Card
    from .runs import PastRun

LOWEST, STEP = 1024, 128  # as the pipeline lowers a cascade's resolution
FEWEST = 3  # runs that a spread can be told of
UNLEARNED = (0.5, 2.5)  # how far off a first estimate may be
LEARNED = (0.7, 1.4)  # ... and one that a run or two have corrected

_USUAL = precision_of("nvidia", "8.0")
_PUBLISHED_DECODER = DecoderConfig(
    model_channels=PUBLISHED_DECODER[0],
    latent_channels=32,
    num_blocks=PUBLISHED_DECODER[1],
    block_type=("SparseConvNeXtBlock3d",) * 5,
    up_block_type=("SparseResBlockC2S3d",) * 4,
)


@dataclass(frozen=True)
class Estimate:
    """What a task will probably take.

    `seconds` (low, high) are of all its results together; `memory` bytes of the device that it needs at the least, 0
    where it needs none; `resolution` the one that will really be made, 0 where not even the lowest fits. `learned`
    says that `runs` past runs on this device were the measure, else it is a guess by the kind of device. `warning` is
    a sentence, empty where all is well.
    """

    seconds: tuple[float, float]
    memory: int = 0
    resolution: int = 0
    learned: bool = False
    runs: int = 0
    warning: str = ""


def estimate(
    settings: Settings,
    device: Card | None,
    runs: Sequence[PastRun] = (),
    *,
    model: str = TRELLIS2_MODEL,
    holders: Sequence[Holder] = (),
    workers: Collection[int] = (),
) -> Estimate:
    """The estimate of a task with these settings on `device`; None is the processor.

    `runs` are those of `runs.past_runs`, `holders` those of `holders.memory_holders`; `workers` are process ids whose
    share of the memory counts as free, because they are ours and would use it themselves.
    """
    asked = settings.value("resolution")
    if model == DRAFT_MODEL:
        own = [run for run in runs if run.model == DRAFT_MODEL and _is_alike(run, settings)]
        predicted = _draft_seconds(settings)
        ratios = [run.seconds / _draft_seconds(run.settings) for run in own]
        whole = predicted * settings.value("number_results")
        return Estimate(_span(whole, ratios), 0, asked, bool(ratios), len(ratios))
    own = [run for run in runs if run.model == TRELLIS2_MODEL and _same_device(run.device, device)]
    own = [run for run in own if _is_alike(run, settings)]
    ours = sum(holder.used for holder in holders if holder.pid in workers)
    budget = _budget(device, ours)
    numbers = precision(device)
    made = asked if budget is None else fitting_resolution(budget, asked, numbers)
    memory = needed_bytes(made or asked, budget, numbers)
    held = eight_bits(device)
    seen = [run.peak_memory for run in own if run.peak_memory and run.resolution >= made and run.eight_bits == held]
    if seen and made:  # what was enough before is enough
        memory = min(memory, max(seen))
    ratios = [run.seconds / seconds_of(run.settings, device, run.resolution) for run in own]
    sampling, finishing = stages_of(settings, device, made)
    # the next is sampled while one is finished
    whole = sampling + finishing + (settings.value("number_results") - 1) * max(sampling, finishing)
    warning = _warning(device, asked, made, ours, holders, workers)
    return Estimate(_span(whole, ratios), memory, made, bool(ratios), len(ratios), warning)


def seconds_of(settings: Mapping[str, Any], device: Card | None, made: int = 0) -> float:
    """Seconds of one result, sampling and finishing, by arithmetic alone; `made` is the resolution, 0 the one set."""
    return sum(stages_of(settings, device, made))


def stages_of(settings: Mapping[str, Any], device: Card | None, made: int = 0) -> tuple[float, float]:
    """Seconds that the device and the processor take for one result."""
    values = settings if isinstance(settings, Settings) else Settings(settings)
    side = made or values.value("resolution")
    is_fast = configuration().fast.lower() in ("1", "true")
    structure, shape, texture = (
        with_settings(own.replace(reuses=is_fast), name, settings) for name, own in PUBLISHED_SAMPLERS.items()
    )
    request = Request(TYPE_OF_RESOLUTION[values.value("resolution")], structure, shape, texture)
    costs = stage_costs(request, side)
    if values.value("rough"):
        return sum(costs[stage] for stage in ("image", "structure")) / (speed(device) * 1e12) + _FIXED, 0.0
    operations = sum(costs.values())
    dense = 2 * VOXELS_PER_TOKEN * usual_tokens(side) / 1e6  # million triangles before finishing
    texels = values.value("texture_size") ** 2 / 1e6
    sampling = operations / (speed(device) * 1e12) + _FIXED
    return sampling, _PER_MILLION_FACES * dense + _PER_MILLION_TEXELS * texels


# Seconds of the processor, as benchmarks/geometry/finishing.py has them on two cores.
_PER_MILLION_FACES = 5.0
_PER_MILLION_TEXELS = 1.0
_FIXED = 2.0  # loading networks that the system still has in memory

# Teraflops that the whole of a run comes to on a card. The published times of an H100 (3, 17 and 60 s) make it 100 to
# 190; of consumer cards, about 40 % of what their tensor cores do in 16 bits with sums in 32. The first match holds.
_CARDS = (
    ("h200", 130.0), ("h100", 125.0), ("b200", 200.0), ("a100", 80.0), ("l40", 70.0), ("6000 ada", 70.0),
    ("pro 6000", 95.0), ("a6000", 55.0), ("v100", 40.0), ("titan v", 40.0), ("t4", 12.0),
    ("5090", 85.0), ("5080", 45.0), ("5070 ti", 35.0), ("5070", 25.0), ("5060 ti", 19.0), ("5060", 16.0),
    ("4090", 66.0), ("4080", 39.0), ("4070 ti", 32.0), ("4070", 23.0), ("4060 ti", 17.0), ("4060", 12.0),
    ("3090", 28.0), ("3080", 24.0), ("3070", 16.0), ("3060", 10.0),
    ("titan rtx", 40.0), ("2080 ti", 20.0), ("2080", 15.0), ("2070", 12.0), ("2060", 10.0),
    ("1660", 2.7), ("1650", 1.6), ("1080 ti", 6.0), ("1080", 4.5), ("1070", 3.3), ("1060", 2.2), ("p100", 5.0),
    ("7900", 30.0), ("9070", 35.0), ("mi300", 90.0),
    ("m4 max", 7.0), ("m3 max", 6.0), ("ultra", 9.0), ("max", 5.0), ("m4 pro", 3.5), ("m5", 4.0),
)  # fmt: skip
_BY_KIND = {"nvidia": 0.9, "amd": 0.6, "apple": 0.12, "intel": 0.3}  # per gigabyte, for a card of another name
_PER_CORE = 0.04  # of a processor, in 32 bits
_IN_FLOAT32 = 0.35  # of that, for a card that has nothing faster


def speed(device: Card | None) -> float:
    """Teraflops that a run comes to on a device, as far as its name or its size tell."""
    if device is None:
        return _PER_CORE * (os.cpu_count() or 4)
    name = device.name.lower()
    known = next((value for part, value in _CARDS if part in name), 0.0)
    slower = _IN_FLOAT32 if precision(device).flows == FLOAT32 else 1.0
    return known or max(1.0, slower * _BY_KIND.get(device.kind, 0.3) * device.total / GB)


def precision(device: Card | None) -> Precision:
    """Which numbers a device computes in; None is the processor."""
    return precision_of("cpu") if device is None else precision_of(device.kind, device.capability, device.name)


def eight_bits(device: Card | None = None) -> str:
    """The kind of 8 bits that a device would hold weights in, "" for none; what is no kind is refused by the engine."""
    try:
        asked = asked_for()
    except FieldError:
        return ""
    return suits(asked, "cpu" if device is None else device.kind, "" if device is None else device.capability)


def needed_bytes(resolution: int, budget: Budget | None = None, numbers: Precision = _USUAL) -> int:
    """Bytes of the device for an object as they usually are, with one network on it at a time, and the reserve.

    `numbers` are those that the device computes in.
    """
    workspace = (budget or Budget(16 * GB)).workspace
    flow, decoder = flow_weights(numbers.weight, bool(eight_bits())), numbers.weight * DECODER_PARAMETERS
    context = TYPICAL[512 if resolution <= 512 else 1024].context
    tokens = usual_tokens(resolution)
    return RESERVE + max(
        4 * IMAGE_MODEL_PARAMETERS + IMAGE_MODEL_PEAK,
        flow + flow_bytes(PUBLISHED_FLOW, 4096, TYPICAL[512].context, numbers.itemsize),
        flow + flow_bytes(PUBLISHED_FLOW, tokens, context, numbers.itemsize),
        decoder + decoder_bytes(_PUBLISHED_DECODER, tokens, numbers.itemsize, workspace),
    )


def fitting_resolution(budget: Budget, asked: int, numbers: Precision = _USUAL) -> int:
    """What the pipeline makes of `asked` within a budget, of an object as they usually are; 0 when nothing fits."""
    if TYPICAL[512].tokens > _room(budget, TYPICAL[512].context, numbers):
        return 0
    if asked > 512:
        room = _room(budget, TYPICAL[1024].context, numbers)
        for resolution in range(asked, LOWEST - 1, -STEP):
            if usual_tokens(resolution) <= room:
                return resolution
    return 512


def _room(budget: Budget, context: int, numbers: Precision) -> int:
    """The most latents that the models can take; `pipeline.Pipeline` asks its own networks the same."""
    return min(
        budget.flow_tokens(PUBLISHED_FLOW, flow_weights(numbers.weight, bool(eight_bits())), context, numbers.itemsize),
        budget.decoder_tokens(_PUBLISHED_DECODER, numbers.weight * DECODER_PARAMETERS, numbers.itemsize),
    )


def _budget(device: Card | None, ours: int) -> Budget | None:
    """What the pipeline may use of a device; None where nobody tells its size."""
    if device is None or not device.total:
        return None
    if allowed := _allowed():
        return Budget(allowed)
    if device.kind == "apple":  # Metal recommends three quarters of what it shares with the processor
        return Budget(max(device.total * 3 // 4 - RESERVE - SCORES_PEAK, 0))
    free = min(device.free + ours, device.total) if device.free or ours else device.total
    return Budget(max(free - RESERVE - (SCORES_PEAK if device.kind == "amd" else 0), 0))


def _allowed() -> int:
    """The bytes that TRELLIS2_MEMORY, in GiB, allows; 0 without it. What is no number is refused by the engine."""
    try:
        gibibytes = float(configuration().memory or 0)
    except ValueError:
        return 0
    return int(gibibytes * GB) if 1.0 <= gibibytes <= 10_000 else 0


def _span(whole: float, ratios: Sequence[float]) -> tuple[float, float]:
    """Low and high for all results: the median of measured by predicted, spread as it was seen to spread."""
    if not ratios:
        return whole * UNLEARNED[0], whole * UNLEARNED[1]
    middle = statistics.median(ratios)
    low, high = middle * LEARNED[0], middle * LEARNED[1]
    if len(ratios) >= FEWEST:
        # The median distance from the median, as a factor: one run that waited for something else does not count.
        away = statistics.median(abs(math.log(ratio / middle)) for ratio in ratios)
        factor = math.exp(max(2.0 * away, 0.1))
        low, high = middle / factor, middle * factor
    return whole * low, whole * high


def _same_device(told: str, device: Card | None) -> bool:
    """Whether a run's device is this one: engines tell a card's name, perhaps with its number."""
    told = told.lower()
    if device is None:
        return told.startswith(("cpu", "processor"))
    if device.kind == "apple":  # there is one, and Metal does not tell its name
        return "apple" in told or told.startswith("mps")
    return bool(device.name) and device.name.lower() in told


def _is_alike(run: PastRun, settings: Settings) -> bool:
    """Whether a run says anything of a task: rough shapes are another kind of work."""
    return bool(run.settings.value("rough") == settings.value("rough"))


def _draft_seconds(settings: Settings) -> float:
    """Seconds of a draft on two cores: its textures are nearly all of it."""
    if settings.value("rough"):
        return 0.2
    return 0.2 + 0.06 * settings.value("texture_size") ** 2 / 1e6


def _warning(
    device: Card | None, asked: int, made: int, ours: int, holders: Sequence[Holder], workers: Collection[int]
) -> str:
    if device is None or not device.total:
        return ""
    needed = needed_bytes(asked, numbers=precision(device))
    total = device.total / GB
    if device.kind != "apple" and device.free and made < asked and needed <= device.total:
        held = (device.total - device.free - ours) / GB
        if held > 1:
            return _held(held, total, holders, workers)
    if not made:
        return message(
            "{device} has {total:.0f} GB of memory, not enough even for 512: choose the draft, or another device.",
            device=device.name,
            total=total,
        )
    if made < asked:
        return message(
            "{asked} usually needs {needed:.1f} GB and {device} has {total:.0f}: {made} will be made.",
            asked=asked,
            needed=needed / GB,
            device=device.name,
            total=total,
            made=made,
        )
    return ""


def _held(held: float, total: float, holders: Sequence[Holder], workers: Collection[int]) -> str:
    others = sorted((holder for holder in holders if holder.pid not in workers), key=lambda holder: -holder.used)
    if others and others[0].pid == os.getpid():
        return message(
            "Blender holds {held:.0f} of {total:.0f} GB of the card: save and close heavy scenes, and "
            "switch viewports away from rendered shading.",
            held=held,
            total=total,
        )
    if others and others[0].name:
        return message(
            "{program} and others hold {held:.0f} of {total:.0f} GB of the card: close what you do not need.",
            program=others[0].name,
            held=held,
            total=total,
        )
    return message(
        "Blender or another program holds {held:.0f} of {total:.0f} GB of the card: save and close heavy "
        "scenes, and switch viewports away from rendered shading.",
        held=held,
        total=total,
    )
