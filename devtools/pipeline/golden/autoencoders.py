"""Golden fixtures of the convolution networks: the structure decoder, sparse blocks, decoders and the encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trellis_addon.core.progress import Progress
from trellis_addon.pipeline.checkpoint.repository import Normalization, PipelineConfig
from trellis_addon.pipeline.device.memory import Budget
from trellis_addon.pipeline.device.store import ModelStore, NetworkSource
from trellis_addon.pipeline.networks.attention import Layout
from trellis_addon.pipeline.networks.network import Network, parse
from trellis_addon.pipeline.networks.sparse import VoxelGrid, sparse
from trellis_addon.pipeline.networks.sparse_conv import SubmanifoldConv3d
from trellis_addon.pipeline.networks.structure_decoder import (
    SparseStructureDecoder,
    StructureDecoderConfig,
    occupied_voxels,
)
from trellis_addon.pipeline.networks.vae_blocks import ConvNeXtBlock, DownBlock, UpBlock
from trellis_addon.pipeline.networks.vae_decoder import (
    DecoderConfig,
    FlexiDualGridVaeDecoder,
    SparseUnetVaeDecoder,
    to_material,
)
from trellis_addon.pipeline.networks.vae_encoder import EncoderConfig, FlexiDualGridVaeEncoder, encoder_input
from trellis_addon.pipeline.texturing import TexturingPipeline

from .fixtures import EXACT, HALF, MODEL, TORSO, Fixture, Mismatch, fixture_names
from .transformers import activations


def ss_decoder(f: Fixture) -> None:
    config = parse(StructureDecoderConfig, f.setting("config", dict), "ss_decoder.json")
    model = f.load(SparseStructureDecoder(config), f.weights("weights."))
    x = f.take("in.x")
    with activations(model) as seen:
        out = model(x)
    f.compare_activations(seen)
    f.compare("out", out, MODEL)
    f.compare("coords_full", occupied_voxels(out), EXACT)
    f.compare("coords_pool2", occupied_voxels(out, 2), EXACT)
    in_float16 = model.cast(torch.float16)(x)
    f.compare_torso("out", in_float16, HALF, "float16")
    f.compare_optional("out_fp16torso", in_float16, TORSO)


def submanifold_conv3d(f: Fixture) -> None:
    weights = f.weights("weights.")
    x = sparse(f.take("in.feats"), f.take("in.coords", torch.int32))
    out = f.load(_conv(weights), weights)(x).feats
    f.compare("out", out, MODEL)
    f.compare_optional("out_dense_check", out, MODEL)
    probe = {"weight": f.take("probe.weight")}
    probe["bias"] = probe["weight"].new_zeros(len(probe["weight"]))
    x = sparse(f.take("probe.in"), f.take("probe.coords", torch.int32))
    f.compare("probe.out", f.load(_conv(probe), probe)(x).feats, MODEL)


def sparse_vae_blocks(f: Fixture) -> None:
    feats, coords = f.take("in.feats"), f.take("in.coords", torch.int32)
    channels = feats.shape[1]
    x = sparse(feats, coords)
    out = f.load(ConvNeXtBlock(channels), f.weights("convnext."))(x)
    f.compare("out.convnext", out.feats, MODEL)

    weights = f.weights("c2s.")
    up, logits = f.load(UpBlock(channels, len(weights["conv2.bias"]), True), weights)(x)
    f.compare("out.c2s.sub_logits", logits, MODEL)
    f.compare("out.c2s.coords", up.coords, EXACT)
    f.compare("out.c2s.feats", up.feats, MODEL)

    weights = f.weights("s2c.")
    down = f.load(DownBlock(channels, len(weights["conv2.bias"])), weights)(x)
    f.compare("out.s2c.coords", down.coords, EXACT)
    f.compare("out.s2c.feats", down.feats, MODEL)


def shape_decoder(f: Fixture) -> None:
    from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh

    config = parse(DecoderConfig, f.setting("config", dict), "shape_decoder.json")
    model = f.load(FlexiDualGridVaeDecoder(config), f.weights("weights."))
    z = sparse(f.take("in.feats"), f.take("in.coords", torch.int32))
    decoded = model(z)
    grid: VoxelGrid = z.grid
    for i, logits in enumerate(decoded.subdivisions):
        f.compare(f"out.sub{i}.coords", grid.coords, EXACT)
        f.compare(f"out.sub{i}.logits", logits, MODEL)
        assert grid.finer is not None
        grid = grid.finer.fine
    coords = decoded.out.coords
    f.compare("out.coords", coords, EXACT)
    f.compare("out.raw7", decoded.out.feats, MODEL)
    dual = model.dual_grid(decoded.out.feats)
    f.compare("out.vertices", dual.vertices, MODEL)
    f.compare("out.intersected", dual.intersected.to(torch.uint8), EXACT)
    f.compare("out.quad_lerp", dual.split_weight, MODEL)
    for sample, rows in enumerate(Layout.of(coords).slices):
        vertices, faces = dual_grid_to_mesh(
            coords[rows, 1:],
            dual.vertices[rows],
            dual.intersected[rows],
            dual.split_weight[rows],
            grid_size=config.resolution,
        )
        f.compare(f"out.mesh{sample}.vertices", vertices, MODEL)
        f.compare(f"out.mesh{sample}.faces", faces.int(), EXACT)
    for times in range(1, len(decoded.subdivisions) + 1):
        f.compare(f"out.upsample{times}.coords", model.upsample(sparse(z.feats, z.coords), times), EXACT)


def tex_decoder(f: Fixture) -> None:
    config = parse(DecoderConfig, f.setting("config", dict), "tex_decoder.json")
    model = f.load(SparseUnetVaeDecoder(config), f.weights("weights."))
    z = sparse(f.take("in.feats"), f.take("in.coords", torch.int32))
    guides = tuple(f.take(f"in.sub{i}.logits") for i in range(len(config.model_channels) - 1))
    decoded = model(z, guides)
    grid = z.grid
    for i in range(len(guides)):
        f.compare(f"in.sub{i}.coords", grid.coords, EXACT)
        assert grid.finer is not None
        grid = grid.finer.fine
    f.compare("out.coords", decoded.out.coords, EXACT)
    f.compare("out.raw6", decoded.out.feats, MODEL)
    f.compare("out.pbr", to_material(decoded.out.feats), MODEL)
    model.cast(torch.float16)
    again = model(sparse(z.feats, z.coords), guides)
    f.compare_torso("out.raw6", again.out.feats, HALF, "float16")


def shape_encoder_texturing(f: Fixture) -> None:
    config = parse(EncoderConfig, f.setting("config", dict), "shape_encoder_texturing.json")
    model = f.load(FlexiDualGridVaeEncoder(config), f.weights("weights."))
    feats = encoder_input(f.take("in.vertices"), f.take("in.intersected", torch.uint8))
    z = model(sparse(feats, f.take("in.coords", torch.int32)))
    f.compare("out.coords", z.coords, EXACT)
    f.compare("out.z", z.feats, MODEL)

    coords, feats = f.take("in.coords", torch.int32), f.take("tex.in.feats")
    f.compare("tex.out.coords", coords, EXACT)
    if "tex_decoder" not in fixture_names(f.folder):  # the decoder's weights are kept once, and a folder may lack them
        f.skip("tex.out.raw6", "the weights of tex_decoder are not in this folder")
        return
    other = Fixture(f.folder, "tex_decoder", f.device)
    texture = other.load(
        SparseUnetVaeDecoder(parse(DecoderConfig, other.setting("config", dict), "tex_decoder.json")),
        other.weights("weights."),
    )
    decoded = texture(z.with_feats(feats))
    f.compare("tex.out.coords", decoded.out.coords, EXACT)
    f.compare("tex.out.raw6", decoded.out.feats, MODEL)
    _through_the_pipeline(f, {"shape_slat_encoder": model, "tex_slat_decoder": texture}, feats)


def _through_the_pipeline(f: Fixture, networks: Mapping[str, Network], latent: Tensor) -> None:
    """The same once more on the way that a mesh takes when it is textured, all but the sampling in between."""
    none = Normalization((), ())
    store = ModelStore(NetworkSource(dict(networks)), f.device, Budget(1 << 40))
    pipeline = TexturingPipeline(store, PipelineConfig({}, none, none))
    coords = f.take("in.coords", torch.int32)
    z = pipeline.read_shape(coords[:, 1:], f.take("in.vertices"), f.take("in.intersected", torch.uint8))
    f.compare("out.coords", z.coords, EXACT)
    f.compare("out.z", z.feats, MODEL)
    material = pipeline.colours(z, latent, len(coords), Progress())
    f.compare("tex.out.raw6", 2 * material - 1, MODEL)


def _conv(weights: Mapping[str, Tensor]) -> SubmanifoldConv3d:
    if "weight" not in weights or weights["weight"].shape[1:4] != (3, 3, 3):
        raise Mismatch("the kernel is missing or not 3 x 3 x 3")
    return SubmanifoldConv3d(weights["weight"].shape[4], weights["weight"].shape[0])
