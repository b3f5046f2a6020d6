"""A small ray caster for comparing two textured meshes: base colour as it is, and lit, from eight sides.

No Blender is needed: NVIDIA Warp finds what a pixel's ray meets, textures are read bilinearly, see-through surfaces
are walked through one after the other, and single-sided ones are not seen from behind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import NDArray

from trellis_addon.formats.glb.tangents import tangents, unit
from trellis_addon.formats.glb.textured_mesh import SurfaceMaterial, Texture, TexturedMesh

F = NDArray[np.float64]
VIEWS = 8
BACKGROUND = 0.75
_LAYERS = 12
_LIGHTS = (((0.5, 0.8, 0.6), 0.75), ((-0.7, 0.3, 0.4), 0.3), ((0.1, -0.5, -0.8), 0.2))


@dataclass(frozen=True)
class Picture:
    """`flat` and `lit` (S, S, 3) in 0..1, sRGB-encoded, and `cover` (S, S): how much of a pixel shows the asset."""

    flat: F
    lit: F
    cover: F


class Scene:
    """A mesh whose positions are replaced by `vertices` (V, 3), Y up, about the unit cube around the origin."""

    def __init__(self, mesh: TexturedMesh, vertices: NDArray[np.floating]) -> None:
        self.mesh = mesh
        self.vertices = np.asarray(vertices, np.float32)
        self.faces = np.asarray(mesh.faces)
        self._bvh = wp.Mesh(
            points=wp.array(self.vertices, dtype=wp.vec3, device="cpu"),
            indices=wp.array(self.faces.astype(np.int32).reshape(-1), dtype=wp.int32, device="cpu"),
        )
        corners = self.vertices[self.faces].astype(np.float64)
        self._flat_normal = unit(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
        flat = np.repeat(self._flat_normal[:, None], 3, 1)  # what glTF asks for where no normals are given
        given = mesh.normals
        self._normals = flat if given is None else np.where((given == 0).all(2, keepdims=True), flat, given)
        self._tangents = self._corner_tangents()

    def picture(self, view: int, size: int, samples: int = 2) -> Picture:
        """From one of eight sides, orthographic, `samples` x `samples` rays a pixel."""
        angle = view * 2 * np.pi / VIEWS + 0.3
        rise = (0.35, -0.25, 0.75, 0.1)[view % 4]
        back = np.array([np.sin(angle) * np.cos(rise), np.sin(rise), np.cos(angle) * np.cos(rise)])
        right = np.cross([0.0, 1.0, 0.0], back)
        right /= np.linalg.norm(right)
        up = np.cross(back, right)
        fine = size * samples
        steps = ((np.arange(fine) + 0.5) / fine - 0.5) * 1.7
        x, y = (grid.ravel()[:, None] for grid in np.meshgrid(steps, -steps))
        flat, lit, cover = self._trace(x * right + y * up + 3.0 * back, -back)

        def pixels(values: F) -> F:
            return values.reshape(size, samples, size, samples, -1).mean((1, 3))

        return Picture(to_srgb(pixels(flat)), to_srgb(pixels(lit)), pixels(cover[:, None])[..., 0])

    def _trace(self, origins: F, direction: F) -> tuple[F, F, F]:
        """Linear colours (N, 3) without and with light, over the background, and what hides it (N,)."""
        count = len(origins)
        flat, lit, left = np.zeros((count, 3)), np.zeros((count, 3)), np.ones(count)
        rays, start = np.arange(count), np.zeros(count, np.float32)
        for _ in range(_LAYERS):
            face, where, distance = self._hit(origins[rays] + start[rays, None] * direction, direction)
            hit = face >= 0
            rays, face, where = rays[hit], face[hit], where[hit]
            start[rays] += distance[hit] + 2e-5
            if not len(rays):
                break
            colour, alpha, shade = self._surface(face, where, direction)
            flat[rays] += (left[rays] * alpha)[:, None] * colour
            lit[rays] += (left[rays] * alpha)[:, None] * shade
            left[rays] *= 1.0 - alpha
            rays = rays[left[rays] > 0.004]
        backdrop = to_linear(np.full(3, BACKGROUND)) * left[:, None]
        return flat + backdrop, lit + backdrop, 1.0 - left

    def _hit(self, origins: F, direction: F) -> tuple[NDArray[np.int32], F, NDArray[np.float32]]:
        count = len(origins)
        face = wp.empty(count, dtype=wp.int32, device="cpu")
        where = wp.empty(count, dtype=wp.vec3, device="cpu")
        inputs = [
            self._bvh.id,
            wp.array(origins.astype(np.float32), dtype=wp.vec3, device="cpu"),
            wp.vec3(*[float(v) for v in direction]),
        ]
        wp.launch(_first_hit, count, inputs=inputs, outputs=[face, where], device="cpu")
        found = where.numpy()
        weights = np.stack([found[:, 0], found[:, 1], 1.0 - found[:, 0] - found[:, 1]], 1).astype(np.float64)
        return face.numpy(), weights, found[:, 2]

    def _surface(self, face: NDArray[np.int32], where: F, direction: F) -> tuple[F, F, F]:
        """Linear base colour, alpha, and lit colour of places; alpha 0 for the back of what has only one side."""
        colour, alpha, lit = np.empty((len(face), 3)), np.empty(len(face)), np.empty((len(face), 3))
        ids = self.mesh.ids[face]
        seen = np.einsum("ij,j->i", self._flat_normal[face], direction) < 0
        for number in np.unique(ids):
            mine = np.flatnonzero(ids == number)
            material = self.mesh.materials[number]
            base, opacity, metal, rough = self._values(material, face[mine], where[mine])
            normal = self._bent(material, face[mine], where[mine])
            normal = np.where(seen[mine, None], normal, -normal)
            colour[mine], alpha[mine] = base, opacity
            lit[mine] = _lit(base, metal, rough, normal, -direction) + self._glow(material, face[mine], where[mine])
            if not material.double_sided:
                alpha[mine] *= seen[mine]
        return colour, alpha, lit

    def _values(self, material: SurfaceMaterial, face: NDArray[np.int32], where: F) -> tuple[F, F, F, F]:
        factor = np.array(material.base_colour_factor)
        base, alpha = np.tile(factor[:3], (len(face), 1)), np.full(len(face), factor[3])
        metal = np.full(len(face), material.metallic_factor)
        rough = np.full(len(face), material.roughness_factor)
        if material.base_colour is not None:
            texel = self._read(material.base_colour, face, where)
            base *= to_linear(texel[:, :3] if texel.shape[1] >= 3 else texel[:, :1])
            alpha *= texel[:, 3] if texel.shape[1] == 4 else 1.0
        if self.mesh.colours is not None:
            tint = np.einsum("nk,nkc->nc", where, self.mesh.colours[face].astype(np.float64))
            base, alpha = base * tint[:, :3], alpha * tint[:, 3]
        if material.metallic_roughness is not None:
            texel = self._read(material.metallic_roughness, face, where)
            rough, metal = rough * texel[:, 1], metal * texel[:, 2]
        if material.alpha_mode == "OPAQUE":
            alpha[:] = 1.0
        elif material.alpha_mode == "MASK":
            alpha = (alpha >= material.alpha_cutoff).astype(np.float64)
        return base, alpha, metal, rough

    def _glow(self, material: SurfaceMaterial, face: NDArray[np.int32], where: F) -> F:
        glow = np.array(material.emission_factor)[None]
        return (
            glow if material.emission is None else glow * to_linear(self._read(material.emission, face, where)[:, :3])
        )

    def _bent(self, material: SurfaceMaterial, face: NDArray[np.int32], where: F) -> F:
        normal = np.einsum("nk,nkc->nc", where, self._normals[face].astype(np.float64))
        if material.normal is not None and self._tangents is not None:
            tangent = np.einsum("nk,nkc->nc", where, self._tangents[face].astype(np.float64))
            side = self._tangents[face][:, 0, 3:]
            bent = self._read(material.normal, face, where)[:, :3] * 2.0 - 1.0
            bent[:, :2] *= material.normal_scale
            up = np.cross(normal, tangent[:, :3]) * side
            normal = bent[:, :1] * tangent[:, :3] + bent[:, 1:2] * up + bent[:, 2:] * normal
        return np.asarray(normal / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None])

    def _read(self, texture: Texture, face: NDArray[np.int32], where: F) -> F:
        corners = self.mesh.uvs_1 if texture.uv_set else self.mesh.uvs
        assert corners is not None
        uvs = np.einsum("nk,nkc->nc", where, corners[face].astype(np.float64))
        if texture.transform is not None:
            uvs = uvs @ texture.transform[:, :2].T + texture.transform[:, 2]
        height, width = texture.pixels.shape[:2]
        x, y = uvs[:, 0] * width - 0.5, uvs[:, 1] * height - 0.5
        x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        fx, fy = (x - x0)[:, None], (y - y0)[:, None]
        left, right = (_wrapped(at, width, texture.wrap[0]) for at in (x0, x0 + 1))
        top, bottom = (_wrapped(at, height, texture.wrap[1]) for at in (y0, y0 + 1))
        pixels = texture.pixels
        upper = pixels[top, left] * (1 - fx) + pixels[top, right] * fx
        lower = pixels[bottom, left] * (1 - fx) + pixels[bottom, right] * fx
        return np.asarray((upper * (1 - fy) + lower * fy) / 255.0)

    def _corner_tangents(self) -> NDArray[np.float32] | None:
        """(F, 3, 4) of the mesh as a renderer finds them: corners of equal place, normal and uv are one vertex."""
        if self.mesh.uvs is None:
            return None
        corner = np.concatenate([self.vertices[self.faces], self._normals, self.mesh.uvs], 2).reshape(-1, 8)
        bits = np.ascontiguousarray(corner.astype(np.float32)).view(np.uint32).astype(np.uint64)
        mixed = np.zeros(len(bits), np.uint64)
        for column in bits.T:
            mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
            mixed ^= mixed >> np.uint64(29)
        _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
        shared = corner[first].astype(np.float32)
        faces = inverse.reshape(-1, 3)
        return tangents(shared[:, :3], faces, unit(shared[:, 3:6]), shared[:, 6:])[faces]


def psnr(one: F, two: F, where: NDArray[np.bool_] | None = None) -> float:
    """Decibels of pictures in 0..1, over all pixels or some."""
    square = np.square(one - two)
    return float(-10.0 * np.log10(max(float((square if where is None else square[where]).mean()), 1e-10)))


def ssim(one: F, two: F) -> float:
    """Structural similarity of the luma (Z. Wang et al., "Image quality assessment", 2004; Gaussian of 1.5 pixels)."""
    from scipy.ndimage import gaussian_filter

    a, b = (picture @ np.array([0.299, 0.587, 0.114]) for picture in (one, two))

    def blur(values: F) -> F:
        return np.asarray(gaussian_filter(values, 1.5, truncate=3.5))

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    both = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


def to_linear(values: F) -> F:
    return np.where(values <= 0.04045, values / 12.92, ((np.maximum(values, 0.0) + 0.055) / 1.055) ** 2.4)


def to_srgb(values: F) -> F:
    values = np.clip(values, 0.0, 1.0)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def _wrapped(at: NDArray[np.int64], size: int, way: str) -> NDArray[np.int64]:
    if way == "repeat":
        return at % size
    if way == "mirror":
        at = at % (2 * size)
        return np.where(at < size, at, 2 * size - 1 - at)
    return np.clip(at, 0, size - 1)


def _lit(base: F, metal: F, rough: F, normal: F, view: F) -> F:
    """Three lamps and an even sky: Lambert, and a Blinn highlight as wide as the surface is rough."""
    out = 0.25 * base
    rough = np.clip(rough, 0.08, 1.0)
    shine = 2.0 / rough**4 - 1.0
    colour = 0.04 * (1 - metal)[:, None] + base * metal[:, None]
    for place, power in _LIGHTS:
        lamp = np.array(place) / np.linalg.norm(place)
        half = (lamp + view) / np.linalg.norm(lamp + view)
        facing = np.maximum(normal @ lamp, 0.0)
        highlight = np.maximum(normal @ half, 0.0) ** np.minimum(shine, 400.0) * (np.minimum(shine, 400.0) + 8) / 25
        light = base * (1 - metal)[:, None] + colour * highlight[:, None]
        out += power * facing[:, None] * light
    return out


@wp.kernel
def _first_hit(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
    direction: wp.vec3,
    face: wp.array(dtype=wp.int32),  # type: ignore[valid-type]
    where: wp.array(dtype=wp.vec3),  # type: ignore[valid-type]
) -> None:
    i = wp.tid()
    hit = wp.mesh_query_ray(mesh, origins[i], direction, 10.0)
    if hit.result:
        face[i] = hit.face
        where[i] = wp.vec3(hit.u, hit.v, hit.t)
    else:
        face[i] = -1
        where[i] = wp.vec3(0.0, 0.0, 0.0)
