"""Remeshing: one clean outer shell, at the resolution of the voxels, with nothing inside.

The voxels of a dual grid already say where the surface passes between the corners of the grid. Whichever corners
can be reached from outside without passing it are outside; the quads that separate them from the rest are the
shell, and their vertices are the dual grid's own, so nothing is resampled and nothing grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import FieldError, InputError
from ...core.machine.parallel import on_all_cores, slices
from ...core.progress import Progress
from ..arrays import by_rows
from ..mesh.clean import clean
from ..mesh.dust import large_components
from ..mesh.split import manifold
from ..mesh.topology import I32, I64, Bool, TriMesh, compact, groups, joined
from .chambers import close, find_chambers
from .lattice import Lattice
from .seal import seal_holes
from .surface import Quads, outer_quads
from .thin import Thin, give_body, lost_of

# A component with less than this share of closed wall is an open sheet, not a body with fins.
_CLOSED_SHARE = 0.05
# With more of its corners than this on its border a sheet is a strip a few voxels wide: a rod thinner than a voxel.
_RIM_SHARE = 0.2
# Nor is what meets other parts at more edges and corners than this share of its quads: it would be cut apart there.
_MET_SHARE = 0.05
# Dust is what has less than this share of all quads.
_DUST_SHARE = 2e-4
# What is smaller than so many quads, but near others of its kind, is a crumb of something thinner than a voxel.
_CRUMB = 48
_BODIES = 4
# Holes with so many grid faces round them are closed however coarse the grid is: a few missing voxels.
_LEAST_HOLE = 24
# Where less than this share of the passed edges has outside at both ends no inside with openings is looked for.
_FEW_SHEETS = 0.01

Solidity = Literal["automatic", "solid", "sheets"]
SOLIDITIES: tuple[Solidity, ...] = ("automatic", "solid", "sheets")


@dataclass(frozen=True)
class Remeshed:
    """A remeshed surface in the cube [-0.5, 0.5]^3."""

    mesh: TriMesh
    sheet_faces: Bool
    """(M,) faces of open sheets without thickness; all others belong to closed surfaces."""
    dropped: int = 0
    """How many parts were too small to be kept."""

    @property
    def double_sided(self) -> bool:
        """Whether a material must show both sides."""
        return bool(self.sheet_faces.any())


def remesh_grid(
    coords: ArrayLike,
    dual_vertex: ArrayLike,
    intersected: ArrayLike,
    split_weight: ArrayLike | None = None,
    *,
    resolution: int,
    sheets: str = "open",
    dust_voxels: float = 16.0,
    hole_perimeter: float = 0.03,
    close_insides: bool = True,
    shape: TriMesh | None = None,
    progress: Progress | None = None,
) -> Remeshed:
    """The outer shell of a dual grid.

    `coords` (L, 3) are voxels of a grid with `resolution` a side, `dual_vertex` (L, 3) their vertices
    (voxel-local), `intersected` (L, 3) whether the surface passes the voxel's edge along each axis at its
    far corner, `split_weight` (L,) which way quads are cut.

    Everything closed becomes a closed surface: two faces at every edge, one fan at every vertex, facing outward, with
    nothing inside it; fins on it become thin slabs. Sheets with outside on both sides stay single
    (`sheets="open"`) or become thin slabs too (`"slab"`), so that everything is closed. Components of
    less than `dust_voxels` quads are dropped unless nothing larger is left. Holes with a perimeter up to
    `hole_perimeter` (in the cube's units; 0 for none) are closed first. Raises `InputError` for arrays
    that do not fit together, `FieldError` for another `sheets`.
    """
    if sheets not in ("open", "slab"):
        raise FieldError("sheets", sheets, 'it can be "open" or "slab"')
    report = progress or Progress()
    report.update("remesh", 0.0)
    voxels, vertices, flags = _checked(coords, dual_vertex, intersected, resolution)
    rows, axes = np.nonzero(flags)
    corners = voxels[rows] + 1
    corners[np.arange(len(rows)), axes] -= 1
    lattice = _lattice(voxels, resolution, corners, axes)
    if lattice.passed() < len(rows):
        # Some voxel is listed twice.
        _, once = np.unique(lattice.place(*corners.T) * 3 + axes, return_index=True)
        corners, axes = corners[once], axes[once]
    report.update("remesh", 0.15)
    longest = max(hole_perimeter * resolution, _LEAST_HOLE) if hole_perimeter > 0 else 0.0
    sealed = seal_holes(lattice, longest)
    corners, axes = np.concatenate([corners, sealed[0]]), np.concatenate([axes, sealed[1]])
    report.update("remesh", 0.2)
    _flood(lattice)
    if close_insides:
        lattice, corners, axes = _closed(lattice, voxels, resolution, corners, axes, sheets == "slab")
    report.update("remesh", 0.35)
    quads = outer_quads(lattice, corners, axes, voxels, vertices)
    weights = None if split_weight is None else np.asarray(split_weight, np.float32).reshape(-1)
    parts = _Parts(quads, sheets, dust_voxels)
    thin: Thin | None = None
    for attempt in range(_BODIES):
        thick = (quads.sheet & ~quads.upper & ~parts.flat[parts.component]) | parts.crumbs[parts.component]
        body, near = _body(quads, thick, weights)
        if shape is not None and not attempt:
            made, passed = _body(quads, ~parts.crumbs[parts.component], weights)
            # An open sheet ends a little before its border, and where dust is dropped nothing is missed.
            whole, _ = _body(quads, (parts.flat | ~parts.large)[parts.component], weights)
            lost, there = lost_of(lattice, shape, made, whole, passed)
            body, near = joined([body, lost]), np.concatenate([near, there])
        if not len(body.faces):
            break
        if len(blocks := lattice.missing_blocks(near)):
            lattice = _lattice(voxels, resolution, corners, axes, np.concatenate([lattice.blocks, blocks]))
            _flood(lattice)
        bare = thick & quads.sheet
        thin = give_body(lattice, body, near, (quads.lower[bare], quads.axis[bare]), thin)
        corners, axes = _with_made_up(lattice, corners, axes)
        quads = outer_quads(lattice, corners, axes, voxels, vertices, thin)
        # Sheets that a body has grown into get one too.
        parts = _Parts(quads, sheets, dust_voxels)
    report.update("remesh", 0.65)
    return _meshed(quads, parts, weights, resolution, report)


def _body(quads: Quads, thick: Bool, weights: NDArray[np.float32] | None) -> tuple[TriMesh, I64]:
    """Some quads as one layer of triangles, in voxels, and the voxels that they pass."""
    around = quads.voxels[thick]
    layer = compact(TriMesh(quads.places, triangles(quads.places, around, around, weights)))
    return layer, _cells(layer.vertices)


def _cells(places: NDArray[np.float32]) -> I64:
    return np.unique(np.floor(places).astype(np.int64), axis=0)


def _lattice(voxels: I64, resolution: int, corners: I64, axes: I64, further: I64 | None = None) -> Lattice:
    lattice = Lattice(voxels, resolution, further)
    lattice.pass_edges(lattice.place(*corners.T), axes)
    return lattice


def _flood(lattice: Lattice) -> None:
    spaces = lattice.find_outside()
    spaces.mark(spaces.space == spaces.space[spaces.margin])


def _closed(
    lattice: Lattice, voxels: I64, resolution: int, corners: I64, axes: I64, solid: bool
) -> tuple[Lattice, I64, I64]:
    """The lattice and the passed edges, with the insides closed that have openings."""
    beyond = corners.copy()
    beyond[np.arange(len(axes)), axes] += 1
    sheet = lattice.is_outside(corners) & lattice.is_outside(beyond)
    if sheet.sum() <= _FEW_SHEETS * len(sheet):
        return lattice, corners, axes
    found = find_chambers(lattice, corners, axes, sheet, solid)
    if found is None:
        return lattice, corners, axes
    lattice = _lattice(voxels, resolution, corners, axes, found.lid_blocks())
    _flood(lattice)
    close(lattice, found)
    return lattice, *_with_made_up(lattice, corners, axes)


def _with_made_up(lattice: Lattice, corners: I64, axes: I64) -> tuple[I64, I64]:
    """The passed edges, and all those between an inside and the outside that were not passed: now they are."""
    made_up = lattice.pass_between()
    # What is shut off by them is no outside any more.
    _flood(lattice)
    return np.concatenate([corners, made_up[0]]), np.concatenate([axes, made_up[1]])


def remesh(
    mesh: TriMesh,
    *,
    resolution: int = 512,
    coords: ArrayLike | None = None,
    intersected: ArrayLike | None = None,
    sheets: str = "open",
    solidity: Solidity = "automatic",
    shape: TriMesh | None = None,
    progress: Progress | None = None,
) -> Remeshed:
    """The outer shell of a mesh in the cube [-0.5, 0.5]^3; see `remesh_grid`.

    A dual grid's own mesh is not resampled when `coords` (N, 3) say which voxel each of its vertices
    belongs to; its flags are read from the faces unless `intersected` (N, 3) is given. Any other mesh is
    turned into a dual grid of `resolution` first. `solidity` says whether what has openings is "solid", or "sheets", or
    to be judged ("automatic"). Raises `InputError` for such a mesh outside the cube.
    """
    if solidity not in SOLIDITIES:
        raise FieldError("solidity", solidity, "it must be automatic, solid or sheets")
    report = progress or Progress()
    if solidity == "solid":
        sheets = "slab"
    insides = solidity != "sheets"
    scaled = None if shape is None else TriMesh(_in_voxels(shape.vertices, resolution), shape.faces)
    if coords is not None and len(np.asarray(coords)) == len(mesh.vertices):
        voxels = np.asarray(coords).astype(np.int64)
        flags = np.asarray(intersected) if intersected is not None else flags_of_faces(voxels, mesh.faces)
        if flags is not None:
            local = _in_voxels(mesh.vertices, resolution) - voxels.astype(np.float32)
            return remesh_grid(
                voxels,
                local,
                flags,
                resolution=resolution,
                sheets=sheets,
                close_insides=insides,
                shape=scaled,
                progress=report,
            )
    from ..voxelise.dual_grid import TEXTURING_WEIGHTS, mesh_to_dual_grid

    used = mesh.vertices[mesh.faces]
    if not np.isfinite(used).all() or (len(used) and float(np.abs(used).max()) > 0.5):
        raise InputError("The mesh reaches out of the cube that is remeshed; scale it to fit -0.5 .. 0.5 first.")
    grid = mesh_to_dual_grid(
        mesh.vertices,
        mesh.faces,
        grid_size=resolution,
        aabb=((-0.5,) * 3, (0.5,) * 3),
        closed_ties=True,
        progress=report.part(0.0, 0.6),
        face_weight=TEXTURING_WEIGHTS["face_weight"],
        boundary_weight=TEXTURING_WEIGHTS["boundary_weight"],
        regularization_weight=TEXTURING_WEIGHTS["regularization_weight"],
    )
    return remesh_grid(
        *grid, resolution=resolution, sheets=sheets, close_insides=insides, shape=scaled, progress=report.part(0.6, 1.0)
    )


_FACES_AT_ONCE = 1 << 17


def flags_of_faces(coords: I64, faces: I32) -> Bool | None:
    """Flags (L, 3) of the dual grid whose mesh has these faces (M, 3), with one vertex for each voxel (L, 3).

    None when some face does not join voxels round one edge, as it is with any other mesh.
    """

    def flagged(part: slice) -> tuple[NDArray[np.integer], NDArray[np.integer]] | None:
        """The voxels that hold flags of some of the faces, and of which axes."""
        voxels = coords[faces[part]]
        low = voxels.min(1)
        span = voxels.max(1) - low
        if not ((span.sum(1) == 2) & (span.max(1, initial=0) == 1)).all():
            return None
        # The voxel that holds the flag has the lowest coordinates, and one of an edge's two faces has it as a corner.
        face, slot = np.nonzero((voxels == low[:, None]).all(2))
        return faces[part][face, slot], span[face].argmin(1)

    flags = np.zeros((len(coords), 3), np.bool_)
    for found in on_all_cores(slices(len(faces), _FACES_AT_ONCE), flagged):
        if found is None:
            return None
        flags[found] = True
    return flags


def _meshed(
    quads: Quads, parts: _Parts, weights: NDArray[np.float32] | None, resolution: int, report: Progress
) -> Remeshed:
    """Triangles of the components worth keeping, closed ones first, then open sheets."""
    if not len(quads.corners):
        empty = TriMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        return Remeshed(empty, np.zeros(0, np.bool_))
    flat, component = parts.flat, parts.component
    whole = (parts.large & ~flat)[component]
    shell = TriMesh(
        _world(quads.vertices, resolution),
        triangles(quads.vertices, quads.corners[whole], quads.voxels[whole], weights, parts.rims.cuts(quads)[whole]),
    )
    report.update("remesh", 0.8)
    shell = manifold(compact(shell), 0.02 / resolution)
    report.update("remesh", 0.9)
    # Of the two quads on an edge with outside at both ends one is enough.
    single = flat[component] & ~(quads.sheet & quads.upper)
    leaves = TriMesh(
        _world(quads.places, resolution),
        triangles(quads.places, quads.voxels[single], quads.voxels[single], weights),
    )
    leaves = clean(leaves, resolution=resolution, dust_voxels=max(parts.least, 1.0))
    report.update("remesh", 1.0)
    faces = np.concatenate([shell.faces, leaves.faces + np.int32(len(shell.vertices))])
    mesh = TriMesh(np.concatenate([shell.vertices, leaves.vertices]), faces)
    return Remeshed(mesh, np.arange(len(faces)) >= len(shell.faces), int((~parts.large).sum()))


class _Parts:
    """What hangs together of the quads: `component` (Q,), and of each component whether it is `large` and `flat`."""

    def __init__(self, quads: Quads, sheets: str, dust: float) -> None:
        self.rims, self.least = _Rims(quads), dust
        if not len(quads.corners):
            self.component = np.zeros(0, np.int32)
            self.large = self.flat = self.crumbs = np.zeros(0, np.bool_)
            return
        count, label = groups(len(quads.vertices), np.concatenate([quads.corners[:, [0, k]] for k in (1, 2, 3)]))
        self.component = label[quads.corners[:, 0]]
        size = np.bincount(self.component, minlength=count)

        def places(rows: I64) -> NDArray[np.float32]:
            return quads.places[quads.voxels[rows, 0]]

        self.least = max(dust, _DUST_SHARE * float(size.sum())) if dust else 0.0
        self.large = large_components(places, self.component, size.astype(np.float64), self.least)
        # A row of these is a rod thinner than a voxel.
        self.crumbs = self.large & (size < _CRUMB)
        self.flat = np.zeros(count, np.bool_)
        if sheets == "open":
            self.flat = self.large & ~self.crumbs & _leaves(quads, self.component, size, self.rims)
            if self.flat.any():
                self.flat &= ~_tangled(quads, self.component, self.flat)


def triangles(
    vertices: NDArray[np.float32],
    quads: I32,
    voxels: I32,
    weights: NDArray[np.float32] | None,
    settled: NDArray[np.int8] | None = None,
) -> I32:
    """(2 Q, 3) of quads (Q, 4), cut along their first and third corner (A) or along the others (B).

    As `settled` (Q,) says where it is 1 (A) or 0 (B) and not -1, else as the voxels' weights say where there are
    any, else where the quad is flatter.
    """

    def flatter(part: slice) -> Bool:
        corner = [vertices[quads[part, k]] for k in range(4)]
        return _agreement(*corner) >= _agreement(corner[1], corner[2], corner[3], corner[0])

    along = by_rows(len(quads), flatter)
    if weights is not None and len(quads):
        known = (voxels < len(weights)).all(1)
        product = [weights[np.minimum(voxels[:, k], len(weights) - 1)] for k in range(4)]
        along = np.where(known, product[0] * product[2] > product[1] * product[3], along)
    if settled is not None:
        along = np.where(settled >= 0, settled == 1, along)
    a = quads[:, [0, 1, 2, 0, 2, 3]]
    b = quads[:, [0, 1, 3, 3, 1, 2]]
    return np.where(along[:, None], a, b).reshape(-1, 3)


def _leaves(quads: Quads, component: I32, size: I64, rims: _Rims) -> Bool:
    """(C,) components that are open sheets, with hardly any closed wall; thin rods are not, whose sides are all rim."""
    closed = np.bincount(component, ~quads.sheet, len(size))
    rim = np.bincount(component[rims.front], 2 * rims.shared.mean(1), len(size))
    return (closed < _CLOSED_SHARE * size) & (rim < _RIM_SHARE * size)


def _tangled(quads: Quads, component: I32, flat: Bool) -> Bool:
    """(C,) components of which too much meets other parts, or themselves, at edges of more than two quads."""
    single = ~(quads.sheet & quads.upper)
    corners, owner = quads.voxels[single], component[single].astype(np.int64)
    ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=2).reshape(-1, 2), axis=1)
    keys = ends[:, 0].astype(np.int64) * len(quads.places) + ends[:, 1]
    _, which, count = np.unique(keys, return_inverse=True, return_counts=True)
    met = np.bincount(np.repeat(owner, 4), (count > 2)[which.reshape(-1)], len(flat))
    size = np.bincount(owner, minlength=len(flat))
    # Voxels that several parts pass.
    pairs = np.unique(corners.reshape(-1).astype(np.int64) * len(flat) + np.repeat(owner, 4))
    voxel, times = np.unique(pairs // len(flat), return_counts=True)
    shared = np.isin(pairs // len(flat), voxel[times > 1])
    touched = np.bincount(pairs[shared] % len(flat), minlength=len(flat))
    return (met + touched) > _MET_SHARE * size


class _Rims:
    """The two quads of each edge with outside at both ends, and which corners they share: those on a sheet's border."""

    def __init__(self, quads: Quads) -> None:
        self.front = np.flatnonzero(quads.sheet & ~quads.upper)
        self.back = np.flatnonzero(quads.sheet & quads.upper)
        self.shared = quads.corners[self.front] == quads.corners[self.back, ::-1]

    def cuts(self, quads: Quads) -> NDArray[np.int8]:
        """(Q,) how to cut quads of sheets that share corners, as for `triangles`.

        Were both cut between the same two corners, the triangles beyond the cut would lie on each other and come loose.
        """
        settled = np.full(len(quads.corners), -1, np.int8)
        even, odd = self.shared[:, 0] & self.shared[:, 2], self.shared[:, 1] & self.shared[:, 3]
        either = even | odd
        # Corners 0 and 2 of the front are 3 and 1 of the back.
        settled[self.front[either]] = (odd | ~even)[either]
        settled[self.back[either]] = (even | ~odd)[either]
        return settled


def _agreement(a: NDArray, b: NDArray, c: NDArray, d: NDArray) -> NDArray:
    """The cosine between the normals of a b c and a c d; -1 where one of them has no area."""
    diagonal = c - a
    one, two = np.cross(b - a, diagonal), np.cross(diagonal, d - a)
    length = np.sqrt((one * one).sum(1) * (two * two).sum(1))
    return np.where(length > 1e-12, (one * two).sum(1) / np.maximum(length, 1e-12), -1)


def _world(places: NDArray[np.float32], resolution: int) -> NDArray[np.float32]:
    return places / np.float32(resolution) - np.float32(0.5)


def _in_voxels(vertices: NDArray[np.float32], resolution: int) -> NDArray[np.float32]:
    return (vertices + np.float32(0.5)) * np.float32(resolution)


def _checked(
    coords: ArrayLike, dual_vertex: ArrayLike, intersected: ArrayLike, resolution: int
) -> tuple[I64, NDArray[np.float32], Bool]:
    voxels = np.asarray(coords).astype(np.int64).reshape(-1, 3)
    vertices = np.asarray(dual_vertex, np.float32).reshape(-1, 3)
    flags = np.asarray(intersected).astype(np.bool_).reshape(-1, 3)
    if not len(voxels) == len(vertices) == len(flags):
        raise InputError("Coordinates, vertices and flags of a dual grid must be (L, 3) of the same length.")
    if len(voxels) and (voxels.min() < 0 or voxels.max() >= resolution):
        raise InputError(
            "A voxel lies outside of its grid of {resolution} a side; give the resolution it was made at.",
            resolution=resolution,
        )
    return voxels, vertices, flags
