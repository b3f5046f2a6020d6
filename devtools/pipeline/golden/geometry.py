"""Golden fixtures of the voxel geometry, which lies in `trellis_addon.geometry`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .fixtures import EXACT, MODEL, Fixture, Mismatch


def grid_sample_3d(f: Fixture) -> None:
    from ...geometry.sampling import sample_trilinear

    feats, coords, query = f.take("in.feats"), f.take("in.coords", torch.int32), f.take("in.query")
    batch, count = query.shape[:2]
    sample = torch.arange(batch, device=f.device).repeat_interleave(count).to(query.dtype)
    size = int(coords[:, 1:].max()) + 1
    if batch == 1:
        out = sample_trilinear(feats, coords[:, 1:], size, query[0])
    else:
        out = sample_trilinear(feats, coords, size, torch.cat([sample[:, None], query.flatten(0, 1)], dim=1))
    f.compare("out", out, MODEL)
    f.compare("out_independent", out, MODEL)


def flexible_dual_grid_mesh(f: Fixture) -> None:
    from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh

    coords, vertices = f.take("coords", torch.int32), f.take("dual_vertices")
    flags, weight = f.take("intersected", torch.uint8), f.take("split_weight")
    place: dict[str, Any] = {"grid_size": f.setting("grid_size", int), "aabb": f.setting("aabb", list)}
    out, faces = dual_grid_to_mesh(coords, vertices, flags, weight, **place)
    f.compare("out.vertices", out, MODEL)
    f.compare("out.faces", faces.int(), EXACT)
    f.compare("out.faces_nosplit", dual_grid_to_mesh(coords, vertices, flags, **place)[1].int(), EXACT)


def mesh_to_flexible_dual_grid(f: Fixture) -> None:
    from trellis_addon.geometry.voxelise.dual_grid import mesh_to_dual_grid
    from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh

    weights = {name: f.setting(name, float) for name in ("face_weight", "boundary_weight", "regularization_weight")}
    aabb = _aabb(f)
    cases = f.names(suffix=".in.vertices")
    if not cases:
        raise Mismatch("there is no mesh in it")
    for case in cases:
        size = int(f.take(f"{case}.grid_size", torch.int64))
        mesh = f.take(f"{case}.in.vertices").cpu().numpy(), f.take(f"{case}.in.faces", torch.int32).cpu().numpy()
        found = mesh_to_dual_grid(*mesh, grid_size=size, aabb=aabb, **weights, single_precision=True)
        coords, local, flags = (torch.from_numpy(np.ascontiguousarray(a)) for a in found)
        f.compare(f"{case}.out.coords", coords.int(), EXACT)
        f.compare(f"{case}.out.intersected", flags.to(torch.uint8), EXACT)
        expected = f.take(f"{case}.out.dual_vertices").cpu()
        span = torch.tensor(aabb[1]) - torch.tensor(aabb[0])
        _compare_dual_vertices(f, f"{case}.out.dual_vertices", expected * size / span, coords + local)

        inside = expected * size / span - coords
        vertices, faces = dual_grid_to_mesh(
            coords, inside, flags, torch.ones(len(coords), 1), grid_size=size, aabb=aabb
        )
        f.compare(f"{case}.roundtrip.vertices", vertices, MODEL)
        f.compare(f"{case}.roundtrip.faces", faces.int(), EXACT)


def _compare_dual_vertices(f: Fixture, name: str, expected: Tensor, actual: Tensor) -> None:
    """In voxels. The reference solves in float32, so single ill-conditioned voxels may be off by some hundredths."""
    if expected.shape != actual.shape or not bool(expected.isfinite().all()):
        raise Mismatch(f"{name} has another shape than computed or is not finite")
    off = (expected - actual).abs().amax(dim=1).sort().values
    allowed = max(1, len(off) // 100)
    f.note(f"{name} (of nearly all voxels, in voxels)", float(off[: len(off) - allowed].max()), 5e-4)
    f.note(f"{name} (in voxels)", float(off[-1]), 3e-2)


def _aabb(f: Fixture) -> list[list[float]]:
    box = f.config.get("aabb")
    if isinstance(box, str) and box.startswith("+-"):
        half = float(box[2:])
        return [[-half] * 3, [half] * 3]
    if isinstance(box, list) and np.shape(box) == (2, 3):
        return box
    raise Mismatch(f'{f.name}.json has no usable "aabb"')
