"""Which pieces of a mesh share a texture, and whose texture coordinates are kept.

A sheet is one texture. Pieces with coordinates of their own go onto the first sheet on which nothing of theirs is taken
yet: what shared an atlas shares one again, and materials that each had a square of their own get one each again. Pieces
without coordinates, or with such as cannot hold a texture, are unwrapped together, onto a sheet of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.messages import message
from ...formats.glb.dress import Dress
from ...formats.glb.pieces import Piece
from .own_alpha import OwnAlpha
from .scan import F32, hits, never

Bool = NDArray[np.bool_]

AUTO, KEEP, NEW = "auto", "keep", "new"

_GRID = 1024  # texels a side of the square in which overlaps are looked for
_INNER = 1e-4  # by which a texel's centre must be inside: what two neighbours share is of neither
_OVERLAP = 0.01  # of a piece's texels that may be used twice
_SHARED = 1e-3  # of them that may be another piece's
_BEYOND = 1e-3  # of the square's side, by which coordinates may leave it
_FARTHEST = 8.0  # squares away, from where on coordinates are of no use even where they are to be kept
_LOST = 0.02  # of the surface that may have no place in the square
_LEAST = 0.003  # of the square that a piece, or what it shares a sheet with, must cover
_SMALLEST = 256  # texels a side


@dataclass(frozen=True)
class Layout:
    """New coordinates of a piece, whose vertices are split where charts meet: `source` (V,) is the vertex that each one
    was, `faces` (F, 3) are the piece's in their order, `uvs` (V, 2) lie in the unit square, v down."""

    source: NDArray[np.int64]
    faces: NDArray[np.int64]
    uvs: F32

    @classmethod
    def of(cls, faces: NDArray[np.int64], charted: NDArray[Any], uvs: F32) -> Layout:
        """Of triangles `faces` (F, 3) whose corners have those of the coordinates `uvs` that `charted` (F, 3) numbers:
        in vertices that are each one of the mesh's, in one chart."""
        both = np.stack([faces.reshape(-1), charted.reshape(-1).astype(np.int64)], 1)
        pairs, number = np.unique(both, axis=0, return_inverse=True)
        return cls(pairs[:, 0], number.reshape(-1, 3), np.asarray(uvs[pairs[:, 1]], np.float32))


Unwrap = Callable[[NDArray[np.float64], NDArray[np.int64], int], Layout]
"""`points` (V, 3), `faces` (F, 3) and the texture's size to charts that lie apart."""


@dataclass(frozen=True)
class Sheet:
    """One texture of `size` texels a side, and the surface on it.

    `points`, `normals` (V, 3) and `uvs` (V, 2), v down, of the vertices, `faces` (F, 3). `pieces` are places among the
    plan's, `layouts` are theirs where they have new coordinates. With `wraps` coordinates leave the unit square.
    `clear` is there where something is seen through the surface.
    """

    pieces: tuple[int, ...]
    points: NDArray[np.float64]
    normals: F32
    uvs: F32
    faces: NDArray[np.int64]
    size: int
    layouts: tuple[Layout | None, ...]
    wraps: bool = False
    clear: OwnAlpha | None = None


@dataclass(frozen=True)
class Plan:
    """The sheets, and sentences for the user about what is not as it was."""

    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Open:
    """A sheet while pieces are put onto it."""

    pieces: list[int]
    taken: Bool


def plan_sheets(
    pieces: Sequence[Piece],
    texture_size: int,
    unwrap: Unwrap,
    *,
    uvs: str = AUTO,
    check: Callable[[], None] = never,
) -> Plan:
    """Sheets of at most `texture_size` texels a side for all pieces.

    `uvs` says whose coordinates are kept: with "auto" those that can hold a texture, with "keep" all there are, with
    "new" none. `unwrap` makes new ones.
    """
    opened: list[_Open] = []
    homeless: list[int] = []
    reasons: dict[int, str] = {}
    shared = False
    for number, piece in enumerate(pieces):
        check()
        own = None if uvs == NEW or piece.uvs is None or not np.isfinite(piece.uvs).all() else piece.uvs
        if own is None:
            homeless.append(number)
            continue
        is_far = _is_far(piece, own)
        count = np.zeros(0, np.uint8) if is_far else _counted(own, piece.faces, check)
        reason = message("they go far beyond the square") if is_far else _fault(piece, own, count)
        if reason and (uvs == AUTO or is_far):
            homeless.append(number)
            reasons[number] = reason
            continue
        shared |= bool(reason)
        mine = count > 0
        limit = _SHARED * mine.sum()
        home = next((one for one in opened if (one.taken & mine).sum() <= limit), None)
        if home is None:
            opened.append(_Open([number], mine))
        else:
            home.pieces.append(number)
            home.taken |= mine
    sheets = [_sheet(pieces, one.pieces) for one in opened]
    if homeless:
        sheets.append(_unwrapped(pieces, homeless, texture_size, unwrap))
    notes = _notes(pieces, homeless, reasons, uvs)
    if shared:
        notes += (message("Some of the surface has its place on the texture together with other parts, or none."),)
    return Plan(tuple(_sized(sheets, texture_size)), notes)


def material_name(number: int) -> str:
    """What the material of a sheet is called."""
    return "TRELLIS.2 Texture" if not number else f"TRELLIS.2 Texture {number + 1}"


def dresses(plan: Plan, pieces: Sequence[Piece]) -> dict[tuple[int, int], Dress]:
    """What each piece of the file gets of a plan whose sheets are its materials."""
    out = {}
    for material, sheet in enumerate(plan.sheets):
        for number, layout in zip(sheet.pieces, sheet.layouts, strict=True):
            piece = pieces[number]
            out[piece.key] = (
                Dress(material, piece.uv_set)
                if layout is None
                else Dress(material, piece.free_set, layout.source, layout.faces, layout.uvs)
            )
    return out


def in_one(points: NDArray[np.float64], faces: NDArray[np.int64]) -> tuple[F32, NDArray[np.int32]]:
    """The surface to lay out, in a cube of side 1 with a corner at the origin: points (P, 3) all different, and
    the triangles (F, 3) of them. Files split vertices where coordinates or normals do; the surface goes on there."""
    used = points[np.unique(faces)]
    low, extent = used.min(0), max(float(np.ptp(used, axis=0).max()), 1e-30)
    kept, number = np.unique(((points - low) / extent).astype(np.float32), axis=0, return_inverse=True)
    return kept, number.reshape(-1)[faces].astype(np.int32)


def vertex_normals(points: NDArray[np.float64], faces: NDArray[np.integer[Any]]) -> F32:
    """(V, 3): of the faces that meet, by their areas."""
    corners = points[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack([np.bincount(faces.ravel(), np.repeat(across[:, k], 3), len(points)) for k in range(3)], 1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.where(length > 0, length, 1.0), np.float32)


def _leaves(uvs: F32) -> bool:
    return bool(uvs.min() < -_BEYOND or uvs.max() > 1.0 + _BEYOND)


def _counted(uvs: F32, faces: NDArray[np.int64], check: Callable[[], None]) -> NDArray[np.uint8]:
    """How many triangles cover each texel of the grid, flat; no more than 255 are told apart."""
    count = np.zeros(_GRID * _GRID, np.int64)
    for _, place, weights in hits(uvs[faces] * _GRID, (_GRID, _GRID), wrap=True, check=check):
        count += np.bincount(place[(weights > _INNER).all(1)], minlength=len(count))
    return np.minimum(count, 255).astype(np.uint8)


def unfit(piece: Piece, check: Callable[[], None] = never) -> str:
    """Why a piece's coordinates cannot hold a texture, in words; empty where they can. What leaves the square comes in
    from the other side, as a repeated texture has it."""
    if piece.uvs is None or not np.isfinite(piece.uvs).all():
        return message("there are none")
    if _is_far(piece, piece.uvs):
        return message("they go far beyond the square")
    return _fault(piece, piece.uvs, _counted(piece.uvs, piece.faces, check))


def _is_far(piece: Piece, uvs: F32) -> bool:
    return float(np.abs(uvs[np.unique(piece.faces)]).max()) > _FARTHEST


def _fault(piece: Piece, uvs: F32, count: NDArray[np.uint8]) -> str:
    covered = int((count > 0).sum())
    if covered and (count > 1).sum() > _OVERLAP * covered:
        return message("they lie on each other")
    shown, area = _uv_areas(uvs, piece.faces), _areas(piece)
    whole = float(area.sum())
    flat = shown * _GRID * _GRID < 1e-3
    if whole > 0 and float(area[flat].sum()) > _LOST * whole:
        return message("much of the surface has no place on them")
    if covered < _LEAST * _GRID * _GRID and float(shown.sum()) < _LEAST:
        return message("they cover next to nothing of the square")
    return ""


def _areas(piece: Piece) -> NDArray[np.float64]:
    corners = piece.points[piece.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(np.linalg.norm(across, axis=1) / 2.0)


def _uv_areas(uvs: F32, faces: NDArray[np.int64]) -> NDArray[np.float64]:
    corners = uvs[faces].astype(np.float64)
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]) / 2.0)


def _normals(piece: Piece) -> F32:
    return vertex_normals(piece.points, piece.faces) if piece.normals is None else piece.normals


def _sheet(pieces: Sequence[Piece], numbers: Sequence[int]) -> Sheet:
    """Of pieces with the coordinates that they have."""
    mine = [pieces[number] for number in numbers]
    starts = np.cumsum([0, *(len(piece.points) for piece in mine)])
    uvs = np.concatenate([piece.uvs for piece in mine if piece.uvs is not None])
    faces = np.concatenate([piece.faces + start for piece, start in zip(mine, starts, strict=False)])
    return Sheet(
        tuple(numbers),
        np.concatenate([piece.points for piece in mine]),
        np.concatenate([_normals(piece) for piece in mine]),
        uvs,
        faces,
        0,
        (None,) * len(mine),
        wraps=_leaves(uvs[np.unique(faces)]),
        clear=OwnAlpha.of(mine),
    )


def _unwrapped(pieces: Sequence[Piece], numbers: Sequence[int], texture_size: int, unwrap: Unwrap) -> Sheet:
    """Of pieces that get new coordinates, all in one square."""
    mine = [pieces[number] for number in numbers]
    points = np.concatenate([piece.points for piece in mine])
    starts = np.cumsum([0, *(len(piece.points) for piece in mine)])
    faces = np.concatenate([piece.faces + start for piece, start in zip(mine, starts, strict=False)])
    found = unwrap(points, faces, texture_size)
    normals = np.concatenate([_normals(piece) for piece in mine])[found.source]
    clear = OwnAlpha.of(mine)
    ends = np.cumsum([0, *(len(piece.faces) for piece in mine)])
    layouts = tuple(_part(found, ends[n], ends[n + 1], starts[n]) for n in range(len(mine)))
    return Sheet(
        tuple(numbers), points[found.source], normals, found.uvs, found.faces, 0, layouts,
        clear=None if clear is None else clear.taken(found.source),
    )  # fmt: skip


def _part(found: Layout, first: int, last: int, start: int) -> Layout:
    """A piece's own share of a layout of many."""
    used, faces = np.unique(found.faces[first:last], return_inverse=True)
    return Layout(found.source[used] - start, faces.reshape(-1, 3), found.uvs[used])


def _sized(sheets: Sequence[Sheet], texture_size: int) -> list[Sheet]:
    """The sheets with their sizes: the finest detail of one is that of all, as far as powers of two say."""
    needs = []
    for sheet in sheets:
        corners = sheet.points[sheet.faces]
        area = float(
            np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
        )
        shown = 2.0 * float(_uv_areas(sheet.uvs, sheet.faces).sum())
        needs.append(math.sqrt(area / max(shown, _LEAST)))
    most = max(needs)
    sizes = [texture_size >> min(3, int(math.log2(most / need))) if need > 0 else texture_size >> 3 for need in needs]
    return [
        replace(sheet, size=max(size, min(_SMALLEST, texture_size))) for sheet, size in zip(sheets, sizes, strict=True)
    ]


def _notes(pieces: Sequence[Piece], homeless: Sequence[int], reasons: dict[int, str], uvs: str) -> tuple[str, ...]:
    if not homeless or uvs == NEW:
        return ()
    if not reasons:
        return (
            (message("The mesh had no texture coordinates, and got new ones."),)
            if len(homeless) == len(pieces)
            else (
                message(
                    "{count} of {all} parts had no texture coordinates, and got new ones.",
                    count=len(homeless),
                    all=len(pieces),
                ),
            )
        )
    reason = next(iter(reasons.values()))
    if len(homeless) == len(pieces):
        return (message("The mesh's texture coordinates could not be kept: {reason}.", reason=reason),)
    return (
        message(
            "The texture coordinates of {count} of {all} parts could not be kept: {reason}.",
            count=len(homeless), all=len(pieces), reason=reason,
        ),
    )  # fmt: skip
