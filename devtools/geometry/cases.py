"""One function for each kind of case: it recomputes the expected numbers and says how far off they are.

All of them follow the reference to the letter, where the product may do better.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trellis_addon.core.errors import InputError
from trellis_addon.geometry.voxelise.dual_grid import QuadricWeights, mesh_to_dual_grid
from trellis_addon.geometry.voxels import morton, vxz
from trellis_addon.geometry.voxels.dual_grid import dual_grid_to_mesh, grid_of, split_decoder_output

from .attributes_reference import ReferenceMaterial, reference_attributes
from .sampling import SparseGrid

CLOSE_VOXELS, LOOSE_VOXELS, LOOSE_SHARE = 5e-4, 3e-2, 0.01
DECODER = 1e-5
SAMPLING = 1e-5
BYTE_STEPS = 1

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Result:
    """`difference` is the largest found, in the case's own unit; `note` says more; `passed` None is a report only."""

    passed: bool | None
    difference: float
    note: str = ""


def dual_grid_case(case: Arrays, name: str) -> Result:
    """`fdg2mesh_*`: vertices and faces must be equal, in order."""
    coords, count = case["coords"], len(case["coords"])
    vertices, flags, weight = case["dual_vertices"], case["intersected"], case.get("split_weight")
    off = 0.0
    if "decoder_output" in case:
        split = split_decoder_output(case["decoder_output"].astype(np.float32), float(case["voxel_margin"]))
        if weight is None:
            return _failed("it has no split weights")
        off = max(_distance(split[0], vertices), _distance(split[2], weight.reshape(-1, 1)))
        if not off <= DECODER or not _same(split[1], flags != 0):
            return Result(False, off, "the decoder's output is split differently")
    expected, faces = case["mesh_vertices"], case["mesh_faces"]
    train = "train" in name.split("_") or (weight is not None and len(expected) > count)
    made, made_faces = dual_grid_to_mesh(
        coords, vertices.astype(np.float32), flags, weight, aabb=case["aabb"], train=train, **_grid(case)
    )
    if made.shape != expected.shape or made_faces.shape != faces.shape:
        note = f"{len(made)} vertices and {len(made_faces)} faces, expected {len(expected)} and {len(faces)}"
        return _failed(note)
    off = max(off, _distance(made, expected))
    if not _same(made, expected):
        return Result(False, _distance(made, expected), "the vertices differ")
    if not _same(made_faces, faces):
        return Result(False, off, f"{int((made_faces != faces).any(1).sum())} faces differ")
    return Result(True, off)


def from_mesh_case(case: Arrays, name: str) -> Result:
    """`m2fdg_*`: the same voxels with the same flags, in any order, and vertices that are close."""
    weights: QuadricWeights = {
        "face_weight": float(case["face_weight"]),
        "boundary_weight": float(case["boundary_weight"]),
        "regularization_weight": float(case["regularization_weight"]),
    }
    expected, order = _sorted(case["coords"])
    if expected is None:
        return _failed("a voxel is listed twice")
    size = grid_of(**{"voxel_size": None, "grid_size": None, **_grid(case)}, aabb=case["aabb"])[0]
    if _overgrown(case, size, len(expected)):
        return _failed("its grid is far too fine for so few voxels")
    if case["intersected"].shape != expected.shape or case["dual_vertices"].shape != expected.shape:
        return _failed("its arrays differ in length")
    flags, world = case["intersected"][order] != 0, case["dual_vertices"][order].astype(np.float64)
    result = _failed("")
    # The reference's own rounding first; then exact arithmetic, for numbers that another machine rounded.
    for single in (True, False):
        coords, vertices, made = mesh_to_dual_grid(
            case["vertices"], case["faces"], aabb=case["aabb"], single_precision=single, **_grid(case), **weights
        )
        if not _same(coords, expected):
            return _failed(_sets(coords, expected))
        if not _same(made, flags):
            return _failed(f"{int((made != flags).any(1).sum())} voxels have other flags")
        off = np.abs(vertices - (world / size - coords)).max(1, initial=0.0)
        worst = float(off.max(initial=0.0))
        loose = int((~(off <= CLOSE_VOXELS)).sum())
        good = worst <= LOOSE_VOXELS and loose <= LOOSE_SHARE * len(off)
        result = Result(good, worst, f"voxels; {loose} of {len(off)} above {CLOSE_VOXELS:g}" if loose else "voxels")
        if good:
            return result
    return result


def attributes_case(case: Arrays, name: str) -> Result:
    """`volattr_*`: the same voxels, and every attribute within one step of 255."""
    factor = case["base_color_factor"].astype(np.float64).reshape(-1)
    if case["base_color_factor"].dtype.kind in "iu":
        factor = factor / 255
    rough = _texture(case["mr"])
    material = ReferenceMaterial(
        base=_texture(case["base_rgba"]),
        metallic=rough[:, :, 2],
        roughness=rough[:, :, 1],
        emissive=_optional(case, "emissive_texture", "emissive_tex", "emissive_rgb"),
        normal=_optional(case, "normal_texture", "normal_tex", "normal_map"),
        base_factor=(factor[0], factor[1], factor[2], factor[3] if len(factor) > 3 else 1.0),
        metallic_factor=float(case["metallic_factor"]),
        roughness_factor=float(case["roughness_factor"]),
        emissive_factor=tuple(case["emissive_factor"].tolist()) if "emissive_factor" in case else (0.0, 0.0, 0.0),
        alpha_mode=str(case["alpha_mode"]),
        alpha_cutoff=float(case["alpha_cutoff"]),
    )
    expected, order = _sorted(case["coords"])
    if expected is None:
        return _failed("a voxel is listed twice")
    size = grid_of(**{"voxel_size": None, "grid_size": None, **_grid(case)}, aabb=case["aabb"])[0]
    if _overgrown(case, size, len(expected)):
        return _failed("its grid is far too fine for so few voxels")
    coords, values = reference_attributes(
        case["vertices"], case["faces"], case["uv"], case["vertex_normals"], material, aabb=case["aabb"], **_grid(case)
    )
    if not _same(coords, expected):
        return _failed(_sets(coords, expected))
    worst, where = 0.0, ""
    for key, made in values.items():
        stored = case[key]
        if stored.shape != made.shape or stored.dtype != np.uint8:
            return _failed(f"{key} is {stored.dtype} {stored.shape}, expected uint8 {made.shape}")
        off = float(np.abs(made.astype(np.int64) - stored[order].astype(np.int64)).max(initial=0))
        if off > worst:
            worst, where = off, f"of 255 in {key}"
    return Result(worst <= BYTE_STEPS, worst, where or "of 255")


def sampling_case(case: Arrays, name: str) -> Result:
    """`grid_sample_*`: trilinear and nearest values."""
    resolution = case["resolution"].reshape(-1).tolist()
    grid = SparseGrid(case["feats"].astype(np.float32), case["coords"], resolution * (3 // len(resolution)))
    query = case["query"].astype(np.float32)
    value, weight = grid.trilinear(query, return_weight=True)
    made = {"trilinear": value, "weight_sum": weight, "trilinear_upstream_torch": value}
    made["nearest_upstream_torch"] = grid.nearest(query)
    worst, where = 0.0, ""
    for key, array in made.items():
        off = _distance(array, case[key])
        if not off <= worst:
            worst, where = off, f"in {key}"
    return Result(worst <= SAMPLING, worst, where)


def octree_case(case: Arrays, name: str) -> Result:
    """`svo_*`: Morton codes and octree bytes, both ways."""
    depth, codes = int(case["depth"]), np.sort(morton.encode(case["coords"]))
    if not _same(codes, case["codes_sorted"]):
        return _failed("the codes differ")
    if not _same(morton.octree(codes, depth), case["svo"]):
        return _failed("the octree differs")
    back = morton.octree_codes(case["svo"].astype(np.uint8), depth)
    good = _same(back, codes) and _same(morton.encode(morton.decode(back)), codes)
    return Result(good, 0.0 if good else np.inf, "" if good else "the octree is read differently")


def content_case(case: Arrays, name: str) -> Result:
    """`vxz_content`: written and read again in every filter, compression and interleaving that is at hand."""
    coords, _ = _sorted(case["coords"])
    if coords is None:
        return _failed("a voxel is listed twice")
    attributes = _attributes(case)
    ways = list(itertools.product(vxz.FILTERS, ("none", "deflate", "lzma"), vxz.INTERLEAVES))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.vxz"
        for filter, compression, interleave in ways:
            vxz.write_vxz(
                path, case["coords"], attributes, filter=filter, compression=compression, interleave=interleave
            )
            note = _compare_content(path, case)
            if note:
                return _failed(f"{filter}, {compression}, {interleave}: {note}")
    return Result(True, 0.0, f"{len(ways)} ways of writing")


def file_case(path: Path, content: Arrays | None) -> Result:
    """A .vxz file: it must read, and hold what `vxz_content` beside it holds."""
    if content is None:
        coords, _ = vxz.read_vxz(path)
        return Result(True, 0.0, f"{len(coords)} voxels; no content beside it to compare with")
    note = _compare_content(path, content)
    return Result(not note, np.inf if note else 0.0, note)


def remesh_case(case: Arrays, name: str) -> Result:
    """`remesh_dc_*`: the product remeshes in a way of its own; how far the reference's result is from its input."""
    from .remesh_cases import reference_offset

    return reference_offset(case)


KINDS: Mapping[str, Callable[[Arrays, str], Result]] = {
    "fdg2mesh": dual_grid_case,
    "m2fdg": from_mesh_case,
    "volattr": attributes_case,
    "grid_sample": sampling_case,
    "svo": octree_case,
    "vxz_content": content_case,
    "remesh_dc": remesh_case,
}


def _grid(case: Arrays) -> dict[str, Any]:
    keys = [key for key in ("voxel_size", "grid_size") if key in case]
    if len(keys) != 1:
        raise InputError("it has not exactly one of voxel_size and grid_size")
    return {keys[0]: case[keys[0]]}


def _overgrown(case: Arrays, size: NDArray[np.float32], count: int) -> bool:
    """Whether the surface would fill a hundred times as many voxels as the case has: it is not worth the wait."""
    corners = case["vertices"].astype(np.float64)[case["faces"].astype(np.int64)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float(np.linalg.norm(normals, axis=1).sum() / 2 / size.min() ** 2) > 100.0 * (count + 100)


def _sorted(coords: NDArray[Any]) -> tuple[NDArray[Any] | None, NDArray[np.int64]]:
    """Rows sorted by x, y, z and their order; None for rows that are not all different."""
    if coords.ndim != 2 or coords.shape[1] != 3 or coords.dtype.kind not in "iu":
        raise InputError("its coordinates are not rows of three whole numbers")
    order = np.lexsort(coords.T[::-1])
    rows = coords[order]
    if len(rows) > 1 and bool((rows[1:] == rows[:-1]).all(1).any()):
        return None, order
    return rows, order


def _sets(made: NDArray[Any], expected: NDArray[Any]) -> str:
    ours, theirs = {tuple(row) for row in made.tolist()}, {tuple(row) for row in expected.tolist()}
    return f"{len(ours - theirs)} voxels too few, {len(theirs - ours)} too many in the file"


def _texture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] < 3:
        raise InputError("a texture is not (height, width, channels) of 8 bits")
    return pixels


def _optional(case: Arrays, *names: str) -> NDArray[np.uint8] | None:
    return next((_texture(case[name]) for name in names if name in case), None)


def _attributes(case: Arrays) -> dict[str, NDArray[np.uint8]]:
    found = {key.removeprefix("attr_"): array for key, array in case.items() if key.startswith("attr_")}
    if not found:
        raise InputError("it has no attributes")
    return found


def _compare_content(path: Path, content: Arrays) -> str:
    """What is different, in words; empty where nothing is."""
    coords, attributes = vxz.read_vxz(path)
    made, ours = _sorted(coords)
    expected, theirs = _sorted(content["coords"])
    if made is None or expected is None:
        return "a voxel is listed twice"
    if not _same(made, expected):
        return _sets(made, expected)
    wanted = _attributes(content)
    if set(wanted) != set(attributes):
        return f"it has {', '.join(sorted(attributes))}, expected {', '.join(sorted(wanted))}"
    for key, array in wanted.items():
        if not _same(attributes[key][ours], array.reshape(len(theirs), -1)[theirs]):
            return f"{key} differs"
    return ""


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The largest difference; infinite where shapes differ or a number is none."""
    if a.shape != b.shape:
        return float("inf")
    off = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0.0)
    return float(off) if np.isfinite(off) else float("inf")


def _failed(note: str) -> Result:
    return Result(False, float("inf"), note)
