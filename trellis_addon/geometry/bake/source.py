"""A textured mesh as what is baked from: every map is read at the place of its surface that is seen from outside.

Of layers closer to each other than a voxel the front-most counts, and through what is clear of it the next one shows,
as a renderer would draw them; the light mesh is one surface for all of them.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from ...formats.glb.tangents import face_normals, tangents, unit
from ...formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh
from ..arrays import on_device
from ..mesh.closest import Surface
from ..voxelise.attributes import linear_to_srgb, srgb_to_linear
from ..voxelise.texels import stretch
from .pictures import Picture
from .reading import Part, Reading
from .source_kernels import LAYERS, empty_depths, find_layers

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]

_AHEAD = 0.75  # voxels in front of a place within which another layer hides it
_BIAS = -0.5  # levels of detail: a little sharper than one texel a texel, for reading between texels blurs
_STREWN = 4_000, 100_000  # how many places are looked at from both sides: one for each voxel's area, within these
_BACK = -0.3  # the cosine of two surfaces that lie back to back
_OTHER = 0.12  # of the range of a colour: two that are so far apart are not the same
_SOLID = 0.996  # alpha from which on nothing behind is to be seen


class BakeSource:
    """`mesh` with its vertices at `vertices` (V, 3), z up, where a voxel is `voxel` wide.

    `turn` (3, 3) takes the mesh's normals to that frame. `device` is Warp's.
    """

    def __init__(self, mesh: TexturedMesh, vertices: F32, turn: F64, voxel: float, device: str = "cpu") -> None:
        self._mesh = mesh
        self._vertices = vertices
        self._voxel = voxel
        self._device = device
        self._making = threading.RLock()  # of what is made when it is first needed: several threads read
        self._shell: Surface | None = None
        self.surface = Surface(vertices, mesh.faces, device=device)
        normals = face_normals(vertices, mesh.faces)
        self._area = np.linalg.norm(normals, axis=1)
        self._facing = (normals / np.maximum(self._area, 1e-300)[:, None]).astype(np.float32)
        self._normals = self._corner_normals(turn)
        self._tangents: dict[int, F32] = {}
        self._pictures: dict[tuple[int, bool], Picture] = {}
        self._details: dict[tuple[int, int, bytes, float], F32] = {}
        self._ids = mesh.ids
        parts = [_part_of(material) for material in mesh.materials]
        self.parts: Sequence[Part] = tuple(dict.fromkeys(parts))
        self._part = np.array([self.parts.index(part) for part in parts], np.int32)
        clear = np.array([material.alpha_mode != "OPAQUE" for material in mesh.materials])
        self._clear = clear[self._ids]
        self._glows = any(max(material.emission_factor) > 0 for material in mesh.materials)
        self._hides = any(material.occlusion is not None for material in mesh.materials)

    @classmethod
    def of(cls, mesh: TexturedMesh, transform: F64, voxel: float, device: str = "cpu") -> BakeSource:
        """`transform` (4, 4) takes the frame in which the source is read to the mesh's own, as `OVoxel` has it."""
        back = np.linalg.inv(transform)
        vertices = (mesh.vertices.astype(np.float64) @ back[:3, :3].T + back[:3, 3]).astype(np.float32)
        return cls(mesh, vertices, back[:3, :3] / np.cbrt(np.linalg.det(back[:3, :3])), voxel, device)

    def beneath(self, vertices: F32, faces: I32) -> BakeSource:
        """The same look for a mesh in its place: what that has no surface for shows through what is clear.

        So glass keeps what it stands on, or holds, where the mesh is one shell around all.
        """
        if not self._clear.any():
            return self
        shown = copy.copy(self)
        shown._shell = Surface(vertices, faces, device=self._device)
        return shown

    def read(
        self, points: F32, directions: F32, density: float, on: I32 | None = None, *, normals: bool = True
    ) -> Reading:
        """See `Look.read`."""
        first = self._read(points, directions, np.zeros(len(points), np.float32), density, normals)
        rows = np.flatnonzero(first.values[:, 5] < _SOLID)
        if self._shell is None or not len(rows):
            return first
        depths = self._depths(points[rows], directions[rows])
        rows, depths = rows[depths > 0], depths[depths > 0]
        deeper = self._read(points[rows], directions[rows], depths, density, normals)
        for name, values in vars(first).items():
            if values is not None:
                values[rows] = getattr(deeper, name)
        return first

    def two_faced(self) -> F32:
        """Places (S, 3) on the surface that another surface of another look lies behind, back to back."""
        total = float(self._area.sum())
        if total <= 0:
            return np.zeros((0, 3), np.float32)
        random = np.random.default_rng(0)
        count = int(np.clip(total / 2 / self._voxel**2, *_STREWN))
        face = np.searchsorted(np.cumsum(self._area), random.random(count) * total, side="right")
        face = np.minimum(face, len(self._area) - 1)
        weights = random.dirichlet((1.0, 1.0, 1.0), count).astype(np.float32)
        points = np.einsum("nk,nkc->nc", weights, self._vertices[self._mesh.faces[face]])
        none, away, density = np.zeros(count, np.float32), self._facing[face], 1.0 / self._voxel
        behind, _ = self._layers(points, -away, none)
        rows = np.flatnonzero(np.einsum("ij,ij->i", self._facing[behind[:, 0]], away) < _BACK)
        front = self._read(points[rows], away[rows], none[rows], density, False)
        back = self._read(points[rows], -away[rows], none[rows], density, False)
        apart = np.abs(front.values[:, :3] - back.values[:, :3]).max(1, initial=0)
        # what is not seen has no colour
        apart *= np.minimum(front.values[:, 5], back.values[:, 5])
        return np.asarray(points[rows[apart > _OTHER]], np.float32)

    def _read(self, points: F32, directions: F32, depths: F32, density: float, normals: bool) -> Reading:
        found, weights = self._layers(points, directions, depths)
        first = self._values(found[:, 0], weights[:, 0], density, normals)
        rows = np.flatnonzero(found[:, 1] >= 0)
        if len(rows):
            layers = [first.rows(rows)]
            for number in range(1, LAYERS):
                there = found[rows, number]
                layer = self._values(np.maximum(there, 0), weights[rows, number], density, normals)
                layer.alpha[there < 0] = 0.0
                layers.append(layer)
            first.put(rows, _seen_through(layers))
        facing = np.einsum("ij,ij->i", self._facing[found[:, 0]], directions)
        if normals:
            # A surface that is seen from behind is lit from there.
            first.normal[facing < 0] *= -1
        values = np.concatenate([first.colour, first.metal[:, None], first.rough[:, None], first.alpha[:, None]], 1)
        return Reading(
            np.clip(values, 0.0, 1.0, out=values),
            first.normal if normals else None,
            first.emission if self._glows else None,
            first.occlusion if self._hides else None,
            first.part,
            facing < 0,
        )

    def _depths(self, points: F32, directions: F32) -> F32:
        """(N,) how far the shell is empty behind each place; 0 where it never ends."""
        assert self._shell is not None
        out = wp.empty(len(points), dtype=wp.float32, device=self._device)
        inputs = [self._shell.warp_mesh.id, on_device(points, wp.vec3, self._device)]
        inputs += [on_device(directions, wp.vec3, self._device), 0.25 * self._voxel]
        wp.launch(empty_depths, len(points), inputs=inputs, outputs=[out], device=self._device)
        return np.asarray(out.numpy())

    def _layers(self, points: F32, directions: F32, depths: F32) -> tuple[I32, F32]:
        """Faces (N, LAYERS), -1 where there is none, and barycentrics (N, LAYERS, 3)."""
        count = len(points)
        found = wp.full((count, int(LAYERS)), -1, dtype=wp.int32, device=self._device)
        weights = wp.zeros((count, int(LAYERS)), dtype=wp.vec3, device=self._device)
        inputs = [
            self.surface.warp_mesh.id,
            on_device(self._facing, wp.vec3, self._device),
            on_device(self._clear.view(np.uint8), wp.uint8, self._device),
            on_device(points, wp.vec3, self._device),
            on_device(directions, wp.vec3, self._device),
            on_device(depths, wp.float32, self._device),
            self._voxel,
            _AHEAD * self._voxel,
            found,
            weights,
        ]
        wp.launch(find_layers, count, inputs=inputs, device=self._device)
        return found.numpy(), weights.numpy()

    def _values(self, face: I32, weights: F32, density: float, normals: bool) -> _Values:
        out = _Values.empty(len(face))
        out.part = self._part[self._ids[face]]
        if normals:
            out.normal = np.einsum("nk,nkc->nc", weights, self._normals[face])
        for number, rows in _groups(self._ids[face], len(self._mesh.materials)):
            self._of_material(self._mesh.materials[number], face[rows], weights[rows], density, rows, out, normals)
        return out

    def _of_material(
        self,
        material: SurfaceMaterial,
        face: I32,
        weights: F32,
        density: float,
        rows: I64 | slice,
        out: _Values,
        normals: bool,
    ) -> None:
        def read(texture: Texture | None, *, by_alpha: bool = False) -> F32 | None:
            return None if texture is None else self._texture(texture, face, weights, density, by_alpha)

        factor = np.array(material.base_colour_factor, np.float32)[None]
        if self._mesh.colours is not None:
            factor = factor * np.einsum("nk,nkc->nc", weights, self._mesh.colours[face])
        base = read(material.base_colour, by_alpha=material.alpha_mode != "OPAQUE")
        if base is None:
            colour, alpha = linear_to_srgb(factor[:, :3]), factor[:, 3]
        else:
            colour, alpha = base[:, :3], base[:, 3] * factor[:, 3]
            if not (factor[:, :3] == 1.0).all():
                colour = linear_to_srgb(srgb_to_linear(colour) * factor[:, :3])
        out.colour[rows] = colour
        out.alpha[rows] = _alpha(alpha, material)
        out.cut[rows] = material.alpha_mode == "MASK"
        surface = read(material.metallic_roughness)
        out.metal[rows] = material.metallic_factor * (1.0 if surface is None else surface[:, 2])
        out.rough[rows] = material.roughness_factor * (1.0 if surface is None else surface[:, 1])
        if self._glows:
            glow = np.array(material.emission_factor, np.float32)
            picture = read(material.emission) if glow.any() else None
            out.emission[rows] = glow if picture is None else glow * srgb_to_linear(picture[:, :3])
        if self._hides:
            open_share = read(material.occlusion)
            strength = material.occlusion_strength
            out.occlusion[rows] = 1.0 if open_share is None else 1.0 + strength * (open_share[:, 0] - 1.0)
        if normals and material.normal is not None and material.normal_scale:
            bend = read(material.normal)
            if bend is not None:
                out.normal[rows] = self._bent(material, bend, out.normal[rows], face, weights)

    def _bent(self, material: SurfaceMaterial, bend: F32, normal: F32, face: I32, weights: F32) -> F32:
        """The normals as the material's normal map turns them."""
        assert material.normal is not None
        frame = self._corner_tangents(material.normal)[face]
        tangent = np.einsum("nk,nkc->nc", weights, frame[..., :3])
        normal = normal / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None]
        bitangent = np.cross(normal, tangent) * frame[:, 0, 3:]
        turn = bend[:, :3] * 2.0 - 1.0
        turn[:, :2] *= material.normal_scale
        return np.asarray(turn[:, :1] * tangent + turn[:, 1:2] * bitangent + turn[:, 2:] * normal, np.float32)

    def _texture(self, texture: Texture, face: I32, weights: F32, density: float, by_alpha: bool) -> F32 | None:
        """(N, 4) in 0..1; None where the mesh has no such coordinates."""
        sets = self._mesh.uvs_1 if texture.uv_set == 1 else self._mesh.uvs
        if sets is None:
            return None
        uvs = np.einsum("nk,nkc->nc", weights, sets[face])
        if texture.transform is not None:
            uvs = uvs @ texture.transform[:, :2].T + texture.transform[:, 2]
        uvs = uvs.astype(np.float32)
        key = id(texture.pixels), by_alpha
        with self._making:
            if key not in self._pictures:
                self._pictures[key] = Picture(texture.pixels, by_alpha=by_alpha, device=self._device)
        return self._pictures[key].read(uvs, self._detail(texture, sets, density)[face], texture)

    def _detail(self, texture: Texture, sets: F32, density: float) -> F32:
        """(F,) the level of detail at which each face's texels are about as large as the result's."""
        with self._making:
            return self._found_detail(texture, sets, density)

    def _found_detail(self, texture: Texture, sets: F32, density: float) -> F32:
        moved = b"" if texture.transform is None else texture.transform.tobytes()
        key = id(texture.pixels), texture.uv_set, moved, density
        if key not in self._details:
            uvs = sets.astype(np.float64)
            if texture.transform is not None:
                uvs = uvs @ texture.transform[:, :2].T + texture.transform[:, 2]
            height, width = texture.pixels.shape[:2]
            corners = self._vertices[self._mesh.faces].astype(np.float64) * density
            with np.errstate(divide="ignore"):
                level = _BIAS + np.log2(np.sqrt(height * width) / stretch(corners, uvs, 1e-12))
            self._details[key] = np.nan_to_num(level, posinf=0.0, neginf=0.0).astype(np.float32)
        return self._details[key]

    def _corner_normals(self, turn: F64) -> F32:
        """(F, 3, 3) in the frame of the source; a face without normals is flat, as glTF has it."""
        flat = np.repeat(self._facing[:, None], 3, axis=1)
        if self._mesh.normals is None:
            return flat
        given = self._mesh.normals @ turn.T.astype(np.float32)
        return np.where((given == 0).all(2, keepdims=True), flat, given)

    def _corner_tangents(self, texture: Texture) -> F32:
        """(F, 3, 4): of the coordinates that a normal map follows, as a renderer finds them.

        Corners of equal place, normal and coordinates share one, but never two that are mirrored to each other.
        """
        with self._making:
            if texture.uv_set not in self._tangents:
                self._tangents[texture.uv_set] = self._found_tangents(texture)
        return self._tangents[texture.uv_set]

    def _found_tangents(self, texture: Texture) -> F32:
        sets = self._mesh.uvs_1 if texture.uv_set == 1 else self._mesh.uvs
        assert sets is not None
        uvs = sets.astype(np.float64)
        (du1, dv1), (du2, dv2) = (np.moveaxis(uvs[:, k] - uvs[:, 0], 1, 0) for k in (1, 2))
        side = np.repeat((du1 * dv2 < du2 * dv1).astype(np.float32)[:, None, None], 3, axis=1)
        corners = np.concatenate([self._vertices[self._mesh.faces], self._normals, sets, side], 2).reshape(-1, 9)
        keys = np.ascontiguousarray(corners.astype(np.float32) + np.float32(0)).view(np.dtype((np.void, 36)))[:, 0]
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        shared = corners[first].astype(np.float32)
        faces = number.reshape(-1, 3)
        frame = tangents(shared[:, :3], faces, unit(shared[:, 3:6]), shared[:, 6:8])
        return np.asarray(frame[faces])


@dataclass
class _Values:
    """Of N places of one layer; `normal` of any length."""

    colour: F32
    metal: F32
    rough: F32
    alpha: F32
    emission: F32
    occlusion: F32
    normal: F32
    part: I32
    cut: NDArray[np.bool_]

    @classmethod
    def empty(cls, count: int) -> _Values:
        three, one = (lambda: np.zeros((count, 3), np.float32)), (lambda: np.ones(count, np.float32))
        return cls(
            three(), one(), one(), one(), three(), one(), three(), np.zeros(count, np.int32), np.zeros(count, bool)
        )

    def rows(self, rows: I64) -> _Values:
        return _Values(*(values[rows] for values in vars(self).values()))

    def put(self, rows: I64, other: _Values) -> None:
        for name, values in vars(self).items():
            values[rows] = getattr(other, name)


def _seen_through(layers: Sequence[_Values]) -> _Values:
    """Layers over each other, the front-most first, as light comes through them; each counts by what is seen of it.

    The part is the last one's where nothing is seen through all, otherwise that of the layer which is seen most.
    """
    left = np.ones(len(layers[0].alpha), np.float32)
    out = _Values.empty(len(left))
    total = np.zeros_like(left)
    most = np.full_like(left, -1.0)
    for values in (out.metal, out.rough, out.occlusion):
        values[:] = 0.0
    for layer in layers:
        # Of a cut-out all is seen or nothing: what lies behind must not shine through its edge.
        alpha = np.where(layer.cut, layer.alpha >= 0.5, layer.alpha).astype(np.float32)
        share = left * alpha
        out.colour += share[:, None] * srgb_to_linear(layer.colour).astype(np.float32)
        out.emission += share[:, None] * layer.emission
        for name in ("metal", "rough", "occlusion"):
            getattr(out, name)[:] += share * getattr(layer, name)
        total += share
        left = left * (1.0 - alpha)
        chosen = share > most
        most = np.where(chosen, share, most)
        out.normal[chosen] = layer.normal[chosen]
        out.part[chosen] = layer.part[chosen]
        last = (share > 0) & (left <= 1.0 - _SOLID)
        out.part[last] = layer.part[last]
    # Where nothing at all is seen the front-most layer's colour stays, for the texels around.
    none = total < 1e-4
    scale = 1.0 / np.maximum(total, 1e-4)
    out.colour = linear_to_srgb(out.colour * scale[:, None]).astype(np.float32)
    out.emission *= scale[:, None]
    for name in ("metal", "rough", "occlusion"):
        getattr(out, name)[:] *= scale
        getattr(out, name)[none] = getattr(layers[0], name)[none]
    out.colour[none] = layers[0].colour[none]
    out.normal[none] = layers[0].normal[none]
    out.part[none] = layers[0].part[none]
    out.alpha = np.asarray(1.0 - left)
    return out


def _alpha(alpha: NDArray[np.floating], material: SurfaceMaterial) -> NDArray[np.floating] | float:
    """What is seen of the surface; of a cut-out all or nothing, with an edge where the cut-off value is one half."""
    if material.alpha_mode == "OPAQUE":
        return 1.0
    if material.alpha_mode == "BLEND":
        return np.clip(alpha, 0.0, 1.0)
    cut = min(max(material.alpha_cutoff, 1e-3), 1 - 1e-3)
    return np.clip(np.where(alpha < cut, 0.5 * alpha / cut, 0.5 + 0.5 * (alpha - cut) / (1 - cut)), 0.0, 1.0)


def _part_of(material: SurfaceMaterial) -> Part:
    clear = material.alpha_mode != "OPAQUE" or material.transmission > 0
    return Part(material.alpha_mode, material.double_sided and clear, round(material.transmission, 3), material.unlit)


def _groups(ids: NDArray[np.integer], count: int) -> Iterator[tuple[int, I64 | slice]]:
    """Each number that occurs, and the rows where it does."""
    numbers = np.flatnonzero(np.bincount(ids, minlength=count))
    if len(numbers) == 1:
        yield int(numbers[0]), slice(None)
        return
    order = np.argsort(ids, kind="stable")
    bounds = np.searchsorted(ids[order], np.arange(count + 1))
    for number in numbers:
        yield int(number), order[bounds[number] : bounds[number + 1]]
