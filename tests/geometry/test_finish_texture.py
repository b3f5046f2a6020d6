"""Unwrapping, packing, drawing and baking, each against what geometry says must come out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("warp")
pytest.importorskip("scipy")

from trellis_addon.core.errors import Cancelled, FieldError, InputError
from trellis_addon.core.progress import Progress
from trellis_addon.formats.glb.tangents import tangents, vertex_normals
from trellis_addon.geometry.bake.bake import bake
from trellis_addon.geometry.bake.detail import Detail
from trellis_addon.geometry.bake.distant import matched_gutters
from trellis_addon.geometry.bake.gutter import nearest_filled
from trellis_addon.geometry.bake.maps import alpha_mode, decode, encode, look_up
from trellis_addon.geometry.bake.painter import Canvas
from trellis_addon.geometry.bake.volume import Volume
from trellis_addon.geometry.finish.normals import creased_normals
from trellis_addon.geometry.finish.quality_texture import colour_figures, unwrap_figures
from trellis_addon.geometry.unwrap.apart import pushed_apart
from trellis_addon.geometry.unwrap.charts import ChartedSurface, chart_axes, connected, cut_into_charts
from trellis_addon.geometry.unwrap.crumbs import folded_out
from trellis_addon.geometry.unwrap.fill import filled_in
from trellis_addon.geometry.unwrap.flatten import flattened
from trellis_addon.geometry.unwrap.grow import grown
from trellis_addon.geometry.unwrap.pack import pack, triangle_areas
from trellis_addon.geometry.unwrap.raster import rasterise, texel_places
from trellis_addon.geometry.unwrap.unfold import unfolded
from trellis_addon.geometry.unwrap.unwrap import Unwrapped, project, unwrap

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Shape = tuple[F32, I32]

TAU = 2.0 * np.pi


def patch(across: int, along: int, form: Callable[..., tuple], closed_u: bool = False, closed_v: bool = False) -> Shape:
    """A grid over the unit square bent by form(u, v) -> (x, y, z), closed in u or v."""
    u, v = np.arange(across + (not closed_u)) / across, np.arange(along + (not closed_v)) / along
    grid_u, grid_v = (grid.ravel() for grid in np.meshgrid(u, v, indexing="ij"))
    x, y, z = (np.broadcast_to(values, grid_u.shape) for values in form(grid_u, grid_v))
    columns, rows = len(u), len(v)
    i, j = np.arange(across)[:, None], np.arange(along)[None]

    def at(di: int, dj: int) -> NDArray[np.int64]:
        return ((i + di) % columns) * rows + (j + dj) % rows

    a, b, c, d = at(0, 0), at(1, 0), at(1, 1), at(0, 1)
    faces = np.concatenate([np.stack(corners, -1).reshape(-1, 3) for corners in ((a, b, c), (a, c, d))])
    return np.stack([x, y, z], 1).astype(np.float32), faces.astype(np.int32)


def plane(cells: int = 8, half: float = 0.4) -> Shape:
    return patch(cells, cells, lambda u, v: (half * (2 * u - 1), half * (2 * v - 1), 0.0 * u))


def sphere(across: int = 64, along: int = 32, radius: float = 0.4) -> Shape:
    """With triangles without area at the poles."""
    return patch(
        across,
        along,
        lambda u, v: (
            radius * np.cos(TAU * u) * np.sin(np.pi * v),
            radius * np.sin(TAU * u) * np.sin(np.pi * v),
            -radius * np.cos(np.pi * v),
        ),
        True,
    )


def torus(across: int = 96, along: int = 32) -> Shape:
    def form(u: NDArray, v: NDArray) -> tuple:
        ring = 0.3 + 0.12 * np.cos(TAU * v)
        return ring * np.cos(TAU * u), ring * np.sin(TAU * u), 0.12 * np.sin(TAU * v)

    return patch(across, along, form, True, True)


def helicoid() -> Shape:
    """Five floors of a spiral staircase: seen from above they lie on each other."""
    return patch(
        300,
        8,
        lambda u, v: (
            (0.05 + 0.3 * v) * np.cos(5 * TAU * u),
            (0.05 + 0.3 * v) * np.sin(5 * TAU * u),
            0.6 * u - 0.3,
        ),
    )


def box() -> Shape:
    corners = np.array([[x, y, z] for x in (-0.4, 0.4) for y in (-0.4, 0.4) for z in (-0.4, 0.4)], np.float32)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)


def soup() -> Shape:
    random = np.random.default_rng(0)
    corners = random.uniform(-0.4, 0.4, (150, 1, 3)) + random.normal(0, 0.02, (150, 3, 3))
    return corners.reshape(-1, 3).astype(np.float32), np.arange(450, dtype=np.int32).reshape(-1, 3)


def voxels(resolution: int, colour: Callable[[NDArray], NDArray]) -> tuple[NDArray[np.int32], F32]:
    """All voxels of a cube, with attributes as a function of their centres."""
    coords = np.stack(np.meshgrid(*[np.arange(resolution)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.int32)
    return coords, colour((coords + 0.5) / resolution - 0.5).astype(np.float32)


def linear(points: NDArray) -> NDArray:
    """Attributes that trilinear sampling reproduces exactly."""
    x, y, z = points.T
    return np.stack([0.5 + x, 0.5 + y, 0.5 + z, 0.5 - x, 0.5 - 0.5 * y, 1.0 + 0.0 * x], 1)


def canvas_of(shape: Shape, size: int) -> tuple[Canvas, Unwrapped]:
    vertices, faces = shape
    flat = unwrap(vertices, faces, size)
    places, normals = vertices[flat.source], vertex_normals(vertices, faces)[flat.source]
    return Canvas(places, flat.faces, normals, tangents(places, flat.faces, normals, flat.uvs), flat.uvs), flat


# --- charts ---


def test_a_box_is_cut_into_its_sides() -> None:
    vertices, faces = box()
    charts = cut_into_charts(vertices, faces)
    assert sorted(np.bincount(charts)) == [2] * 6
    assert all(charts[2 * k] == charts[2 * k + 1] for k in range(6))


@pytest.mark.parametrize(("shape", "most"), [(sphere(), 14), (torus(), 30), (plane(), 1)])
def test_charts_are_few_connected_and_seen_from_outside(shape: Shape, most: int) -> None:
    charts = cut_into_charts(*shape)
    surface = ChartedSurface.of(*shape)
    assert charts.max() + 1 <= most
    assert len(np.unique(charts)) == charts.max() + 1
    assert connected(surface, charts).max() == charts.max()
    axes, areas = chart_axes(surface, charts)
    facing = np.einsum("ij,ij->i", surface.normal, axes[charts])
    assert (facing[surface.area > 0] > 0).all()
    assert areas.sum() == pytest.approx(surface.area.sum())


# --- unwrapping ---

NEEDLE = (np.array([[0, 0, 0], [0.9, 0, 0], [0.4, 1e-4, 0], [0.4, -1e-4, 0]], np.float32), [[0, 1, 2], [1, 0, 3]])
AWKWARD = {
    "one triangle": (box()[0], box()[1][:1]),
    "faces without area": (box()[0], np.array([[0, 1, 3], [0, 0, 1], [2, 2, 2], [0, 3, 2]], np.int32)),
    "four faces at an edge": (box()[0], np.array([[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5]], np.int32)),
    "needle": (NEEDLE[0], np.array(NEEDLE[1], np.int32)),
    "soup": soup(),
    "hair": patch(300, 3, lambda u, v: (0.002 * np.cos(TAU * v), 0.002 * np.sin(TAU * v), 0.9 * u - 0.45), False, True),
    "helicoid": helicoid(),
}


@pytest.mark.parametrize("shape", AWKWARD.values(), ids=AWKWARD)
def test_any_mesh_is_unwrapped_without_overlap(shape: Shape) -> None:
    vertices, faces = shape
    flat = unwrap(vertices, faces, 256)
    assert np.array_equal(flat.source[flat.faces], faces)
    assert flat.uvs.min() >= 0 and flat.uvs.max() <= 1
    assert flat.raster.overlapping == 0
    assert len(np.unique(flat.charts)) == flat.charts.max() + 1


def test_a_spiral_is_cut_where_its_floors_lie_on_each_other() -> None:
    vertices, faces = helicoid()
    flat = unwrap(vertices, faces, 256)
    figures = unwrap_figures(vertices[flat.source], flat)
    assert 5 <= figures.charts <= 12
    assert figures.area_stretch_p1 > 0.9


def test_a_rod_does_not_set_the_scale_for_everything() -> None:
    vertices, faces = AWKWARD["hair"]
    flat = unwrap(vertices, faces, 512)
    figures = unwrap_figures(vertices[flat.source], flat)
    assert figures.atlas_use > 0.3 and figures.overlapping_texels == 0


def test_the_atlas_is_well_used_and_the_same_again() -> None:
    vertices, faces = torus()
    flat, again = unwrap(vertices, faces, 512), unwrap(vertices, faces, 512)
    assert np.array_equal(flat.uvs, again.uvs)
    figures = unwrap_figures(vertices[flat.source], flat)
    assert figures.atlas_use > 0.5
    assert figures.area_stretch_p1 > 0.45 and figures.area_stretch_p99 < 1.5
    assert figures.overlapping_texels == 0
    # v runs down the image, and charts are seen from outside: no triangle is mirrored.
    assert (triangle_areas(flat.uvs.astype(np.float64), flat.faces) < 0).all()


def test_packed_again_charts_stay_where_they_were() -> None:
    random = np.random.default_rng(4)
    size = random.uniform(0.5, 2.0, (60, 2))
    points = (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * size[:, None]).reshape(-1, 2)
    corners = 4 * np.arange(60)[:, None]
    faces = np.concatenate([corners + [0, 1, 2], corners + [0, 2, 3]], 1).reshape(-1, 3).astype(np.int32)
    charts = np.repeat(np.arange(60), 2)
    packed = pack(points, faces, charts, 512)
    # Half of the last chart on its own, with points of its own.
    last = int(packed.rank.argmax())
    points = np.concatenate([points, points[faces[2 * last]]])
    faces[2 * last] = len(points) - 3 + np.arange(3)
    charts[2 * last] = 60
    again = pack(points, faces, charts, 512, former=(packed, np.append(np.arange(60), last)))
    kept = np.delete(np.arange(240), 4 * last + np.arange(4))
    assert np.array_equal(again.angles[:60], packed.angles)
    assert np.abs(again.points[kept] / again.scale - packed.points[kept] / packed.scale).max() * packed.scale < 1e-9
    assert again.scale == pytest.approx(packed.scale, rel=0.02)
    assert not rasterise(again.points.astype(np.float32), faces, 2048).overlapping


def test_charts_keep_their_distance() -> None:
    vertices, faces = torus()
    flat = unwrap(vertices, faces, 512)
    inside = rasterise(flat.uvs, flat.faces, 512, borders=False).owner
    chart = np.where(inside >= 0, flat.charts[inside], -1)
    for down, right in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0)):
        one, two = chart[: 512 - down, : 512 - right], chart[down:, right:]
        assert not ((one >= 0) & (two >= 0) & (one != two)).any()


def test_what_cannot_be_unwrapped_is_refused_and_work_can_be_stopped() -> None:
    vertices, faces = box()
    with pytest.raises(InputError):
        unwrap(vertices, faces[:0], 64)
    with pytest.raises(InputError):
        unwrap(vertices, np.array([[0, 0, 1]], np.int32), 64)
    with pytest.raises(Cancelled):
        unwrap(*torus(), 64, Progress(is_cancelled=lambda: True))


# --- drawing ---


@pytest.mark.parametrize("cells", [1, 5, 16])
def test_each_texel_of_a_square_is_drawn_once(cells: int) -> None:
    # 16 cells on 32 texels: edges run exactly through texels' centres and corners.
    _, faces = plane(cells)
    uvs = (np.stack(np.meshgrid(*[np.arange(cells + 1)] * 2, indexing="ij"), -1).reshape(-1, 2) / cells).astype("f4")
    raster = rasterise(uvs, faces, 32)
    assert (raster.covered, raster.overlapping, len(raster.crowded)) == (1024, 0, 0)
    assert (raster.owner >= 0).all()
    mirrored = rasterise(uvs[:, ::-1].copy(), faces, 32)
    assert (mirrored.covered, mirrored.overlapping) == (1024, 0)


def test_overlaps_are_counted_and_named() -> None:
    uvs = np.array([[0, 0], [1, 0], [0, 1], [0, 0.02], [0.5, 0.02], [0, 0.5]], np.float32)
    raster = rasterise(uvs, np.array([[0, 1, 2], [3, 4, 5]], np.int32), 64)
    expected = (0.5 * 0.48 / 2) * 64 * 64
    assert raster.overlapping == pytest.approx(expected, rel=0.1)
    assert raster.crowded.tolist() == [[0, 1]]


def test_texels_beside_a_triangle_continue_it() -> None:
    uvs = np.array([[0.3, 0.3], [0.7, 0.3], [0.3, 0.7]], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    raster = rasterise(uvs, faces, 32)
    texels = raster.texels()
    assert raster.covered < len(texels) < 3 * raster.covered
    owner, weights = texel_places(raster, texels, uvs, faces)
    centres = np.stack([texels % 32 + 0.5, texels // 32 + 0.5], 1) / 32
    assert np.abs(weights @ uvs - centres).max() < 1e-5
    assert (weights < 0).any() and (owner == 0).all()


def test_gutters_take_the_nearest_texel() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    filled = np.random.default_rng(1).random((70, 90)) < 0.01
    source = nearest_filled(filled)
    rows, columns = np.divmod(source, 90)
    assert filled[rows, columns].all()
    y, x = np.mgrid[:70, :90]
    distance = np.hypot(rows - y, columns - x)
    assert np.allclose(distance, ndimage.distance_transform_edt(~filled))
    assert np.array_equal(nearest_filled(np.zeros((3, 4), bool)), np.arange(12).reshape(3, 4))


# --- voxels ---


def test_seams_do_not_show_from_afar() -> None:
    """On both sides of each seam the fourth mip level has about one colour, and the surface keeps its own."""
    vertices, faces = torus()
    flat = unwrap(vertices, faces, 512)
    inside = rasterise(flat.uvs, flat.faces, 512, borders=False).owner
    rainbow = ((vertices[flat.source] + 0.5) * 255).astype(np.uint8)
    colours = (
        rainbow[flat.faces[inside, 0]].reshape(-1, 3)[nearest_filled(inside >= 0).reshape(-1)].reshape(512, 512, 3)
    )
    made = matched_gutters(colours, inside >= 0, vertices[flat.source], flat.faces, flat.uvs)
    assert (made[inside >= 0] == colours[inside >= 0]).all()
    odd = (colours[:200, :200], inside[:200, :200] >= 0, vertices[flat.source], flat.faces, flat.uvs)
    assert matched_gutters(*odd) is odd[0]  # its fourth level has no whole texels

    def apart(picture: NDArray) -> float:
        """The mean difference over the places where vertices were split, in steps of 255."""
        small = picture.reshape(32, 16, 32, 16, 3).mean((1, 3))
        seen = look_up(small, flat.uvs.astype(float))
        mean = np.stack([np.bincount(flat.source, seen[:, k]) / np.bincount(flat.source) for k in range(3)], 1)
        split = np.bincount(flat.source)[flat.source] > 1
        return float(np.abs(seen - mean[flat.source])[split].mean())

    assert apart(made) < 0.7 * apart(colours)


def test_sampling_is_trilinear_and_never_dark() -> None:
    coords, values = voxels(20, linear)
    random = np.random.default_rng(2)
    points = random.uniform(-0.45, 0.45, (500, 3)).astype(np.float32)
    assert np.abs(Volume(coords, values, 20).sample(points) - linear(points)).max() < 1e-5
    # A shell with holes and constant values: whatever is missing, the value stays.
    some = random.random(len(coords)) < 0.05
    constant = np.full((int(some.sum()), 6), 0.7, np.float32)
    sparse = Volume(coords[some], constant, 20)
    assert np.abs(sparse.sample(points) - 0.7).max() < 1e-5


def test_sampling_agrees_with_the_searching_sampler() -> None:
    sampling = pytest.importorskip("devtools.geometry.sampling")
    random = np.random.default_rng(3)
    coords = np.unique(random.integers(0, 37, (4000, 3)), axis=0).astype(np.int32)
    values = random.random((len(coords), 6)).astype(np.float32)
    points = ((coords[::3] + random.random((len(coords[::3]), 3))) / 37 - 0.5).astype(np.float32)
    expected = sampling.sample_trilinear(values, coords, 37, (points + 0.5) * 37)
    assert np.abs(Volume(coords, values, 37).sample(points) - expected).max() < 1e-5


def test_volumes_of_bytes_and_bad_volumes() -> None:
    coords = np.array([[1, 2, 3]], np.int32)
    point = np.zeros((1, 3), np.float32)
    assert Volume(coords, np.full((1, 6), 255, np.uint8), 8).sample(point).tolist() == [[1.0] * 6]
    assert Volume(coords, np.full((1, 6), 3.0), 8).sample(point).tolist() == [[1.0] * 6]
    for places, values, resolution in (
        (coords, np.zeros((2, 6)), 8),
        (coords, np.zeros((1, 5)), 8),
        (coords, np.zeros((1, 6)), 3),
        (coords[:0], np.zeros((0, 6)), 8),
    ):
        with pytest.raises(InputError):
            Volume(places, values, resolution)


# --- baking ---


def test_colours_are_baked_exactly_and_everywhere() -> None:
    shape = torus()
    canvas, flat = canvas_of(shape, 256)
    detail = Detail.of(*shape, Volume(*voxels(32, linear), 32))
    baked = bake(canvas, detail, 256)
    textures = baked.textures
    texels = baked.raster.texels()
    inside = rasterise(canvas.uvs, canvas.faces, 256, borders=False).owner.reshape(-1)[texels] >= 0
    owner, weights = texel_places(baked.raster, texels, canvas.uvs, canvas.faces)
    points = np.einsum("nk,nkc->nc", weights, canvas.vertices[canvas.faces[owner]])
    expected = linear(points) * 255
    colour = textures.base_colour.reshape(-1, 4)[texels].astype(float)
    surface = textures.metallic_roughness.reshape(-1, 3)[texels].astype(float)
    assert np.abs(colour - expected[:, [0, 1, 2, 5]])[inside].max() <= 0.51
    assert (
        np.abs(surface - np.stack([np.full(len(texels), 255), expected[:, 4], expected[:, 3]], 1))[inside].max() < 0.51
    )
    assert (textures.base_colour[..., 3] == 255).all()
    figures = colour_figures(canvas.vertices, flat, detail, textures.base_colour, textures.metallic_roughness)
    # Bilinear look-ups read texels beside the charts too: no seam is worse than rounding.
    assert figures.colour_error_mean < 0.4 and figures.colour_error_p99 < 1.5
    assert figures.colour_psnr > 50 and figures.metallic_roughness_error_mean < 0.4


def shaded(canvas: Canvas, flat: Unwrapped, normal: NDArray[np.uint8], owner: I32, weights: F32) -> NDArray:
    """The unit normals that a renderer makes of a tangent-space texture."""
    corners = canvas.faces[owner]
    mixed = [np.einsum("nk,nkc->nc", weights, values[corners]) for values in (canvas.normals, canvas.tangents)]
    tangent = mixed[1][:, :3]
    bitangent = np.cross(mixed[0], tangent) * canvas.tangents[corners[:, 0], 3:]
    uvs = np.einsum("nk,nkc->nc", weights, flat.uvs[corners].astype(np.float64))
    local = look_up(normal, uvs) / 127.5 - 1.0
    out = local[:, :1] * tangent + local[:, 1:2] * bitangent + local[:, 2:] * mixed[0]
    return out / np.linalg.norm(out, axis=1)[:, None]


def test_the_normal_texture_brings_back_the_dense_form() -> None:
    coarse, fine = torus(40, 14), torus(400, 140)
    canvas, flat = canvas_of(coarse, 512)
    detail = Detail.of(*fine, Volume(*voxels(8, linear), 8))
    textures = bake(canvas, detail, 512).textures
    assert textures.normal is not None
    random = np.random.default_rng(4)
    owner = random.integers(0, len(canvas.faces), 4000).astype(np.int32)
    weights = random.dirichlet((1, 1, 1), 4000).astype(np.float32)
    points = np.einsum("nk,nkc->nc", weights, canvas.vertices[canvas.faces[owner]])
    found = detail.surface.closest(points)
    truth = np.einsum("nk,nkc->nc", found.barycentrics, detail.normals[fine[1][found.faces]])
    truth /= np.linalg.norm(truth, axis=1)[:, None]
    error = np.degrees(
        np.arccos(np.clip((shaded(canvas, flat, textures.normal, owner, weights) * truth).sum(1), -1, 1))
    )
    flat_normal = np.broadcast_to(np.array([128, 128, 255], np.uint8), textures.normal.shape)
    plain = np.degrees(np.arccos(np.clip((shaded(canvas, flat, flat_normal, owner, weights) * truth).sum(1), -1, 1)))
    assert np.mean(error) < 0.7 and np.percentile(error, 99) < 3
    assert np.mean(error) < 0.4 * np.mean(plain)


def test_a_flat_surface_has_a_flat_normal_texture() -> None:
    shape = plane()
    canvas, _ = canvas_of(shape, 64)
    textures = bake(canvas, Detail.of(*shape, Volume(*voxels(8, linear), 8)), 64).textures
    assert textures.normal is not None
    assert (np.abs(textures.normal.astype(int) - [128, 128, 255]) <= 1).all()
    assert bake(canvas, Detail.of(*shape, Volume(*voxels(8, linear), 8)), 64, normal_map=False).textures.normal is None


def test_occlusion_is_dark_in_a_pit_and_nowhere_else() -> None:
    def pit(u: NDArray, v: NDArray) -> tuple:
        x, y = 0.8 * (u - 0.5), 0.8 * (v - 0.5)
        return x, y, -0.3 / (1.0 + np.exp((np.hypot(x, y) - 0.08) / 0.004))

    shape = patch(90, 90, pit)
    canvas, flat = canvas_of(shape, 256)
    detail = Detail.of(*shape, Volume(*voxels(8, linear), 8))
    textures = bake(canvas, detail, 256, occlusion_rays=48).textures
    assert textures.occlusion
    owner = np.arange(len(canvas.faces), dtype=np.int32)
    centres = canvas.vertices[canvas.faces].mean(1)
    openness = look_up(textures.metallic_roughness[..., :1], flat.uvs[canvas.faces[owner]].mean(1).astype(float))[:, 0]
    radius = np.hypot(centres[:, 0], centres[:, 1])
    assert openness[radius < 0.04].mean() < 140
    assert openness[radius > 0.2].min() > 240
    assert (bake(canvas, detail, 64).textures.metallic_roughness[..., 0] == 255).all()


# --- tangents ---


def test_tangents_follow_u_and_bitangents_point_up_the_image() -> None:
    vertices, faces = plane(4)
    normals = vertex_normals(vertices, faces)
    uvs = np.stack([vertices[:, 0] + 0.5, 0.5 - vertices[:, 1]], 1)  # v down: y is up in the image
    made = tangents(vertices, faces, normals, uvs)
    assert np.allclose(made, [1, 0, 0, 1], atol=1e-6)
    assert np.allclose(tangents(vertices, faces, normals, uvs[:, ::-1].copy()), [0, -1, 0, -1], atol=1e-6)


def test_tangents_are_unit_and_at_right_angles() -> None:
    canvas, _ = canvas_of(sphere(), 128)
    assert np.allclose(np.linalg.norm(canvas.tangents[:, :3], axis=1), 1, atol=1e-5)
    assert np.abs(np.einsum("ij,ij->i", canvas.tangents[:, :3], canvas.normals)).max() < 1e-5
    assert set(canvas.tangents[:, 3]) == {1.0}
    lost = tangents(np.zeros((3, 3), "f4"), np.array([[0, 1, 2]]), np.eye(3, dtype="f4"), np.zeros((3, 2), "f4"))
    assert np.allclose(np.linalg.norm(lost[:, :3], axis=1), 1)


def test_normals_break_at_creases_only() -> None:
    vertices, faces = box()
    normals, group = creased_normals(vertices, faces)
    assert len(normals) == 24
    flat = np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]])
    flat /= np.linalg.norm(flat, axis=1)[:, None]
    assert np.allclose(normals[group], flat[:, None], atol=1e-6)
    for turned in (faces, faces[:, ::-1].copy()):
        assert len(creased_normals(vertices, turned, crease=100)[0]) == 8
    round_normals, round_group = creased_normals(*torus())
    assert len(round_normals) == len(torus()[0])
    assert np.allclose(round_normals[round_group], vertex_normals(*torus())[torus()[1]], atol=1e-5)


# --- images ---


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (np.full(1000, 250), "OPAQUE"),
        (np.repeat([255, 0, 100], [900, 90, 10]), "MASK"),
        (np.repeat([255, 120], [900, 100]), "BLEND"),
        (np.full(1000, 90), "BLEND"),
        (np.repeat([255, 0], [9999, 1]), "OPAQUE"),
    ],
)
def test_alpha_is_what_the_texels_say(alpha: NDArray, expected: str) -> None:
    image = np.full((1, len(alpha), 4), 255, np.uint8)
    image[0, :, 3] = alpha
    assert alpha_mode(image, np.ones((1, len(alpha)), bool)) == expected
    assert alpha_mode(image, np.zeros((1, len(alpha)), bool)) == "OPAQUE"


@pytest.mark.parametrize("kind", ["webp", "png"])
@pytest.mark.parametrize("channels", [3, 4])
def test_images_come_back(kind: str, channels: int) -> None:
    image = np.random.default_rng(5).integers(0, 256, (40, 40, channels)).astype(np.uint8)
    assert np.array_equal(decode(encode(image, kind, exact=True)), image)
    smooth = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(channels, 2)
    assert np.abs(decode(encode(smooth, kind, exact=False)).astype(int) - smooth).mean() < 2
    with pytest.raises(FieldError):
        encode(image, "gif", exact=True)


# --- figures ---


def test_stretch_is_measured() -> None:
    vertices, faces = plane(4)
    flat = unwrap(vertices, faces, 64)
    even = unwrap_figures(vertices[flat.source], flat)
    assert even.area_stretch_p1 == pytest.approx(1, abs=1e-3)
    assert even.angle_stretch_p99 == pytest.approx(1, abs=1e-3)
    uvs = np.stack([0.4 * vertices[:, 0] + 0.5, 0.8 * vertices[:, 1] + 0.5], 1).astype(np.float32)
    squeezed = Unwrapped(np.arange(len(vertices)), faces, uvs, np.zeros(len(faces), np.int64), flat.raster)
    assert unwrap_figures(vertices, squeezed).angle_stretch_p50 == pytest.approx(2, abs=1e-3)


# --- charts without stretch ---


@pytest.mark.parametrize("shape", [torus(), sphere(), AWKWARD["helicoid"]], ids=["torus", "sphere", "helicoid"])
def test_charts_keep_lengths_and_turn_nothing_over(shape: Shape) -> None:
    vertices, faces = shape
    surface = ChartedSurface.of(vertices, faces)
    charts = cut_into_charts(vertices, faces)
    seen = project(vertices, faces, surface, charts)
    points = flattened(vertices, seen.source, seen.faces, seen.points, charts)
    sound = surface.area > 0
    assert (triangle_areas(points, seen.faces)[sound] <= 0).all()

    def stretch(places: NDArray) -> float:
        """The mean, by area, of how much longer an edge is than on the surface, or shorter."""
        ends = [values[seen.faces] for values in (places, vertices[seen.source].astype(float))]
        one, two = (np.linalg.norm(end - np.roll(end, -1, 1), axis=2)[sound] for end in ends)
        ratio = np.maximum(one, 1e-9) / np.maximum(two, 1e-9)
        return float((np.maximum(ratio, 1 / ratio).mean(1) * surface.area[sound]).sum() / surface.area.sum())

    assert stretch(points) < 1.03 and stretch(points) <= stretch(seen.points)


def test_crumbs_fold_out_onto_a_neighbour_that_has_room() -> None:
    vertices, faces = box()
    flat = unwrap(vertices, faces, 256)
    figures = unwrap_figures(vertices[flat.source], flat)
    assert figures.charts <= 3 and figures.overlapping_texels == 0
    assert figures.area_stretch_p1 == pytest.approx(1, abs=1e-3) and figures.angle_stretch_p99 == pytest.approx(
        1, abs=1e-3
    )


def test_a_tiny_crumb_is_squeezed_onto_a_border() -> None:
    """One that would lie on the chart where it belongs: a fold without a breadth of its own in the atlas."""
    faces = np.array([[0, 1, 2], [1, 0, 3], [3, 0, 4]], np.int32)
    flat = np.array([[0, 0], [1, 0], [0.5, -1], [0.5, -1], [-0.2, -1]], float)  # v down: seen from outside
    far = np.arange(5, 41).reshape(12, 3).astype(np.int32)  # the rest of the chart
    corners = np.concatenate([flat[faces], np.full((12, 3, 2), 9.0)])
    faces, area = np.concatenate([faces, far]), np.array([0.5, 1e-4, 1e-4, *[1.0] * 12])
    pairs, charts = np.array([[0, 1], [1, 2]]), np.array([0, 1, 1, *[0] * 12])
    none = np.zeros(15, np.int64)
    _, _, moved = folded_out(faces, pairs, corners, area, charts, none)
    assert not moved.any()
    laid, merged, moved = folded_out(faces, pairs, corners, area, charts, none, 1e-3)
    assert np.flatnonzero(moved).tolist() == [1, 2] and (merged == 0).all()
    sizes = -triangle_areas(laid[:3].reshape(-1, 2), np.arange(9, dtype=np.int32).reshape(3, 3))
    assert (sizes > 0).all() and (sizes[1:] <= 0.2 * 1.01e-4).all()
    assert (laid[1, :2] == flat[[1, 0]]).all()
    assert not folded_out(faces, pairs, corners, area, charts, none, 1e-5)[2].any()


def test_a_crumb_is_hinged_where_it_has_room() -> None:
    """A side of a box that touches two others, laid flat already: one edge holds it, the other is cut."""
    one = np.array([[0, 1, 2], [0, 2, 3], [3, 2, 4], [3, 4, 5]], np.int32)  # two sides, below each other
    places = np.array([[0, 0], [1, 0], [1, -1], [0, -1], [1, -2], [0, -2]], float)
    side = np.array([[2, 1, 6], [2, 6, 4]], np.int32)  # of edges with both of them
    far = np.arange(7, 43).reshape(12, 3).astype(np.int32)  # the rest of the chart
    faces = np.concatenate([one, side, far])
    alone = np.array([[5, -4], [5, -3], [6, -3], [6, -4]], float)[[[0, 1, 2], [0, 2, 3]]]
    corners = np.concatenate([places[one], alone, np.full((12, 3, 2), 9.0)])
    area, charts = np.array([*[0.5] * 6, *[1.0] * 12]), np.array([0] * 4 + [1] * 2 + [0] * 12)
    pairs, none = np.array([[0, 4], [2, 5], [4, 5], [0, 1], [1, 2], [2, 3]]), np.zeros(18, np.int64)
    laid, merged, moved = unfolded(faces, pairs, corners, area, charts, none, 0.01)
    assert np.flatnonzero(moved).tolist() == [4, 5] and (merged == 0).all()
    assert np.allclose(-triangle_areas(laid[4:6].reshape(-1, 2), np.arange(6, dtype=np.int32).reshape(2, 3)), 0.5)
    corners[6, :] = [[1.2, -0.5], [1.7, -0.5], [1.7, -0.9]]  # something lies where it would go
    corners[7, :] = [[1.2, -1.1], [1.7, -1.1], [1.7, -1.9]]
    assert not unfolded(faces, pairs, corners, area, charts, none, 0.01)[2].any()


def test_a_crumb_fills_the_hole_that_it_left() -> None:
    """A crumple: what is around makes room until no face is turned over."""
    vertices, faces = plane(6)
    flat = vertices[:, :2].astype(float) * [1.0, -1.0]
    middle = int(np.linalg.norm(flat, axis=1).argmin())
    flat[middle] += 0.35  # over the faces next to it
    folded = np.flatnonzero(triangle_areas(flat, faces) > 0)
    assert 0 < len(folded) < 10
    charts = np.isin(np.arange(len(faces)), folded).astype(np.int64)
    surface = ChartedSurface.of(vertices, faces)
    corners, none = flat[faces], np.zeros(len(faces), np.int64)
    laid, merged, moved = filled_in(vertices, faces, surface.pairs, corners, surface.area, charts, none, 0.0)
    assert moved[folded].all() and (merged == merged[0]).all()
    sizes = -triangle_areas(laid.reshape(-1, 2), np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3))
    assert np.allclose(sizes, surface.area, rtol=0.1)


def test_a_crumb_of_a_closed_speck_has_no_hole_to_fill() -> None:
    """What scans are full of: all that is around it may move, and nothing holds it."""
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32)
    surface, charts = ChartedSurface.of(vertices, faces), np.array([0, 1, 1, 1])
    flat = np.array([[0, 0], [1, 0], [0, -1], [0.3, -0.3]], float)
    _, merged, moved = filled_in(
        vertices, faces, surface.pairs, flat[faces], surface.area, charts, np.zeros(4, np.int64), 0.0
    )
    assert not moved.any() and (merged == charts).all()


def test_a_crumb_that_nothing_takes_takes_of_its_neighbour() -> None:
    vertices, faces = plane(6)
    surface, charts = ChartedSurface.of(vertices, faces), np.zeros(len(faces), np.int64)
    charts[[0, 36]] = 1  # the two faces of a corner
    corners = vertices[faces][..., :2].astype(float) * [1.0, -1.0]
    laid, merged = grown(vertices, faces, surface.pairs, corners, surface.area, charts, 0.0)
    assert np.bincount(merged).min() >= 10 and (merged[[0, 36]] == merged[0]).all()
    assert connected(surface, merged).max() == 1
    sizes = -triangle_areas(laid.reshape(-1, 2), np.arange(3 * len(faces), dtype=np.int32).reshape(-1, 3))
    assert np.allclose(sizes, surface.area, rtol=0.1)


def test_faces_that_lie_on_each_other_are_pushed_apart() -> None:
    """More than a full turn around a vertex on the border, by a texel or two."""
    angles = np.radians(np.linspace(0.0, -368.0, 9))
    points = np.concatenate([[[64.0, 64.0]], 64.0 + 30.0 * np.stack([np.cos(angles), np.sin(angles)], 1)])
    faces = np.array([[0, k, k + 1] for k in range(1, 9)], np.int32)
    before = rasterise((points / 128).astype(np.float32), faces, 128, borders=False)
    assert before.overlapping
    after = pushed_apart(points, faces, before.crowded, 0.75)
    assert not rasterise((after / 128).astype(np.float32), faces, 128, borders=False).overlapping
    assert (np.linalg.norm(after - points, axis=1) <= 4.0).all() and (triangle_areas(after, faces) < 0).all()


def test_gaps_are_wide_where_borders_are_short() -> None:
    def nearest(shape: Shape) -> float:
        """The least distance between two charts, in texels of 1024."""
        ndimage = pytest.importorskip("scipy.ndimage")
        flat = unwrap(*shape, 1024)
        inside = rasterise(flat.uvs, flat.faces, 1024, borders=False).owner
        chart = np.where(inside >= 0, flat.charts[inside], -1)
        far = [ndimage.distance_transform_edt(chart != k)[(chart >= 0) & (chart != k)].min() for k in range(3)]
        return float(min(far))

    assert nearest(torus()) >= 8
    assert 2 <= nearest(soup()) < 8


def test_creases_of_the_dense_surface_stay_creases() -> None:
    # A box of many faces: smooth normals would bend over its edges.
    sides = 24
    _, grid = plane(sides)
    square = (np.stack(np.meshgrid(*[np.arange(sides + 1)] * 2, indexing="ij"), -1).reshape(-1, 2) / sides - 0.5) * 0.8
    parts = []
    for axis in range(3):
        for sign in (-1, 1):
            ordered = square if sign > 0 else square[:, ::-1]
            ordered = ordered if axis != 1 else ordered[:, ::-1]
            parts.append(np.insert(ordered, axis, 0.4 * sign, 1))
    corners = np.concatenate(parts).astype(np.float32)
    numbers = np.concatenate([grid + len(square) * k for k in range(6)])
    _, first, where = np.unique(corners.round(5), axis=0, return_index=True, return_inverse=True)
    dense = corners[first], where.reshape(-1)[numbers].astype(np.int32)
    detail = Detail.of(*dense, Volume(*voxels(8, linear), 8))
    points = np.float32([[0.395, 0.01, 0.4], [0.4, 0.01, 0.395]])
    seen = detail.read(points, points, 100.0).normals
    assert seen is not None
    assert np.abs(seen / np.linalg.norm(seen, axis=1)[:, None]) == pytest.approx(
        np.float32([[0, 0, 1], [1, 0, 0]]), abs=1e-5
    )
