"""The draft engine's one run, from picture to GLB."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import EngineError
from ...core.progress import Progress
from ...formats.glb.write import Material, Mesh, write_glb
from ...geometry.voxels.picture import points_picture
from ...images.frame import unmarked
from ...task.region import Region
from ...task.settings import DRAFT_MODEL, Settings
from ...task.task import facing_of
from ...task.views import BACK
from ..engine import Made, Order
from .back import back_colours, seen_through
from .change.change import changed, frame_of
from .fields import F32, resample, smoothstep
from .height import Form, read_form
from .hull.build import build_hull, tell_more
from .mask import Domain, Subject, build_domain, cut_out
from .material import encode, fine_normals, plain_material, surface_quality, transparent
from .mesh import at_points, lift, moved, triangulate
from .projection import project
from .quadtree import fit
from .rim import crowd, find_rim, wrap
from .texture import Atlas, own_colours, plan_atlas
from .variation import EVEN, Variation, variation_of

if TYPE_CHECKING:
    from PIL.Image import Image

# Grid cells on the longer side, per unit of the resolution setting: finer detail than that is in
# the normal texture, and a form of two sides has four triangles a cell.
_CELLS = 0.5
# The most triangles of a draft where nobody asked for more.
_TRIANGLES = 50_000
_ROUGH = 2_000  # triangles of a rough shape
# Pixels on the longer side of what is worked on: more than that, two charts of the largest atlas
# can hardly show.
_LARGEST = 2048


class ReliefEngine:
    """Inflates a picture's subject into a closed form, front and back; needs no weights."""

    model = DRAFT_MODEL

    def generate(self, order: Order, progress: Progress) -> Made:
        """A GLB of the picture's subject; see `engines.engine.Engine`. What it goes on from, to change a region, is the
        GLB of an earlier draft; so it is for a variant, which is what the picture gives between the two seeds.

        With `views` that show more than the front's outline it is their visual hull; the back alone is put on the
        back of what the front gives.

        The form's longest side is 1, its centre the origin; its front faces +Z, up is +Y. Of the
        settings, `resolution` sets the finest grid, `texture_size` the textures, and `decimation_target`,
        where it is set, is the most triangles there will be, else 50,000. Raises `EngineError` for a
        picture without a visible pixel, and for latents: it has none. On a `mesh` the picture is projected.
        """
        image = unmarked(order.image)[0] if order.image is not None else None
        views = {name: unmarked(view)[0] for name, view in order.views.items()}
        order = replace(order, image=image, views=views)
        settings, seed, latents = order.settings, order.seed, order.latents
        if order.region is not None and latents is not None and image is not None:
            return self._changed(latents, order.region, order, progress)
        strength = settings.get("variation")
        if image is None or (latents is not None and strength is None):
            raise EngineError("The draft engine keeps no latents to go on from; make the asset again from its picture.")
        if order.mesh is not None:
            return self._on_mesh(order.mesh, image, order, progress)
        variation, told, notes = Variation.from_seed(seed), dict[str, Any](), tuple[str, ...]()
        if latents is not None and strength is not None:
            first, notes = variation_of(latents)
            if strength == 0:
                return Made(latents, facts={"device": "CPU"})
            if strength < 1:
                variation = first.towards(variation, strength)
                told = {"variation": variation.to_json(), **({"notes": list(notes)} if notes else {})}
            else:
                settings = settings.replace(variation=None)
        asked = settings
        if settings.value("rough"):  # what differs from seed to seed, without what takes long
            settings = settings.replace(texture=False, faces=_ROUGH, resolution=512, texture_size=1024)
        progress.update("mask", 0.0)
        subject = cut_out(image, _LARGEST, progress.check)
        if views and tell_more(views):
            form, material = build_hull(
                subject,
                views,
                variation,
                resolution=settings.value("resolution"),
                triangles=_most_triangles(settings),
                texture_size=settings.value("texture_size"),
                lossless=settings.value("texture_format") == "png",
                textured=settings.value("texture"),
                progress=progress.part(0.05, 0.95),
            )
        else:
            form, material = _relief(subject, views.get(BACK), settings, variation, progress)

        progress.update("glb", 0.95)
        extras = {"engine": self.model, "seed": seed, "settings": asked.to_request(), **told}
        glb = write_glb(form, material, {**extras, "frame": frame_of(image, float(np.ptp(form.positions[:, 0])))})
        progress.update("glb", 1.0)
        facts = {"device": "CPU", "resolution": settings.value("resolution")}
        return Made(glb, facts={**facts, **({"notes": list(notes)} if notes else {})})

    def _changed(self, asset: bytes, region: Region, order: Order, progress: Progress) -> Made:
        """The asset with what the draft of this picture and seed has in the region."""
        other = self.generate(replace(order, latents=None, region=None), progress.part(0.0, 0.8))
        progress.update("mesh", 0.8)
        glb, note = changed(asset, other.glb, region, {"seed": order.seed}, progress.check)
        progress.update("glb", 1.0)
        return Made(glb, facts={**other.facts, **({"notes": [note]} if note else {})})

    def _on_mesh(self, mesh: bytes, image: Image, order: Order, progress: Progress) -> Made:
        """The mesh's own file, with the picture projected onto it."""
        settings = order.settings
        made = project(
            mesh,
            image,
            order.views,
            Variation.from_seed(order.seed),
            facing=facing_of(settings),
            uvs=settings.value("uvs"),
            texture_size=settings.value("texture_size"),
            lossless=settings.value("texture_format") == "png",
            extras={"engine": self.model, "seed": order.seed, "settings": settings.to_request()},
            progress=progress.part(0.0, 0.98),
        )
        progress.update("glb", 1.0)
        return Made(made.glb, facts={"device": "CPU", "notes": list(made.notes)})

    def release(self) -> None:
        """Nothing: it keeps nothing."""


def _relief(
    subject: Subject, behind: Image | None, settings: Settings, variation: Variation, progress: Progress
) -> tuple[Mesh, Material]:
    """The inflated form of the front's outline; `behind` is what is seen of it from behind, where anybody has said."""
    progress.update("mask", 0.06)
    triangles = _most_triangles(settings)
    domain = build_domain(subject, round(_CELLS * settings.value("resolution")), triangles)
    progress.update("mask", 0.1)
    colour = own_colours(subject, progress.check)
    back = None if behind is None else seen_through(subject, cut_out(behind, _LARGEST, progress.check), progress.check)

    progress.update("height", 0.15)
    solving = progress.part(0.15, 0.4)
    seen = domain.sample(colour)
    form = read_form(domain, seen, lambda share: solving.update("height", share))
    progress.picture(lambda: _early_picture(form, variation, seen))

    progress.update("mesh", 0.4)
    height, width = subject.cover.shape
    atlas = plan_atlas(width, height, settings.value("texture_size"))
    mesh = _mesh(domain, form, variation, atlas, triangles, back is not None, progress)

    progress.update("texture", 0.5)
    if not settings.value("texture"):
        return mesh, plain_material("Relief")
    lossless = settings.value("texture_format") == "png"
    return mesh, _material(subject, domain, form, colour, back, atlas, variation, lossless, progress)


def _early_picture(form: Form, variation: Variation, colour: F32) -> bytes:
    """A small picture of the form, coloured as the front is, before there is a mesh; `colour` is that of the nodes."""
    heights = form.heights(variation)
    row, column = np.nonzero(form.inside)
    bow, front, back = (field[form.inside] for field in (heights.bow, heights.front, heights.back))
    places = [np.stack([column, -away, -row], 1) for away in (bow + front, bow - back)]
    return points_picture(np.concatenate(places).astype(np.float32), np.tile(colour[form.inside], (2, 1)))


def _most_triangles(settings: Settings) -> int:
    """As many as were asked for; unasked, a draft is light."""
    if "faces" in settings:
        return int(settings.value("faces"))
    most = int(settings.value("decimation_target"))
    if most > _TRIANGLES and "decimation_target" not in settings:
        return _TRIANGLES
    return most


def _mesh(
    domain: Domain,
    form: Form,
    variation: Variation,
    atlas: Atlas,
    triangles: int,
    has_back: bool,
    progress: Progress,
) -> Mesh:
    """The closed surface in the asset's space, with its places in the atlas."""
    rim = find_rim(domain, form.dome)
    shift, power = crowd(rim, form.dome)
    # Fitted to what all seeds have in common: of one picture, all drafts have the same triangles.
    even = form.heights(EVEN)
    places = np.stack([*shift, even.front * np.sqrt(power) + even.bow, even.back * np.sqrt(power) - even.bow])
    progress.update("mesh", 0.41)
    flat = triangulate(domain, fit(domain.inside, places, triangles))
    progress.update("mesh", 0.43)
    flat, share = moved(flat, shift.reshape(2, -1).T[flat.node_index])
    # Where a node moves by less than it was to, its height's square changes by less.
    gain = np.sqrt(1.0 + share * (power.ravel()[flat.node_index] - 1.0))
    heights = form.heights(variation)
    front, back = (side.ravel()[flat.node_index] * gain for side in (heights.front, heights.back))
    surface = lift(flat, front, back, heights.bow)
    progress.update("mesh", 0.48)
    shown = domain.to_pixels(flat.points)
    hidden = shown
    if not has_back:
        wrapped = np.stack([at_points(flat, field) for field in wrap(rim, form.turned)], 1)
        hidden = domain.to_pixels(flat.points + wrapped)
    low, high = surface.positions.min(0), surface.positions.max(0)
    positions = (surface.positions - (low + high) / 2.0) / (high - low).max()
    uvs = np.concatenate([atlas.uv(shown, atlas.front), atlas.uv(hidden, atlas.back)])
    return Mesh(positions, surface.faces, surface.normals, uvs, name="Relief")


def _material(
    subject: Subject,
    domain: Domain,
    form: Form,
    colour: F32,
    seen: F32 | None,
    atlas: Atlas,
    variation: Variation,
    lossless: bool,
    progress: Progress,
) -> Material:
    """The textures of both sides, JPEG where that does, or all PNG.

    `colour` is that of `own_colours`, `seen` the back's, as seen through the front, where there is a picture of it.
    """
    height, width = subject.cover.shape
    extent = form.extent
    # 0 where the back is thin or near the silhouette and looks like the front, 1 deep inside.
    depth = domain.to_picture(smoothstep(0.15, 0.5, form.bulk), (height, width))
    back = seen
    if back is None:
        back = back_colours(colour, subject.cover, depth, extent * domain.cell, variation, progress.check)
    progress.update("texture", 0.6)

    blend = transparent(subject)
    painted = [np.dstack([side, subject.alpha]) if blend else side for side in (colour, back)]
    picture = atlas.compose(painted[0], painted[1], check=progress.check)
    progress.update("texture", 0.65)
    base_colour = encode(picture, lossless=lossless or blend)
    progress.update("material", 0.7)

    half = ((height + 1) // 2, (width + 1) // 2)
    pixels = extent * domain.cell / 2.0
    front_quality, back_quality = (surface_quality(resample(side, half), pixels) for side in (colour, back))
    quality = encode(atlas.compose(front_quality, back_quality, shrink=2, check=progress.check), lossless=True)
    progress.update("material", 0.8)

    normals = fine_normals(colour, subject.cover, domain.cell, progress.check)
    flat = np.array([0.5, 0.5, 1.0], np.float32)
    progress.update("material", 0.85)
    if seen is None:
        back_normals = normals + depth[..., None] * (flat - normals)
    else:
        back_normals = fine_normals(seen, subject.cover, domain.cell, progress.check)
    normal_atlas = atlas.compose(normals, back_normals, check=progress.check)
    progress.update("material", 0.9)
    normal = encode(normal_atlas, lossless=lossless)
    alpha_mode = "BLEND" if blend else "OPAQUE"
    return Material("Relief", base_colour, quality, normal, alpha_mode=alpha_mode)
