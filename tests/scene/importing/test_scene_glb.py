"""GLBs with more in them than is shown, with an alpha that would hide them, and beside other people's add-ons."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

bpy = pytest.importorskip("bpy")

from conftest import disc, sentence  # noqa: E402
from scene_objects import datablocks, write  # noqa: E402
from test_glb_check import CUBE, Glb, half_clear, simple  # noqa: E402

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, TrellisError  # noqa: E402
from trellis_addon.formats.glb.alpha import material_alpha  # noqa: E402
from trellis_addon.formats.glb.check import check_glb, split_glb  # noqa: E402
from trellis_addon.formats.glb.read import read_glb  # noqa: E402
from trellis_addon.formats.glb.scenes import one_scene, shown_roots  # noqa: E402
from trellis_addon.scene.asset import library  # noqa: E402
from trellis_addon.scene.importing.materials import principled_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


# --- scenes and nodes ---


def with_document(change: Callable[[dict[str, Any]], object]) -> Glb:
    glb = simple()
    change(glb.document)
    return glb


def loose(document: dict[str, Any]) -> None:
    document["nodes"].append({"mesh": 0, "name": "loose", "translation": [5, 0, 0]})


def loose_family(document: dict[str, Any]) -> None:
    document["nodes"] += [{"children": [2], "translation": [0, 0, 9]}, {"mesh": 0}]


def loose_and_moving(document: dict[str, Any]) -> None:
    loose(document)
    document["animations"] = [{"channels": [], "samplers": []}]


WHAT_IS_SHOWN = {
    "two scenes share a node": lambda d: d["scenes"].append({"nodes": [0]}),
    "three scenes share a node": lambda d: d["scenes"].extend([{"nodes": [0]}, {"nodes": [0]}]),
    "an empty scene": lambda d: d["scenes"].append({"name": "empty"}),
    "an empty scene first": lambda d: (d["scenes"].insert(0, {"name": "empty"}), d.pop("scene")),
    "the named scene is empty": lambda d: d["scenes"].insert(0, {"name": "empty"}),
    "another scene has another thing": lambda d: (loose(d), d["scenes"].append({"nodes": [1]})),
    "the second is the default": lambda d: (loose(d), d["scenes"].insert(0, {"nodes": [1]}), d.update(scene=1)),
    "no default": lambda d: d.pop("scene"),
    "no scene at all": lambda d: (d.pop("scene"), d.pop("scenes")),
    "a node in no scene": loose,
    "a family in no scene": loose_family,
    "a moving node in no scene": loose_and_moving,
    "a node named twice": lambda d: d["scenes"][0].update(nodes=[0, 0]),
}


@pytest.mark.parametrize("what", WHAT_IS_SHOWN)
def test_only_what_the_file_shows_comes_in(what: str, tmp_path: Path) -> None:
    path = write(tmp_path, with_document(WHAT_IS_SHOWN[what]))
    before = [scene.name for scene in bpy.data.scenes]
    obj = blender.import_asset(path, height=None)
    assert len(obj.data.vertices) == 8 and max(obj.dimensions) == pytest.approx(2.0)
    assert [scene.name for scene in bpy.data.scenes] == before
    assert [found for found in bpy.data.objects if found != obj] == []
    assert len(read_glb(path).faces) == 12, "what draws previews and rebuilds sees the same"
    check_glb(one_scene(path.read_bytes()))


def test_a_file_that_shows_all_it_has_stays_as_it_is() -> None:
    data = simple().done()
    assert one_scene(data) is data
    several = with_document(lambda d: (loose(d), d["scenes"][0].update(nodes=[0, 1]))).done()
    assert one_scene(several) is several and shown_roots(split_glb(several)[0]) == [0, 1]


def test_a_shown_child_keeps_the_place_that_its_parents_give_it(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["nodes"] = [{"mesh": 0}, {"children": [0], "scale": [1, 3, 1]}]

    obj = blender.import_asset(write(tmp_path, with_document(change)), height=None)
    assert obj.dimensions.z == pytest.approx(6.0)


def test_animations_of_what_is_not_shown_are_left_out(tmp_path: Path) -> None:
    glb = simple()
    times, places = glb.accessor([0.0, 1.0], min=[0], max=[1]), glb.accessor([[0, 0, 0], [1, 0, 0]])
    loose(glb.document)
    glb.document["animations"] = [
        {
            "samplers": [{"input": times, "output": places}],
            "channels": [{"sampler": 0, "target": {"node": node, "path": "translation"}} for node in (0, 1)],
        }
    ]
    (animation,) = split_glb(one_scene(glb.done()))[0]["animations"]
    assert [channel["target"]["node"] for channel in animation["channels"]] == [0]
    assert len(blender.import_asset(write(tmp_path, glb)).data.vertices) == 8


def test_nothing_shown_is_said() -> None:
    glb = with_document(lambda d: d["scenes"][0].update(nodes=[]))
    assert shown_roots(split_glb(glb.done())[0]) == []


def test_a_file_that_shows_nothing_leaves_nothing(tmp_path: Path) -> None:
    before = datablocks()
    with pytest.raises(DamagedFileError) as caught:
        blender.import_asset(write(tmp_path, with_document(lambda d: d["scenes"][0].update(nodes=[]))))
    sentence(caught.value)
    assert datablocks() == before


# --- alpha ---


def solid(alpha: int, size: int = 16) -> Image.Image:
    return Image.new("RGBA", (size, size), (200, 60, 30, alpha))


def speckled(alpha: int) -> Image.Image:
    picture = solid(alpha, 64)
    picture.putpixel((3, 3), (200, 60, 30, 255))
    return picture


@pytest.mark.parametrize(
    ("picture", "material", "wanted"),
    [
        (solid(0), {}, "OPAQUE"),
        (solid(0), {"alphaMode": "OPAQUE"}, "OPAQUE"),
        (solid(20), {"alphaMode": "OPAQUE"}, "OPAQUE"),
        (speckled(0), {"alphaMode": "OPAQUE"}, "OPAQUE"),
        (solid(0), {"alphaMode": "BLEND"}, "OPAQUE"),
        (solid(0), {"alphaMode": "MASK"}, "OPAQUE"),
        (solid(100), {"alphaMode": "MASK"}, "OPAQUE"),
        (solid(100), {"alphaMode": "MASK", "alphaCutoff": 0.2}, "BLEND"),
        (solid(100), {"alphaMode": "BLEND"}, "BLEND"),
        (half_clear(left=120, right=255), {"alphaMode": "OPAQUE"}, "BLEND"),
    ],
)
def test_an_alpha_that_leaves_nothing_to_see_is_none(
    picture: Image.Image, material: dict[str, Any], wanted: str, tmp_path: Path
) -> None:
    glb = simple(picture, **material)
    assert material_alpha(glb.done()) == [wanted]
    obj = blender.import_asset(write(tmp_path, glb))
    alpha = principled_of(obj.material_slots[0].material).inputs["Alpha"]
    assert alpha.is_linked is (wanted != "OPAQUE")
    shown = tmp_path / "picture.png"
    blender.render_object(obj, shown, size=24, samples=4, view="front", transparent=True)
    assert Image.open(shown).getpixel((12, 12))[3] > (250 if wanted == "OPAQUE" else 50)


def test_a_factor_may_hide_it_as_well(tmp_path: Path) -> None:
    glb = simple(disc(16).convert("RGB"), alphaMode="BLEND")
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0]
    assert material_alpha(glb.done()) == ["OPAQUE"]
    obj = blender.import_asset(write(tmp_path, glb))
    assert principled_of(obj.material_slots[0].material).inputs["Alpha"].default_value == 1.0
    glb.document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] = [1, 1, 1, 0.05]
    assert material_alpha(glb.done()) == ["BLEND"], "thin glass is to be seen"
    glb.document["materials"][0]["alphaMode"] = "OPAQUE"
    assert material_alpha(glb.done()) == ["OPAQUE"], "an opaque material's factor says nothing"


def test_leaves_on_clear_cards_stay_cut_out() -> None:
    """All corners of such a card are clear, and what is to be seen is in its middle."""
    picture = solid(0, 64)
    picture.paste((40, 160, 60, 255), (8, 8, 24, 24))
    assert material_alpha(simple(picture, alphaMode="MASK").done()) == ["MASK"]


def test_a_clear_part_of_something_is_meant() -> None:
    glb = simple(solid(0), alphaMode="BLEND")
    glb.add("materials", {"name": "Body"})
    glb.cube(CUBE + np.float32(3), material=1)
    glb.document["nodes"].append({"mesh": 1})
    glb.document["scenes"][0]["nodes"] = [0, 1]
    assert material_alpha(glb.done())[0] != "OPAQUE"
    glb.document["scenes"][0]["nodes"] = [0]
    assert material_alpha(one_scene(glb.done()))[0] == "OPAQUE", "what is not shown does not count"


# --- other people's add-ons ---


class Hook:
    """What another add-on hangs into Blender's importer and exporter; it fails at whatever it is called for."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("gather", "export", "glTF2")):
            raise AttributeError(name)

        def fail(*arguments: Any) -> None:
            raise ValueError("its own trouble")

        return fail

    is_critical = True


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("it cannot even be made")


@pytest.fixture(params=[Hook, Broken])
def other_addon(request: pytest.FixtureRequest) -> Iterator[types.ModuleType]:
    module = types.ModuleType("somebody_elses_addon")
    for way in ("Import", "Export"):
        setattr(module, f"glTF2{way}UserExtension", request.param)
        setattr(module, f"glTF2{way}UserExtensions", [request.param])
    module.glTF2_pre_export_callback = module.glTF2_post_export_callback = lambda settings: 1 / 0  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    entry = bpy.context.preferences.addons.new()
    entry.module = module.__name__
    yield module
    bpy.context.preferences.addons.remove(entry)
    del sys.modules[module.__name__]


def test_another_addons_hooks_are_left_out(other_addon: types.ModuleType, tmp_path: Path) -> None:
    names = set(vars(other_addon))
    obj = blender.import_asset(write(tmp_path, simple()))
    assert len(obj.data.vertices) == 8
    assert set(vars(other_addon)) == names, "the add-on has its hooks again"
    with pytest.raises(DamagedFileError):
        blender.import_asset(write(tmp_path, b"nothing", "broken"))
    assert set(vars(other_addon)) == names


def test_what_nobody_foresaw_is_a_sentence_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from trellis_addon.scene.importing import importer

    path, before = write(tmp_path, simple()), datablocks()

    def odd(*arguments: Any) -> None:
        raise KeyError("position")

    for step in ("clean_mesh_object", "wire_materials", "place", "give_collection"):
        with monkeypatch.context() as patch:
            patch.setattr(importer, step, odd)
            with pytest.raises(TrellisError, match="KeyError") as caught:
                blender.import_asset(path)
        sentence(caught.value)
        assert datablocks() == before


# --- Cycles switched off ---


@pytest.fixture
def no_cycles() -> Iterator[None]:
    import addon_utils  # type: ignore[import-not-found]

    addon_utils.disable("cycles")
    yield
    addon_utils.enable("cycles")


def test_without_cycles(no_cycles: None, tmp_path: Path) -> None:
    obj = blender.import_asset(write(tmp_path, simple()))
    scenes = len(bpy.data.scenes)
    with pytest.raises(TrellisError, match="Cycles is switched off") as caught:
        blender.render_object(obj, tmp_path / "picture.png")
    sentence(caught.value)
    assert len(bpy.data.scenes) == scenes and not (tmp_path / "picture.png").exists()
    blender.mark_asset(obj)
    assert obj.asset_data is not None and obj.asset_data.description
    folder = tmp_path / "library"
    folder.mkdir()
    assert blender.save_to_library(obj, folder).is_file()
    disc(64).save(tmp_path / "preview.png")
    blender.mark_asset(obj, preview=tmp_path / "preview.png")
    assert tuple(obj.preview.image_size) == (library.PREVIEW_SIZE, library.PREVIEW_SIZE)


def test_a_preview_that_is_none_marks_nothing(tmp_path: Path) -> None:
    obj = blender.import_asset(write(tmp_path, simple()))
    (tmp_path / "preview.png").write_bytes(b"no picture")
    images = len(bpy.data.images)
    for path in (tmp_path / "preview.png", tmp_path / "nowhere.png"):
        with pytest.raises(TrellisError) as caught:
            blender.mark_asset(obj, preview=path)
        sentence(caught.value)
    assert obj.asset_data is None and len(bpy.data.images) == images
    disc(64).convert("L").save(tmp_path / "grey.png")
    blender.mark_asset(obj, preview=tmp_path / "grey.png")
