"""Everything that wants to be known on the day there is a card, in one command of at most eight minutes.

    python benchmarks/gpu.py [--device auto] [--golden FOLDER] [--json gpu.json] [--only PART ...] [--tiny]

Part by part, the most important first: the fixtures on the device, an asset of small weights through engine and
finishing, one pass of each network at full size (random weights; nothing is downloaded) with its time, speed, memory
against plan and largest kernels, the backends of attention, the decoders, the error of 16 bits against 32 at full
depth, caps of memory, and whole runs. Each part is a process of its own with a limit of its own: one that hangs or
takes the driver down leaves the others their time. Lines come as they are made, and all go into a JSON file at the end.
`--tiny` runs all of it at small sizes on any device, every part: to try the command itself.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import pipeline as whole  # noqa: E402
from devtools.pipeline.check import check_fixture  # noqa: E402
from devtools.pipeline.golden.fixtures import fixture_names  # noqa: E402
from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.core.machine.device_faults import is_out_of_memory  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.pipeline import costs  # noqa: E402
from trellis_addon.pipeline.checkpoint.eight_bits import quantised  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import IMAGE_MODEL, Normalization, PipelineConfig, Sampler  # noqa: E402
from trellis_addon.pipeline.device.fused_choice import compared  # noqa: E402
from trellis_addon.pipeline.device.memory import GB, RESERVE, TYPICAL, Budget, decoder_bytes, device_budget, flow_bytes  # noqa: E402
from trellis_addon.pipeline.device.store import ModelStore, choose_device, device_precision  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout, attend, rope_phases  # noqa: E402
from trellis_addon.pipeline.networks.dinov3 import DinoConfig, DINOv3  # noqa: E402
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.network import DTYPES, EIGHT  # noqa: E402
from trellis_addon.pipeline.networks.sparse import SparseTensor, VoxelGrid  # noqa: E402
from trellis_addon.pipeline.networks.structure_decoder import SparseStructureDecoder, StructureDecoderConfig  # noqa: E402
from trellis_addon.pipeline.networks.structure_flow import SparseStructureFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowTransformer  # noqa: E402
from trellis_addon.pipeline.networks.vae_decoder import FlexiDualGridVaeDecoder, SparseUnetVaeDecoder  # noqa: E402
from trellis_addon.pipeline.numerics import exactly  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402
from trellis_addon.weights.eight_bits import KINDS  # noqa: E402

KERNELS = 15  # that are named
CAPS = (6, 8, 12)  # GB


@dataclass(frozen=True)
class Setup:
    """Where to measure, and how large: `tokens` of the passes, `flow` the model's sizes, `repeats` of what is timed."""

    device: torch.device
    golden: Path
    is_tiny: bool

    @property
    def tokens(self) -> tuple[int, ...]:
        return (60, 120) if self.is_tiny else (2400, 9600, 22000)

    @property
    def resolutions(self) -> tuple[int, ...]:
        return (512, 1024) if self.is_tiny else (512, 1024, 1536)

    @property
    def flow(self) -> Any:
        small = {"model_channels": 96, "num_heads": 2, "num_blocks": 3, "cond_channels": 32, "mlp_ratio": 2.0}
        return replace(costs.PUBLISHED_FLOW, **small) if self.is_tiny else costs.PUBLISHED_FLOW

    @property
    def torso(self) -> torch.dtype:
        return DTYPES[device_precision(self.device).flows]

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, work: Callable[[], object], repeats: int = 3) -> float:
        """Of one call, the shortest of some after a first one."""
        work()
        found = []
        for _ in range(1 if self.is_tiny else repeats):
            self.wait()
            began = time.perf_counter()
            work()
            self.wait()
            found.append(time.perf_counter() - began)
        return min(found)

    def peak(self, work: Callable[[], object]) -> float:
        """GB beside what is there already; not a number where the device does not tell."""
        if self.device.type != "cuda":
            return float("nan")
        before = torch.cuda.memory_allocated(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        self.wait()
        return (torch.cuda.max_memory_allocated(self.device) - before) / GB


Found = dict[str, Any]


def fixtures(setup: Setup) -> Iterator[Found]:
    """What the reference computed, on this device."""
    for name in fixture_names(setup.golden):
        verdict = check_fixture(setup.golden, name, setup.device)
        yield {"fixture": name, "passes": verdict.passed, "difference": verdict.difference, "why": verdict.reason}


def asset(setup: Setup) -> Iterator[Found]:
    """An asset of small weights, from a picture to a GLB, by the engine and with finishing, as a worker makes it."""
    from PIL import Image, ImageDraw

    from trellis_addon.core.configuration import overrule
    from trellis_addon.engines.trellis2 import Trellis2Engine

    image = Image.new("RGBA", (256, 256))
    ImageDraw.Draw(image).ellipse((30, 30, 220, 220), (200, 120, 60, 255))
    overrule(device=str(setup.device))
    steps = 1 if setup.is_tiny else 12
    settings = Settings(
        texture_size=1024,
        decimation_target=100_000,
        sparse_structure_steps=steps,
        shape_slat_steps=steps,
        tex_slat_steps=steps,
        resolution=512,
    )
    with tempfile.TemporaryDirectory() as folder:
        engine = Trellis2Engine(make_small(Path(folder)))
        for resolution in (512,) if setup.is_tiny else (512, 1024):
            stages: dict[str, float] = {}
            began = time.perf_counter()

            def told(stage: str, share: float, stages: dict[str, float] = stages, began: float = began) -> None:
                stages.setdefault(str(stage), round(time.perf_counter() - began, 2))

            made = engine.generate(Order(image, settings.replace(resolution=resolution), 3), Progress(told))
            yield {
                "asset": resolution,
                "seconds": time.perf_counter() - began,
                "bytes": len(made.glb),
                "device": made.facts["device"],
                "stages begin at": stages,
            }


def passes(setup: Setup) -> Iterator[Found]:
    """One pass of the flow model, as each stage has it."""
    model = _random_flow(setup, setup.torso)
    for count in setup.tokens:
        context = TYPICAL[512 if count <= 2400 else 1024].context if not setup.is_tiny else 20
        forward = _forward(setup, model, count, context)
        seconds = setup.seconds(forward)
        operations = costs.flow_flops(setup.flow, count, context)
        planned = flow_bytes(setup.flow, count, context, setup.torso.itemsize) / GB
        found = {"tokens": count, "ms": 1000 * seconds, "TFLOP/s": operations / seconds / 1e12}
        yield {**found, "peak GB": setup.peak(forward), "planned GB": planned}
        yield from _kernels(setup, forward, count)


def backends(setup: Setup) -> Iterator[Found]:
    """Self-attention with each of PyTorch's kernels, and how far it is from float32; then what the blocks fuse."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH")
    for count in setup.tokens:
        heads, width = setup.flow.num_heads, setup.flow.head_dim
        generator = torch.Generator().manual_seed(1)
        sizes = (1, count, heads, width)
        q, k, v = (torch.randn(sizes, generator=generator).to(setup.device, setup.torso) for _ in range(3))
        some = slice(0, 64)
        rows, keys, values = (tensor[0].transpose(0, 1).float() for tensor in (q[:, some], k, v))  # (H, L, D)
        wanted = ((rows @ keys.transpose(1, 2)) / width**0.5).softmax(-1) @ values
        for name in ("chosen by itself", *names):
            if name == "MATH" and count > 12000:
                continue  # its whole matrix
            try:
                with nullcontext() if name not in names else sdpa_kernel(getattr(SDPBackend, name)):
                    found = attend(q, k, v)[0, some].transpose(0, 1).float()
                    seconds = setup.seconds(lambda q=q, k=k, v=v: attend(q, k, v))
            except RuntimeError as error:
                yield {"backend": name, "tokens": count, "why not": str(error).splitlines()[0][:80]}
                continue
            speed = 4 * heads * count**2 * width / seconds / 1e12
            off = float((found - wanted).abs().max() / wanted.abs().max())
            yield {"backend": name, "tokens": count, "ms": 1000 * seconds, "TFLOP/s": speed, "error": off}
    yield from _fused(setup)


def _fused(setup: Setup) -> Iterator[Found]:
    """The blocks' fused operations against the plain code: right where their error is at most 1 of what is allowed."""
    sizes = (64, 3, 16) if setup.is_tiny else (setup.tokens[1], 12, 128)
    try:
        found = compared(setup.device, setup.torso, *sizes, lambda work, _: setup.seconds(work))
    except Exception as error:  # whatever a compiler or a driver may come up with
        yield {"backend": "fused operations", "why not": str(error)[:300]}
        return
    for name, (off, ms, plain) in found.items():
        yield {"backend": f"fused {name}", "error of what is allowed": off, "ms": ms, "plain ms": plain}


def decoders(setup: Setup) -> Iterator[Found]:
    """The shape decoder, of as many latents as the passes have tokens."""
    if setup.is_tiny:
        _make_small_of(setup)
    source = whole.RandomSource(setup.device)
    decoder: Any = source.load("shape_slat_decoder")
    config = whole.NETWORKS["shape_slat_decoder"][1]
    budget = device_budget(setup.device)
    for count in setup.tokens:
        coords = whole.surface(count, 32 if count <= 2400 else 64 if count <= 9600 else 96, setup.device)
        latent = torch.randn(count, decoder.config.latent_channels, device=setup.device)

        def decode(coords: Tensor = coords, latent: Tensor = latent) -> Any:
            return decoder(SparseTensor(latent, VoxelGrid(coords, budget.workspace)))

        seconds = setup.seconds(decode, 2)
        planned = decoder_bytes(config, count, decoder.torso.itemsize, budget.workspace) / GB  # type: ignore[arg-type]
        yield {"latents": count, "ms": 1000 * seconds, "peak GB": setup.peak(decode), "planned GB": planned}


def precision(setup: Setup) -> Iterator[Found]:
    """What each way of computing comes to at full depth, by how far it is from float32: random weights, all blocks."""
    count = setup.tokens[0]
    wanted: Tensor | None = None
    plain = [(torso, "") for torso in (torch.float32, torch.bfloat16, torch.float16)]
    for torso, kind in (*plain, *((torch.bfloat16, kind) for kind in KINDS)):
        model = _random_flow(setup, torso, kind)
        found = _forward(setup, model, count, 40)().float()
        del model
        wanted = found if wanted is None else wanted
        off = float((found - wanted).norm() / wanted.norm())
        name = str(torso).removeprefix("torch.") + (f", weights in {kind}" if kind else "")
        yield {"torso": name, "tokens": count, "relative error": off}


def caps(setup: Setup) -> Iterator[Found]:
    """Whole runs, with two steps a stage, of a device that has no more memory than this."""
    is_cuda = setup.device.type == "cuda"
    if not (is_cuda or setup.is_tiny):
        yield {"caps": "left out", "why": "only CUDA has them"}
        return
    if setup.is_tiny:
        _make_small_of(setup)
    for cap in CAPS[: 1 if setup.is_tiny else None]:
        if is_cuda:
            size = torch.cuda.get_device_properties(setup.device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, cap * GB / size), setup.device)
        for resolution in setup.resolutions:
            pipeline = _pipeline(setup, Budget(int(cap * GB) - RESERVE), steps=1 if setup.is_tiny else 2)
            if is_cuda:
                torch.cuda.reset_peak_memory_stats(setup.device)
            began, outcome = time.perf_counter(), "made"
            try:
                whole.run(pipeline, resolution)
            except Exception as error:
                if isinstance(error, EngineError):
                    outcome = "planned lower"
                elif is_out_of_memory(error):
                    outcome = "OUT OF MEMORY"
                else:
                    raise
            setup.wait()
            peak = torch.cuda.max_memory_reserved(setup.device) / GB if is_cuda else float("nan")
            spent = time.perf_counter() - began
            yield {"cap GB": cap, "resolution": resolution, "outcome": outcome, "seconds": spent, "peak GB": peak}
            pipeline.store.clear()


def runs(setup: Setup) -> Iterator[Found]:
    """All stages with all steps, networks loaded: seconds each, and together beside the authors' own on an H100."""
    if setup.is_tiny:
        _make_small_of(setup)
    pipeline = _pipeline(setup, device_budget(setup.device), steps=1 if setup.is_tiny else 12)
    for resolution in setup.resolutions:
        rows = whole.run(pipeline, resolution)  # the first loads networks and chooses kernels
        if resolution < 1536 and not setup.is_tiny:
            rows = whole.run(pipeline, resolution)
        for row in rows:
            speed = row.operations / row.seconds / 1e12
            yield {"run": resolution, "stage": row.stage, "seconds": row.seconds, "TFLOP/s": speed, "peak GB": row.peak}
        total = sum(row.seconds for row in rows)
        yield {"run": resolution, "stage": "all", "seconds": total, "on an H100": whole.REFERENCE[resolution]}


# name -> what it does, and the most seconds that it may take: together less than eight minutes
PARTS: dict[str, tuple[Callable[[Setup], Iterator[Found]], float]] = {
    "fixtures": (fixtures, 45),
    "asset": (asset, 70),
    "passes": (passes, 60),
    "backends": (backends, 40),
    "decoders": (decoders, 50),
    "precision": (precision, 40),
    "caps": (caps, 75),
    "runs": (runs, 95),
}


def _make_small_of(setup: Setup) -> None:
    """Have whole runs be of small networks and a few voxels: what is tried then is the command, not the device."""
    flow, latent = replace(setup.flow, num_blocks=1), 32
    dino = DinoConfig(
        hidden_size=flow.cond_channels, num_hidden_layers=1, num_attention_heads=2, intermediate_size=flow.cond_channels
    )
    decoder = replace(whole.DECODER, model_channels=(32, 16, 8, 8, 8), num_blocks=(1, 1, 0, 0, 0))
    small: dict[str, tuple[Any, Any]] = {
        IMAGE_MODEL: (DINOv3, dino),
        "sparse_structure_flow_model": (SparseStructureFlowModel, flow),
        "sparse_structure_decoder": (SparseStructureDecoder, StructureDecoderConfig(1, 8, 1, (8, 8, 8))),
        "shape_slat_decoder": (FlexiDualGridVaeDecoder, decoder),
        "tex_slat_decoder": (SparseUnetVaeDecoder, replace(decoder, out_channels=6, pred_subdiv=False)),
    }
    for side in (512, 1024):
        for kind, count in (("shape", latent), ("tex", 2 * latent)):
            config = replace(flow, in_channels=count, out_channels=latent)
            small[f"{kind}_slat_flow_model_{side}"] = SLatFlowModel, config
    whole.NETWORKS.update(small)
    few = zip(setup.resolutions, setup.tokens, strict=False)
    whole.TYPICAL = {resolution: replace(TYPICAL[resolution], tokens=count) for resolution, count in few}


def _random_flow(setup: Setup, torso: torch.dtype, kind: str = "") -> FlowTransformer:
    with torch.device("meta"):
        model = FlowTransformer(setup.flow).requires_grad_(False)
    model.torso = torso
    if kind:
        model.hold_in_eight_bits(kind)
    generator = torch.Generator(setup.device).manual_seed(3)
    weights = {}
    for key, parameter in model.named_parameters():
        value = torch.ones(parameter.shape, device=setup.device)
        if not key.endswith(("gamma", "norm2.weight")):
            value.normal_(0, parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.1, generator=generator)
        held = model.dtype_of(key)
        if held in EIGHT.values():
            weights[key], weights[model.scale_of(key)] = quantised(value, held)
        else:
            weights[key] = value.to(held)
    model.load_state_dict(weights, assign=True)
    return model.requires_grad_(False).eval()


def _forward(setup: Setup, model: FlowTransformer, count: int, context: int) -> Callable[[], Tensor]:
    generator = torch.Generator().manual_seed(4)
    side = max(16, round((count / 3) ** 0.5))
    coords = torch.randint(0, side, (count, 3), generator=generator).to(setup.device)
    x = torch.randn(count, setup.flow.in_channels, generator=generator).to(setup.device)
    cond = torch.randn(1, context, setup.flow.cond_channels, generator=generator).to(setup.device)
    t = torch.tensor([700.0], device=setup.device)
    phases, layout = rope_phases(coords, setup.flow.head_dim), Layout((count,))
    kept = model.encode_context(cond)
    return lambda: model.velocity(x, t, phases, layout, kept)


def _kernels(setup: Setup, work: Callable[[], object], count: int) -> Iterator[Found]:
    """The largest kernels of one call, with their share of it."""
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if setup.device.type == "cuda" else ProfilerActivity.CPU
    if setup.device.type == "mps":
        return
    with profile(activities=[activity]) as seen:
        work()
        setup.wait()
    spent = "self_device_time_total" if setup.device.type == "cuda" else "self_cpu_time_total"
    rows = sorted(seen.key_averages(), key=lambda row: -getattr(row, spent, 0))
    total = sum(getattr(row, spent, 0) for row in rows) or 1
    for row in rows[:KERNELS]:
        share = getattr(row, spent, 0) / total
        yield {"tokens": count, "kernel": row.key[:70], "calls": row.count, "share": round(share, 4)}


def _pipeline(setup: Setup, budget: Budget, steps: int) -> Pipeline:
    samplers = {name: Sampler(replace(own, steps=steps), 1e-5) for name, own in costs.PUBLISHED_SAMPLERS.items()}
    normal = Normalization((0.0,) * 32, (1.0,) * 32)
    config = PipelineConfig(samplers, normal, normal)
    return Pipeline(ModelStore(whole.RandomSource(setup.device), setup.device, budget), config)


def measure(part: str, setup: Setup) -> None:
    """One part in this process: a line of JSON for each thing that was found."""
    with exactly():
        for found in PARTS[part][0](setup):
            # What the device does not tell is left out: JSON has no word for what is not a number.
            told = {k: v for k, v in found.items() if not (isinstance(v, float) and math.isnan(v))}
            rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in told.items()}
            print(json.dumps(rounded), flush=True)


def measure_apart(part: str, arguments: list[str], limit: float) -> Found:
    """One part in a process of its own, whose lines are shown as they come; ended after `limit` seconds."""
    command = [sys.executable, "-u", str(Path(__file__).resolve()), "--part", part, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    assert process.stdout is not None and process.stderr is not None
    complaints: list[str] = []
    reading = threading.Thread(target=lambda: complaints.extend(process.stderr or ()), daemon=True)
    reading.start()
    ended = threading.Event()

    def end() -> None:
        ended.set()
        process.kill()

    watch = threading.Timer(limit, end)
    watch.start()
    began, lines = time.perf_counter(), []
    try:
        for line in process.stdout:
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue  # a library's
            print("  " + "  ".join(f"{key} {value}" for key, value in lines[-1].items()), flush=True)
        code = process.wait()
    finally:
        watch.cancel()
    reading.join(1.0)
    why = f"its {limit:g} seconds were over" if ended.is_set() else "".join(complaints[-3:]).strip() if code else ""
    if why:
        print(f"  BROKEN OFF: {why}", flush=True)
    return {"seconds": round(time.perf_counter() - began, 1), "found": lines, "broken off": why}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:1, mps or cpu")
    parser.add_argument("--golden", type=Path, default=ROOT / "tests" / "data" / "model")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"), help="where all of it goes at the end")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the command itself")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    setup = Setup(choose_device(options.device), options.golden, options.tiny)
    if options.part:
        measure(options.part, setup)
        return 0
    name = torch.cuda.get_device_name(setup.device) if setup.device.type == "cuda" else setup.device.type
    numbers = device_precision(setup.device)
    told = {"device": name, "torch": torch.__version__, "computes in": numbers.flows, "tiny": options.tiny}
    print("  ".join(f"{key} {value}" for key, value in told.items()), flush=True)
    arguments = ["--device", options.device, "--golden", str(options.golden), *(["--tiny"] if options.tiny else [])]
    parts: dict[str, Found] = {}
    for part in options.only:
        print(f"{part}: {PARTS[part][0].__doc__}", flush=True)
        parts[part] = measure_apart(part, arguments, PARTS[part][1])
        options.json.write_text(json.dumps({**told, "parts": parts}, indent=1), encoding="utf-8")
    print(f"all of it is in {options.json}", flush=True)
    failed = [row for row in parts.get("fixtures", {}).get("found", ()) if not row["passes"]]
    return 1 if failed or any(part["broken off"] for part in parts.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
