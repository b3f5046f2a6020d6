"""What the pipeline's stages cost at full size, beside the reference's published times and the arithmetic limit.

    python benchmarks/pipeline.py [--device auto] [--resolutions 512 1024 1536] [--memory 6 8 12 16 24] [--steps 12]

On an accelerator: full-size networks with random weights (nothing is downloaded) at the token counts that pictures
usually lead to, seconds, TFLOP/s and peak memory for each stage; then again under each of the memory caps, with what it
allows. On a CPU: the same code at small sizes, beside a naive implementation in the same run. Nothing is asserted: the
figures are for reading.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trellis_addon.core.errors import EngineError
from trellis_addon.core.machine.device_faults import is_out_of_memory
from trellis_addon.core.progress import Progress
from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh
from trellis_addon.pipeline import costs
from trellis_addon.pipeline.checkpoint.repository import IMAGE_MODEL, Normalization, PipelineConfig, Sampler
from trellis_addon.pipeline.device.memory import GB, RESERVE, TYPICAL, Budget, device_budget, largest_resolution
from trellis_addon.pipeline.device.store import ModelStore, Outline, choose_device, device_precision
from trellis_addon.pipeline.networks import attention
from trellis_addon.pipeline.networks.attention import Layout
from trellis_addon.pipeline.networks.dinov3 import DinoConfig, DINOv3
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel
from trellis_addon.pipeline.networks.network import DTYPES, Network, full_size
from trellis_addon.pipeline.networks.sparse import SparseTensor, VoxelGrid, _search
from trellis_addon.pipeline.networks.sparse_conv import SubmanifoldConv3d
from trellis_addon.pipeline.networks.structure_decoder import (
    SparseStructureDecoder,
    StructureDecoderConfig,
    occupied_voxels,
)
from trellis_addon.pipeline.networks.structure_flow import SparseStructureFlowModel
from trellis_addon.pipeline.networks.vae_decoder import DecoderConfig, FlexiDualGridVaeDecoder, SparseUnetVaeDecoder
from trellis_addon.pipeline.numerics import exactly
from trellis_addon.pipeline.pipeline import Noise, Pipeline
from trellis_addon.pipeline.precision import BFLOAT16
from trellis_addon.pipeline.sampling.denoise import Denoising, denoise_latent, denoise_structure
from trellis_addon.pipeline.sampling.samplers import SamplerSettings, sample, sparse_spread

REFERENCE = {512: 3, 1024: 17, 1536: 60}  # seconds on an H100, as published by the authors
OPERATIONS = {512: 0.56e15, 1024: 2.1e15, 1536: 5.8e15}  # of a whole run: the arithmetic limit
QUIET = Progress()
LEVELS = {"block_type": ("SparseConvNeXtBlock3d",) * 5, "up_block_type": ("SparseResBlockC2S3d",) * 4}
DECODER = DecoderConfig(costs.PUBLISHED_DECODER[0], 32, costs.PUBLISHED_DECODER[1], **LEVELS, use_fp16=True)
FLOW = costs.PUBLISHED_FLOW
NETWORKS: dict[str, tuple[Callable[..., Network], object]] = {
    IMAGE_MODEL: (DINOv3, DinoConfig()),
    "sparse_structure_flow_model": (SparseStructureFlowModel, FLOW),
    "sparse_structure_decoder": (
        SparseStructureDecoder,
        StructureDecoderConfig(1, 8, 2, (512, 128, 32), use_fp16=True),
    ),
    "shape_slat_flow_model_512": (SLatFlowModel, replace(FLOW, in_channels=32, out_channels=32)),
    "shape_slat_flow_model_1024": (SLatFlowModel, replace(FLOW, in_channels=32, out_channels=32)),
    "tex_slat_flow_model_512": (SLatFlowModel, replace(FLOW, in_channels=64, out_channels=32)),
    "tex_slat_flow_model_1024": (SLatFlowModel, replace(FLOW, in_channels=64, out_channels=32)),
    "shape_slat_decoder": (FlexiDualGridVaeDecoder, DECODER),
    "tex_slat_decoder": (SparseUnetVaeDecoder, replace(DECODER, out_channels=6, pred_subdiv=False)),
}


class RandomSource:
    """Full-size networks with random weights, made on the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        numbers = device_precision(device)
        self.torso = None if device.type == "meta" or numbers.flows == BFLOAT16 else DTYPES[numbers.flows]
        self.is_packed = numbers.is_packed

    def load(self, name: str) -> Network:
        build, config = NETWORKS[name]
        with torch.device("meta"):
            network = build(config)
        network.choose(None if name == IMAGE_MODEL else self.torso, self.is_packed)
        for key, parameter in network.named_parameters():
            scale = 0.5 / max(parameter[0].numel(), 1) ** 0.5 if parameter.dim() > 1 else 0.02
            value = torch.empty(parameter.shape, dtype=network.dtype_of(key), device=self.device).normal_(0, scale)
            if "to_subdiv" in key:  # each voxel into the four corners of a sheet, as a surface grows
                corners = 3.5 - torch.arange(8, device=self.device)
                value = corners if value.dim() == 1 else torch.zeros_like(value)
            owner = network.get_submodule(key.rpartition(".")[0])
            setattr(owner, key.rpartition(".")[2], torch.nn.Parameter(value.to(network.dtype_of(key)), False))
        return network.eval()

    def outline(self, name: str) -> Outline:
        build, config = NETWORKS[name]
        weights, torso = full_size(build, config, None if name == IMAGE_MODEL else self.torso, self.is_packed)
        return Outline(config, weights, torso.itemsize)


@dataclass
class Row:
    stage: str
    tokens: int
    seconds: float
    operations: float
    peak: float

    def __str__(self) -> str:
        tera = self.operations / 1e12
        place = f"{self.stage:<22}{self.tokens:>9}{self.seconds:>10.3f}"
        return place + f"{tera:>10.1f}{tera / self.seconds:>10.0f}{self.peak:>9.2f}"


HEAD = f"{'stage':<22}{'tokens':>9}{'seconds':>10}{'TFLOP':>10}{'TFLOP/s':>10}{'peak GB':>9}"


class Timer:
    """Rows of a table, one for each stage that runs inside `stage`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rows: list[Row] = []

    @contextmanager
    def stage(self, name: str, tokens: int, operations: float) -> Iterator[None]:
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        yield
        if cuda:
            torch.cuda.synchronize()
        elif self.device.type == "mps":
            torch.mps.synchronize()
        peak = torch.cuda.max_memory_allocated() / 1e9 if cuda else float("nan")
        self.rows.append(Row(name, tokens, time.perf_counter() - start, operations, peak))


def surface(tokens: int, side: int, device: torch.device) -> Tensor:
    """`tokens` voxels of a grid, those nearest to a sphere: (tokens, 4), sorted."""
    axis = torch.arange(side)
    cells = torch.cartesian_prod(axis, axis, axis)
    radius = (tokens / 16) ** 0.5  # a sphere of this radius, in voxels, has about so many on its surface
    distance = ((cells + 0.5 - side / 2).float().norm(dim=1) - min(radius, side / 2)).abs()
    chosen = cells[distance.topk(tokens, largest=False).indices.sort().values]
    return torch.cat([torch.zeros(tokens, 1, dtype=torch.long), chosen], dim=1).int().to(device)


def run(pipeline: Pipeline, resolution: int) -> list[Row]:
    """All stages of one resolution; networks are loaded before the clock starts, where they fit."""
    timer, device, store = Timer(pipeline.device), pipeline.device, pipeline.store
    small, large = TYPICAL[512], TYPICAL[resolution]
    structure, shape, texture = (
        pipeline.config.samplers[name].settings for name in ("sparse_structure", "shape_slat", "tex_slat")
    )
    noise = Noise(0, device)

    def sampling(settings: SamplerSettings, tokens: int, context: int) -> float:
        return costs.sampling_flops(FLOW, tokens, context, settings.steps, settings.guided_steps())

    with exactly():
        sides = (512,) if resolution == 512 else (512, 1024)
        model = store.use(IMAGE_MODEL)
        patches = [5 + (side // 16) ** 2 for side in sides]
        with timer.stage("image", sum(patches), sum(costs.vit_flops(1024, 4096, 24, count) for count in patches)):
            features = {side: model(torch.zeros(1, 3, side, side, device=device)) for side in sides}
        store.use("sparse_structure_flow_model")
        flow, together = pipeline._flow("sparse_structure_flow_model", SparseStructureFlowModel, 4096, features[512])
        how = Denoising(structure, 1e-5, together, QUIET, "")
        with timer.stage("structure", 4096, sampling(structure, 4096, 1029)):
            z = denoise_structure(flow, noise(1, 8, 16, 16, 16), features[512], how)
        decoder = store.use("sparse_structure_decoder")
        with timer.stage("structure decoder", 4096, 0.81e12):
            occupied_voxels(decoder(z))
        coords = surface(small.tokens, 32, device)
        store.use("shape_slat_flow_model_512")
        with timer.stage("shape 512", small.tokens, sampling(shape, small.tokens, small.context)):
            latent = pipeline.sample_shape(coords, features[512], 512, shape, noise, QUIET)
        side = 512
        if resolution > 512:
            refiner = store.use("shape_slat_decoder")
            assert isinstance(refiner, FlexiDualGridVaeDecoder)
            with timer.stage("refine", small.tokens, costs.decoder_flops(*costs.PUBLISHED_DECODER, small.tokens)):
                refiner.upsample(SparseTensor(latent, VoxelGrid(coords, store.budget.workspace)), 4)
            coords, side = surface(large.tokens, resolution // 16, device), 1024
            if large.tokens > pipeline._room(1024, features):
                raise EngineError("does not fit")
            store.use("shape_slat_flow_model_1024")
            with timer.stage("shape 1024", large.tokens, sampling(shape, large.tokens, large.context)):
                latent = pipeline.sample_shape(coords, features[1024], 1024, shape, noise, QUIET)
        store.use(f"tex_slat_flow_model_{side}")
        with timer.stage("texture", large.tokens, sampling(texture, large.tokens, large.context)):
            material = pipeline.sample_texture(latent, coords, features[side], side, texture, noise, QUIET)
        grid = VoxelGrid(coords, store.budget.workspace)
        operations = costs.decoder_flops(*costs.PUBLISHED_DECODER, large.tokens)
        shapes = pipeline._decoder("shape_slat_decoder", FlexiDualGridVaeDecoder, large.tokens)
        with timer.stage("shape decoder", large.tokens, operations):
            out = shapes(SparseTensor(latent, grid)).out
        paints = pipeline._decoder("tex_slat_decoder", SparseUnetVaeDecoder, large.tokens)
        with timer.stage("texture decoder", large.tokens, operations):
            paints(SparseTensor(material, grid))
        dual = shapes.dual_grid(out.feats)
        flags = torch.zeros_like(dual.intersected)
        flags[:, 2] = True  # the sheets' faces
        with timer.stage("mesh", len(out.grid), 0.0):
            dual_grid_to_mesh(out.coords[:, 1:], dual.vertices, flags, dual.split_weight, grid_size=resolution)
    return timer.rows


def tiers(memory: list[float]) -> None:
    """What the planner lets into each amount of memory, at the published sizes."""
    source = RandomSource(torch.device("meta"))
    flow, decoder = source.outline("tex_slat_flow_model_1024"), source.outline("shape_slat_decoder")
    print(f"\n{'GB':<6}{'flow tokens':>13}{'decoder tokens':>16}{'usual resolution':>18}")
    for size in memory:
        budget = Budget(int(size * GB) - RESERVE)
        tokens = budget.flow_tokens(FLOW, flow.weights, 4101), budget.decoder_tokens(DECODER, decoder.weights)
        usual = largest_resolution(budget, FLOW, flow.weights, DECODER, decoder.weights)
        print(f"{size:<6g}{tokens[0]:>13}{tokens[1]:>16}{usual:>18}")


def peak_rate(device: torch.device) -> float:
    """Operations a second of a large bfloat16 product: what the device can do at most in practice."""
    a = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    rates = []
    for _ in range(10):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ a
        if device.type == "cuda":
            torch.cuda.synchronize()
        rates.append(2 * 8192**3 / (time.perf_counter() - start))
    return max(rates)


def full_size_tables(device: torch.device, resolutions: list[int], memory: list[float], steps: int) -> None:
    samplers = {
        "sparse_structure": SamplerSettings(steps, 7.5, 0.7, (0.6, 1.0), 5.0),
        "shape_slat": SamplerSettings(steps, 7.5, 0.5, (0.6, 1.0), 3.0),
        "tex_slat": SamplerSettings(steps, 1.0, 0.0, (0.6, 0.9), 3.0),
    }
    normal = Normalization((0.0,) * 32, (1.0,) * 32)
    config = PipelineConfig({name: Sampler(settings, 1e-5) for name, settings in samplers.items()}, normal, normal)
    rate = peak_rate(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}: {rate / 1e12:.0f} TFLOP/s in a bfloat16 product of 8192 x 8192\n")
    pipeline = Pipeline(ModelStore(RandomSource(device), device, device_budget(device)), config)
    for resolution in resolutions:
        run(pipeline, resolution)  # kernels are chosen, networks made
        rows = run(pipeline, resolution)
        print(HEAD)
        for row in rows:
            print(row)
        total = sum(row.seconds for row in rows)
        print(Row("all", 0, total, sum(row.operations for row in rows), max(row.peak for row in rows)))
        print(
            f"{resolution}: the reference {REFERENCE[resolution]} s on an H100;"
            f" {OPERATIONS[resolution] / 1e15:.2f} PFLOP at this device's rate {OPERATIONS[resolution] / rate:.2f} s,"
            f" of which this is {total * rate / OPERATIONS[resolution]:.1f} times\n"
        )
    pipeline.store.clear()
    tiers(memory)
    if device.type != "cuda":
        return
    total_memory = torch.cuda.get_device_properties(device).total_memory
    print(f"{'cap GB':<10}{'resolution':>12}{'seconds':>10}{'peak GB':>10}  (networks loaded and dropped included)")
    for cap in memory:
        torch.cuda.set_per_process_memory_fraction(min(1.0, cap * GB / total_memory), device)
        for resolution in resolutions:
            pipeline = Pipeline(ModelStore(RandomSource(device), device, Budget(int(cap * GB) - RESERVE)), config)
            torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            try:
                run(pipeline, resolution)
                peak = torch.cuda.max_memory_reserved() / 1e9
                print(f"{cap:<10g}{resolution:>12}{time.perf_counter() - start:>10.2f}{peak:>10.2f}")
            except EngineError:
                print(f"{cap:<10g}{resolution:>12}{'planned lower':>22}")
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                print(f"{cap:<10g}{resolution:>12}{'OUT OF MEMORY':>22}")
            pipeline.store.clear()


# On a CPU: the same code at small sizes, beside what one would write first


def small_tables(runs: int) -> None:
    torch.manual_seed(0)
    print(f"CPU, {torch.get_num_threads()} threads, float32; median of {runs} runs\n")
    print(f"{'what':<44}{'naive s':>10}{'ours s':>10}{'times':>8}{'difference':>13}")
    with exactly():
        compare("6 steps, 400 tokens, 3 blocks of 256", *sampling_pair(), runs)
        compare("neighbours of 30,000 voxels", *neighbour_pair(), runs)
        compare("ConvNeXt-size convolution, 30,000 x 64", *convolution_pair(), runs)


def compare(what: str, naive: Callable[[], Tensor], ours: Callable[[], Tensor], runs: int) -> None:
    difference = float((naive().double() - ours().double()).abs().max())
    pairs = [(seconds(naive), seconds(ours)) for _ in range(runs)]  # in turn: others use the machine too
    slow, fast = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{what:<44}{slow:>10.3f}{fast:>10.3f}{slow / fast:>8.1f}{difference:>13.1e}")


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sampling_pair() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A sampling with all prepared, and one that writes attention out and runs the model on a context of zeros."""
    config = replace(
        FLOW,
        model_channels=256,
        num_heads=4,
        num_blocks=3,
        cond_channels=256,
        in_channels=8,
        out_channels=8,
        dtype="float32",
    )
    model = SLatFlowModel(config)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.5 / max(1, parameter[0].numel() if parameter.dim() > 1 else 100) ** 0.5)
    coords, cond = surface(400, 32, torch.device("cpu")), torch.randn(1, 1029, 256)
    noise, settings = torch.randn(400, 8), SamplerSettings(6, 7.5, 0.5, (0.6, 1.0), 3.0)

    def naive() -> Tensor:
        def velocity(x: Tensor, t: Tensor, conditional: tuple[bool, ...]) -> list[Tensor]:
            return [model(x, coords, t, cond if sees else torch.zeros_like(cond)) for sees in conditional]

        attention.attend, kept = written_out, attention.attend
        try:
            return sample(velocity, noise, settings, sparse_spread(Layout.of(coords)))
        finally:
            attention.attend = kept

    how = Denoising(settings, 1e-5, True, QUIET, "")
    return naive, lambda: denoise_latent(model, noise, coords, cond, how)


def written_out(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.einsum("blhd,bmhd->bhlm", q, k) / q.shape[-1] ** 0.5
    return torch.einsum("bhlm,bmhd->blhd", scores.softmax(-1), v)


def _refined() -> tuple[VoxelGrid, VoxelGrid]:
    grid = VoxelGrid(surface(7500, 64, torch.device("cpu")))
    _ = grid.neighbours
    return grid, grid.subdivide(torch.arange(8).expand(7500, 8) < 4).fine


def neighbour_pair() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """A dictionary of coordinates, and a refined grid that asks its parents."""
    grid, fine = _refined()
    mask = torch.arange(8).expand(len(grid), 8) < 4

    def naive() -> Tensor:
        rows = {tuple(c): i for i, c in enumerate(fine.coords.tolist())}
        steps = [(0, k // 9 - 1, k // 3 % 3 - 1, k % 3 - 1) for k in range(27)]
        absent = len(rows)
        return torch.tensor(
            [[rows.get((b, x + i, y + j, z + k), absent) for _, i, j, k in steps] for b, x, y, z in rows]
        )

    return naive, lambda: grid.subdivide(mask).fine.neighbours


def convolution_pair() -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """One kernel offset after the other with a search in each layer, and the shared table with one product."""
    _, fine = _refined()
    _ = fine.neighbours
    conv, x = SubmanifoldConv3d(64, 64), torch.randn(len(fine), 64)
    torch.nn.init.normal_(conv.weight, 0, 0.02)
    torch.nn.init.zeros_(conv.bias)

    def naive() -> Tensor:
        table, out = _search(fine.coords).long(), conv.bias.repeat(len(fine), 1)
        for k in range(27):
            there = table[:, k] < len(fine)
            out[there] += x[table[there, k]] @ conv.weight.flatten(1, 3)[:, k].T
        return out

    return naive, lambda: conv(SparseTensor(x, fine)).feats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--resolutions", nargs="+", type=int, default=[512, 1024, 1536], choices=(512, 1024, 1536))
    parser.add_argument("--memory", nargs="*", type=float, default=[6, 8, 12, 16, 24], help="caps in GB")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--runs", type=int, default=7, help="of the comparisons on a CPU")
    options = parser.parse_args()
    device = choose_device(options.device)
    if device.type == "cpu":
        small_tables(options.runs)
        tiers(options.memory)
    else:
        full_size_tables(device, options.resolutions, options.memory, options.steps)


if __name__ == "__main__":
    main()
