"""The networks' parts against plain definitions: dense convolution, whole matrices, one sample at a time."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from torch import Tensor  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.pipeline.networks import attention  # noqa: E402
from trellis_addon.pipeline.networks.attention import Layout, rope_phases, rotate  # noqa: E402
from trellis_addon.pipeline.networks.latent_flow import SLatFlowModel  # noqa: E402
from trellis_addon.pipeline.networks.sparse import SparseTensor, VoxelGrid, _search, sparse, unique_rows  # noqa: E402
from trellis_addon.pipeline.networks.sparse_conv import SubmanifoldConv3d  # noqa: E402
from trellis_addon.pipeline.networks.structure_decoder import occupied_voxels, pixel_shuffle_3d  # noqa: E402
from trellis_addon.pipeline.networks.structure_flow import from_tokens, to_tokens  # noqa: E402
from trellis_addon.pipeline.networks.transformer import FlowConfig  # noqa: E402
from trellis_addon.pipeline.networks.vae_blocks import ConvNeXtBlock, DownBlock, UpBlock  # noqa: E402
from trellis_addon.pipeline.networks.vae_decoder import (  # noqa: E402
    DecoderConfig,
    FlexiDualGridVaeDecoder,
    SparseUnetVaeDecoder,
)
from trellis_addon.pipeline.networks.vae_encoder import EncoderConfig, FlexiDualGridVaeEncoder  # noqa: E402
from trellis_addon.pipeline.sampling.denoise import _Prepared  # noqa: E402

FLOW = FlowConfig(
    resolution=8,
    in_channels=4,
    model_channels=32,
    cond_channels=12,
    out_channels=4,
    num_blocks=2,
    num_heads=2,
    mlp_ratio=2.0,
    share_mod=True,
    qk_rms_norm=True,
    qk_rms_norm_cross=True,
)


@pytest.fixture(autouse=True)
def _seeded() -> object:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def voxels(count: int, side: int, samples: int = 1) -> Tensor:
    coords = torch.cat([torch.randint(0, samples, (count, 1)), torch.randint(0, side, (count, 3))], dim=1)
    return torch.unique(coords, dim=0).int()


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    for parameter in module.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape)
    return module.eval()


def test_sparse_convolution_is_dense_convolution_at_the_voxels() -> None:
    coords = voxels(150, 7, samples=2)
    x = torch.randn(len(coords), 3)
    conv = randomised(SubmanifoldConv3d(3, 5))
    volume = torch.zeros(2, 3, 7, 7, 7)
    b, i, j, k = coords.long().unbind(1)
    volume[b, :, i, j, k] = x
    dense = F.conv3d(volume, conv.weight.permute(0, 4, 1, 2, 3), conv.bias, padding=1)
    torch.testing.assert_close(conv(sparse(x, coords)).feats, dense[b, :, i, j, k], atol=1e-5, rtol=0)


def test_neighbours_do_not_depend_on_the_rows_order() -> None:
    coords = voxels(200, 6, samples=3)
    order = torch.randperm(len(coords))
    table, shuffled = _search(coords), _search(coords[order])
    number = torch.cat([torch.argsort(order), torch.tensor([len(coords)])])
    assert torch.equal(number[table[order].long()].int(), shuffled)


def test_a_refined_grid_finds_the_neighbours_that_a_search_finds() -> None:
    grid = VoxelGrid(voxels(120, 9, samples=2))
    assert grid.neighbours.shape == (len(grid), 27)
    fine = grid.subdivide(torch.randn(len(grid), 8) > 0).fine
    assert torch.equal(fine.neighbours, _search(fine.coords))


def test_refining_and_coarsening_undo_each_other() -> None:
    coords, _ = unique_rows(voxels(90, 8))
    step = VoxelGrid(coords).subdivide(torch.rand(len(coords), 8) > 0.4)
    coarse, back = step.fine.coarsen()
    assert torch.equal(
        coarse.coords[back.parent], torch.cat([step.fine.coords[:, :1], step.fine.coords[:, 1:] // 2], 1)
    )
    kept = coords[step.parent.unique()]
    assert torch.equal(coarse.coords, kept)
    assert coarse.finer is not None and coarse.finer.fine is step.fine


@pytest.mark.parametrize(
    "block", [ConvNeXtBlock(16), UpBlock(16, 8, True), DownBlock(16, 32)], ids=["same", "up", "down"]
)
def test_blocks_in_chunks_give_what_they_give_whole(block: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    block, coords = randomised(block), voxels(400, 12)
    x = torch.randn(len(coords), 16)
    whole = block(sparse(x, coords))
    monkeypatch.setattr(VoxelGrid, "rows", lambda self, width, itemsize: 37)
    parts = block(sparse(x, coords))
    whole, parts = (out[0] if isinstance(out, tuple) else out for out in (whole, parts))
    assert torch.equal(whole.coords, parts.coords)
    torch.testing.assert_close(whole.feats, parts.feats, atol=1e-5, rtol=1e-5)


def test_texture_decoder_follows_the_encoders_hierarchy_in_any_row_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoder down, decoder up without guides: the surface's own voxels, in their own order, in chunks too."""
    kinds = {"block_type": ("SparseConvNeXtBlock3d",) * 3, "latent_channels": 4}
    encoder = EncoderConfig((8, 16, 32), 4, (0, 1, 1), kinds["block_type"], ("SparseResBlockS2C3d",) * 2)
    decoder = DecoderConfig(
        (32, 16, 8), 4, (1, 1, 0), kinds["block_type"], ("SparseResBlockC2S3d",) * 2, (), 6, pred_subdiv=False
    )
    down, up = randomised(FlexiDualGridVaeEncoder(encoder)), randomised(SparseUnetVaeDecoder(decoder))
    coords = voxels(300, 20)
    coords = coords[torch.randperm(len(coords))]
    x = sparse(torch.randn(len(coords), 6), coords)
    z = down(x)
    out = up(z).out
    assert torch.equal(out.coords, coords)

    monkeypatch.setattr(VoxelGrid, "rows", lambda self, width, itemsize: 41)
    torch.testing.assert_close(up(z).out.feats, out.feats, atol=1e-5, rtol=1e-5)
    with pytest.raises(EngineError, match="given no guide"):
        up(sparse(z.feats, z.coords))


def test_a_guide_for_other_voxels_is_refused() -> None:
    x = sparse(torch.randn(10, 16), voxels(10, 9)[:10])
    with pytest.raises(EngineError, match="must correspond"):
        randomised(UpBlock(16, 8, False))(x, torch.zeros(len(x.grid) + 1, 8))


def test_samples_do_not_see_each_other() -> None:
    model = randomised(SLatFlowModel(FLOW))
    coords = voxels(60, 8, samples=3)
    x, t, cond = torch.randn(len(coords), 4), torch.tensor([900.0, 500.0, 20.0]), torch.randn(3, 7, 12)
    together = model(x, coords, t, cond)
    for b in range(3):
        rows = coords[:, 0] == b
        alone = torch.cat([torch.zeros_like(coords[rows, :1]), coords[rows, 1:]], dim=1)
        torch.testing.assert_close(
            model(x[rows], alone, t[b : b + 1], cond[b : b + 1]), together[rows], atol=1e-5, rtol=1e-5
        )
    with pytest.raises(EngineError, match="mixed up"):
        model(x, coords.flip(0), t, cond)


def test_no_image_is_an_image_of_zeros() -> None:
    """The constant that stands in for cross-attention to zeros, and both branches in one pass."""
    model = randomised(SLatFlowModel(FLOW))
    coords = voxels(50, 8)
    x, t, cond = torch.randn(len(coords), 4), torch.tensor([700.0]), torch.randn(1, 7, 12)
    phases, layout = rope_phases(coords[:, 1:], FLOW.head_dim), Layout.of(coords)
    zeros = model(x, coords, t, torch.zeros_like(cond))
    for together in (True, False):
        prepared = _Prepared(model, phases, layout, model.encode_context(cond), together)
        positive, negative = prepared(x, t, (True, False))
        torch.testing.assert_close(positive, model(x, coords, t, cond), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(negative, zeros, atol=1e-5, rtol=1e-5)


def test_rotation_is_the_same_without_complex_numbers() -> None:
    x, coords = torch.randn(2, 9, 3, 20), torch.randint(0, 64, (9, 3))
    phases = rope_phases(coords, 20)
    a, b = x[..., 0::2], x[..., 1::2]
    cos, sin = phases[:, None, :, 0], phases[:, None, :, 1]
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)
    torch.testing.assert_close(rotate(x, phases), turned)
    assert torch.equal(rotate(x, phases)[..., 18:], x[..., 18:])  # 10 pairs, 3 for each axis: the last is not turned


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(2, 50, 3, 8), torch.randn(2, 20, 3, 8), torch.randn(2, 20, 3, 8)
    scores = torch.einsum("blhd,bmhd->bhlm", q, k) / 8**0.5
    expected = torch.einsum("bhlm,bmhd->blhd", scores.softmax(-1), v)
    torch.testing.assert_close(attention.attend(q, k, v), expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(attention, "_is_fused", lambda device: False)
    monkeypatch.setattr(attention, "SCORES", 2 * 3 * 20 * 7)
    torch.testing.assert_close(attention.attend(q, k, v), expected, atol=1e-5, rtol=0)
    monkeypatch.setattr(attention, "_before_ampere", lambda device: True)
    out = attention.attend(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, atol=3e-2, rtol=0)


def test_dense_tokens_run_with_x_slowest() -> None:
    x = torch.arange(2 * 3 * 4**3, dtype=torch.float32).view(2, 3, 4, 4, 4)
    tokens, layout = to_tokens(x)
    assert layout.lengths == (64, 64)
    assert torch.equal(tokens[64 + 16 * 1 + 4 * 2 + 3], x[1, :, 1, 2, 3])
    assert torch.equal(from_tokens(tokens, 2, x.shape[2:]), x)


def test_pixel_shuffle_has_the_x_offset_as_its_highest_bit() -> None:
    x = torch.randn(1, 16, 2, 3, 4)
    out = pixel_shuffle_3d(x)
    assert out.shape == (1, 2, 4, 6, 8)
    assert out[0, 1, 2 * 1 + 1, 2 * 2 + 0, 2 * 3 + 1] == x[0, 8 * 1 + 4 * 1 + 2 * 0 + 1, 1, 2, 3]


def test_occupied_voxels_are_pooled_and_in_order() -> None:
    logits = torch.full((1, 1, 4, 4, 4), -1.0)
    logits[0, 0, 3, 0, 1] = logits[0, 0, 0, 2, 3] = 1
    assert occupied_voxels(logits).tolist() == [[0, 0, 2, 3], [0, 3, 0, 1]]
    assert occupied_voxels(logits, 2).tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]


def test_pooling_is_torchs_own() -> None:
    logits = torch.randn(2, 1, 12, 12, 12)
    expected = F.max_pool3d((logits > 0).float(), 3)[:, 0].nonzero().int()
    assert torch.equal(occupied_voxels(logits, 3), expected)


@pytest.mark.parametrize("side", [1, 2, 61, 62, 63, 64, 96, 1024, 1536, (1 << 19) - 3])
def test_voxels_are_put_in_order_by_whole_numbers_and_taken_apart_again(side: int) -> None:
    """At the powers of two, where an axis takes another bit, and where 32 bits, or a float's 24, do not suffice."""
    coords = voxels(80, side, samples=3)
    edges = [[b, x, y, z] for b in (0, 2) for x in (0, side - 1) for y in (0, side - 1) for z in (0, side - 1)]
    rows = torch.cat([coords, coords[:7], torch.tensor(edges, dtype=torch.int32)])
    rows = rows[torch.randperm(len(rows))]
    unique, place = unique_rows(rows)
    assert torch.equal(unique, torch.unique(rows, dim=0)) and unique.dtype == torch.int32
    assert torch.equal(unique[place], rows)
    table, steps = _search(unique).long(), torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)
    apart = (unique[:, None, None, 1:] + steps[:, None] - unique[None, None, :, 1:]).abs().sum(-1)
    there = (apart == 0) & (unique[:, None, None, 0] == unique[None, None, :, 0])  # (N, 27, N)
    wanted = torch.where(there.any(-1), there.int().argmax(-1), len(unique))
    assert torch.equal(table, wanted)


def test_kept_keys_and_values_hold_nothing_else() -> None:
    model = randomised(SLatFlowModel(FLOW))
    context = model.encode_context(torch.randn(1, 50, FLOW.cond_channels))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for kv in context.keys_values for t in kv}
    needed = 2 * FLOW.num_blocks * 50 * FLOW.model_channels * 4
    assert sum(storage.nbytes() for storage in storages.values()) == needed


def test_where_voxels_come_to_be_needs_no_features_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = {"block_type": ("SparseConvNeXtBlock3d",) * 3, "up_block_type": ("SparseResBlockC2S3d",) * 2}
    model = randomised(FlexiDualGridVaeDecoder(DecoderConfig((32, 16, 8), 4, (1, 1, 0), **levels)))
    coords = voxels(60, 9)
    z = sparse(torch.randn(len(coords), 4), coords)
    seen: list[None] = []
    whole = [model._levels(z, times, None, lambda: seen.append(None))[0].coords for times in (0, 1, 2)]
    called = len(seen)
    ran: list[UpBlock] = []
    forward = UpBlock.forward
    monkeypatch.setattr(UpBlock, "forward", lambda self, *args: (ran.append(self), forward(self, *args))[1])
    for times in (0, 1, 2):
        assert torch.equal(model.upsample(z, times, lambda: seen.append(None)), whole[times])
    assert len(seen) == 2 * called  # who looks whether to stop is asked as often
    assert ran == [model.blocks[0][-1]]  # for the second step alone


def test_16_bit_torso_keeps_norms_and_ends_in_float32() -> None:
    model = SLatFlowModel(FLOW).cast(torch.bfloat16)
    dtypes = {key: parameter.dtype for key, parameter in model.named_parameters()}
    assert dtypes["blocks.0.self_attn.to_qkv.weight"] == dtypes["blocks.1.mlp.mlp.2.bias"] == torch.bfloat16
    for key in ("blocks.0.modulation", "blocks.0.norm2.weight", "blocks.0.self_attn.q_rms_norm.gamma"):
        assert dtypes[key] == torch.float32
    assert dtypes["out_layer.weight"] == dtypes["t_embedder.mlp.0.weight"] == torch.float32
    assert SparseTensor(torch.zeros(1, 4), VoxelGrid(torch.zeros(1, 4))).coords.dtype == torch.int32
