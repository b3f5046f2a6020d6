"""Golden fixtures of a whole run and of what surrounds the networks: the picture's preparation and the samplers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trellis_addon.core.progress import Progress
from trellis_addon.pipeline.checkpoint.repository import CLASSES, Normalization, PipelineConfig, Sampler
from trellis_addon.pipeline.device.memory import Budget
from trellis_addon.pipeline.device.store import ModelStore, NetworkSource
from trellis_addon.pipeline.networks.attention import Layout
from trellis_addon.pipeline.networks.dinov3 import to_input
from trellis_addon.pipeline.networks.network import parse
from trellis_addon.pipeline.pipeline import Noise, Pipeline
from trellis_addon.pipeline.preprocess import preprocess_image as prepare
from trellis_addon.pipeline.request import TYPES, Request
from trellis_addon.pipeline.sampling import samplers as sampling

from .fixtures import EXACT, GRID, MODEL, SAMPLER, Fixture, Mismatch

HEAD = 512  # rows that an end-to-end fixture keeps of long results


def preprocess_image(f: Fixture) -> None:
    for case, facts in f.setting("cases", dict).items():
        name = f"{case}.in"
        pixels = f.take(name, torch.uint8).cpu().numpy() if name in f.tensors else _synthetic(facts)
        width, height = facts["in_size"]
        if pixels.shape != (height, width, 4):
            raise Mismatch(f"{name} is not a picture of {width} x {height} with alpha")
        image = prepare(Image.fromarray(pixels, "RGBA"), reduce_first=True)
        out = torch.from_numpy(np.array(image))
        if list(out.shape) != facts["out_shape"]:
            raise Mismatch(f"{case}: out_shape is {facts['out_shape']}, computed was {list(out.shape)}")
        stride = 1 if name in f.tensors else 16  # synthetic pictures are large
        f.compare(f"{case}.out", out[::stride, ::stride].contiguous(), EXACT)
        for size in f.names(f"{case}.normalised_"):
            f.compare(f"{case}.normalised_{size}", to_input(image, int(size)), MODEL)


def samplers(f: Fixture) -> None:
    sigma_min = f.setting("sigma_min", float)
    dense = [f.take(f"dense.{name}") for name in ("noise", "cond", "neg_cond")]
    rows = [f.take(f"sparse.{name}") for name in ("noise", "cond", "neg_cond")]
    coords, concat = f.take("sparse.coords", torch.int32), f.take("sparse.concat_cond")
    layout = Layout.of(coords)
    shape = (*dense[1].shape, *[1] * (dense[0].dim() - 2))
    dense[1:] = [c.reshape(shape) for c in dense[1:]]
    rows[1:] = [layout.spread(c) for c in rows[1:]]
    kinds = {
        "dense": (dense, len(dense[0]), sampling.dense_spread, None),
        "sparse": (rows, len(layout.lengths), sampling.sparse_spread(layout), concat),
    }
    for case, (name, params) in f.setting("cases", dict).items():
        settings = sampling.sampler_settings(name, params, f"samplers.json, {case}")
        times = sampling.time_grid(settings.steps, settings.rescale_t)
        f.compare(f"{case}.t_seq", torch.from_numpy(times), GRID)
        for kind, ((noise, cond, negative), batch, spread, extra) in kinds.items():
            steps: list[tuple[Tensor, Tensor]] = []
            out = sampling.sample(
                _Toy(cond, negative, extra, layout if kind == "sparse" else None),
                noise,
                settings,
                spread,
                batch=batch,
                sigma_min=sigma_min,
                record=lambda x_t, x_0, steps=steps: steps.append((x_t, x_0)),  # type: ignore[misc]
            )
            f.compare(f"{case}.{kind}.pred_x_t", torch.stack([x_t for x_t, _ in steps]), SAMPLER)
            f.compare(f"{case}.{kind}.pred_x_0", torch.stack([x_0 for _, x_0 in steps]), SAMPLER)
            f.compare(f"{case}.{kind}.samples", out, SAMPLER)


class _Toy:
    """v = 0.6 x + 0.25 sin(2x) (1 - tau) + 0.5 c (1 + tau) [+ 0.1 concat], tau = t / 1000."""

    def __init__(self, cond: Tensor, negative: Tensor, concat: Tensor | None, layout: Layout | None) -> None:
        self.conditions = {True: cond, False: negative}
        self.concat = concat
        self.layout = layout

    def __call__(self, x: Tensor, t: Tensor, conditional: Any) -> list[Tensor]:
        tau = t / 1000
        tau = self.layout.spread(tau[:, None]) if self.layout else tau.view(-1, *[1] * (x.dim() - 1))
        common = 0.6 * x + 0.25 * torch.sin(2 * x) * (1 - tau)
        if self.concat is not None:
            common = common + 0.1 * self.concat
        return [common + 0.5 * self.conditions[sees] * (1 + tau) for sees in conditional]


def pipeline_e2e(f: Fixture) -> None:
    networks = {}
    for name, (kind, arguments) in f.setting("configs", dict).items():
        network, config = CLASSES[kind]
        networks[name] = f.load(network(parse(config, arguments, f"pipeline_e2e.json, {name}")), f.weights(f"{name}."))
    sigma_min, params = f.setting("sigma_min", float), f.setting("sampler_params", dict)
    settings = {
        name: parse(sampling.SamplerSettings, params[short], f"pipeline_e2e.json, {short}")
        for name, short in (("sparse_structure", "ss"), ("shape_slat", "shape"), ("tex_slat", "tex"))
    }
    shape, texture = (
        parse(Normalization, f.config.get(f"{kind}_slat_normalization"), f.name) for kind in ("shape", "tex")
    )
    own = PipelineConfig({name: Sampler(value, sigma_min) for name, value in settings.items()}, shape, texture)
    pipeline = Pipeline(ModelStore(NetworkSource(networks), f.device, Budget(1 << 40)), own)
    features = {side: f.take(f"cond_{side}") for side in (512, 1024) if f"cond_{side}" in f.tensors}
    cases = f.names(suffix="/stats")
    if not cases:
        raise Mismatch("there is no run in it")
    for case in cases:
        if case not in TYPES or not features.keys() >= {512, *([1024] if case != "512" else [])}:
            raise Mismatch(f"{case} is no pipeline type, or its image features are missing")
        _, _, _, _, max_tokens = f.take(f"{case}/stats", torch.int64).tolist()
        samplers = (settings["sparse_structure"], settings["shape_slat"], settings["tex_slat"])
        _compare_run(f, case, pipeline, features, Request(case, *samplers, max_tokens))


def _compare_run(f: Fixture, case: str, pipeline: Pipeline, features: Mapping[int, Tensor], request: Request) -> None:
    seed = f.setting("seed", int)
    noise, quiet = Noise(seed, f.device), Progress()
    coords = pipeline.sample_structure(features[512], request.structure_side, request.structure, noise, quiet)
    f.compare(f"{case}/ss_coords", coords, EXACT)
    result = pipeline.generate(features, request, seed)
    latents = result.latents
    for kind, feats in (("shape", latents.shape), ("tex", latents.texture)):
        f.compare(f"{case}/{kind}_slat.coords", latents.coords, EXACT)
        f.compare(f"{case}/{kind}_slat.feats", feats, MODEL)
    counts = [len(result.coords), len(result.vertices), len(result.faces), result.resolution, request.max_tokens]
    f.compare(f"{case}/stats", torch.tensor(counts), EXACT)
    heads = {
        "voxel_coords": result.coords,
        "attrs": result.attributes,
        "vertices": result.vertices,
        "faces": result.faces,
    }
    for name, rows in heads.items():
        exact = name in ("voxel_coords", "faces")
        f.compare(f"{case}/{name}_head", torch.from_numpy(rows[:HEAD]), EXACT if exact else MODEL)
    for name, rows in (("attrs", result.attributes), ("vertices", result.vertices)):
        total = torch.from_numpy(rows.astype(np.float64).sum(axis=0))
        f.compare(f"{case}/{name}_sum", total, SAMPLER * len(rows) ** 0.5)  # errors of rows mostly cancel


def _synthetic(facts: Mapping[str, Any]) -> np.ndarray:
    """The large test picture that is described instead of stored."""
    (width, height), (x0, y0, x1, y1) = facts["in_size"], facts["box"]
    y, x = np.mgrid[:height, :width]
    d = ((x - (x0 + x1) / 2) / ((x1 - x0) / 2)) ** 2 + ((y - (y0 + y1) / 2) / ((y1 - y0) / 2)) ** 2
    planes = [7 * x % 256, 5 * y % 256, (x + y) % 256, np.clip((1.25 - d) * 600, 0, 255)]
    return np.stack([plane.astype(np.uint8) for plane in planes], axis=-1)
