"""The tools of an asset as the extension's buttons and panel, and as the documentation's examples."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT

bpy = pytest.importorskip("bpy")


from scene_objects import ball  # noqa: E402
from test_library import library  # noqa: E402, F401  (a fixture)

from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


@pytest.fixture
def extension() -> Any:
    """The extension enabled under a name of its own, with the panel of the selected asset."""
    from test_extension import NAME, load, part

    module = load()
    module.register()
    panel = part("ui.asset_panel")
    is_extra = not hasattr(bpy.types, "TRELLIS2_PT_asset")
    if is_extra:
        panel.register()
    yield panel
    if is_extra:
        panel.unregister()
    module.unregister()
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


class Recorder:
    """A layout that notes what is put into it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.operators: list[str] = []

    def _self(self, *arguments: Any, **options: Any) -> Recorder:
        return self

    row = column = split = grid_flow = _self

    def panel(self, name: str, **options: Any) -> tuple[Recorder, Recorder]:
        return self, self

    def label(self, text: str = "", **options: Any) -> None:
        self.texts.append(text)

    def operator(self, name: str, **options: Any) -> SimpleNamespace:
        self.operators.append(name)
        return SimpleNamespace()  # what the button is to be pressed with

    def prop(self, *arguments: Any, **options: Any) -> None:
        pass

    operator_menu_enum = operator_value = lambda self, name, *arguments, **options: self.operator(name)


def drawn(panel: Any) -> Recorder:
    recorder = Recorder()
    context = SimpleNamespace(
        object=bpy.context.object,
        scene=bpy.context.scene,
        region=SimpleNamespace(width=2000),
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1)),
    )
    assert panel.TRELLIS2_PT_asset.poll(context)
    panel.TRELLIS2_PT_asset.draw(SimpleNamespace(layout=recorder), context)
    return recorder


def choose(obj: Any) -> Any:
    bpy.context.view_layer.objects.active = obj
    return obj


def test_what_needs_packages_says_so_where_they_cannot_be_had(extension: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a fresh installation, where online access is off: the buttons' question must not fail by its poll."""
    rebake = sys.modules[f"{extension.__name__.partition('.')[0]}.operators.rebake"]
    monkeypatch.setattr(bpy.context.preferences.system, "use_online_access", False)
    said: list[str] = []
    operator = SimpleNamespace(report=lambda kinds, text: said.append(text))
    assert not bpy.ops.trellis2.finishing_install.poll()
    assert rebake._ask_for_packages(operator) == {"CANCELLED"}
    assert len(said) == 1 and "online access is off" in said[0]


def test_every_tool_without_a_window(extension: Any, draft: Asset, library: Path, tmp_path: Path) -> None:  # noqa: F811
    ops = bpy.ops.trellis2
    assert ops.import_glb(filepath=str(draft.path)) == {"FINISHED"}
    (obj,) = bpy.data.objects
    choose(obj)
    recorder = drawn(extension)
    assert {"Triangles", f"{len(obj.data.polygons):,}", "Draft (relief)"} <= set(recorder.texts)
    assert "trellis2.measure" not in recorder.operators, "measured at the import"
    obj = choose(small_copy(obj))
    assert ops.measure() == {"FINISHED"}
    for name in recorder.operators:
        assert hasattr(bpy.types, "TRELLIS2_OT_" + name.partition(".")[2]), name

    assert ops.set_height(height=2.5) == {"FINISHED"}
    assert obj.dimensions.z == pytest.approx(2.5, rel=1e-4)
    assert ops.make_lods(levels=2, ratios=(10, 1, 0.5, 0.2, 0.1, 0.05), arrange="HIDDEN") == {"FINISHED"}
    assert sorted(o.name for o in bpy.data.objects) == [obj.name, f"{obj.name}_LOD0", f"{obj.name}_LOD1"]
    assert ops.shrink_textures(size="512") == ops.shrink_textures(size="512") == {"FINISHED"}
    assert any("up to 512 px" in text for text in drawn(extension).texts), "measured again"
    assert ops.mark_asset(catalog="Props", licence="CC0", tags="one, two") == {"FINISHED"}
    assert {"one", "two"} <= {tag.name for tag in obj.asset_data.tags} and obj.asset_data.license == "CC0"
    bpy.context.preferences.filepaths.asset_libraries[0].path = ""  # the fixture's own remains
    assert ops.save_to_library(library="Studio") == {"FINISHED"}
    assert ops.save_to_library(folder=str(tmp_path), catalog="A/B") == {"FINISHED"}
    assert (library / "Blue Disc.blend").is_file() and (tmp_path / "Blue Disc.blend").is_file()
    assert ops.export_original(filepath=str(tmp_path / "out.glb")) == {"FINISHED"}
    assert (tmp_path / "out.glb").read_bytes() == draft.path.read_bytes()
    with pytest.raises(RuntimeError, match="already"):
        ops.export_original(filepath=str(tmp_path / "out.glb"))
    assert ops.export_original(filepath=str(tmp_path / "out.glb"), overwrite=True) == {"FINISHED"}

    obj.data.vertices.add(1)
    assert "trellis2.measure" in drawn(extension).operators and ops.measure() == {"FINISHED"}
    assert "trellis2.measure" not in drawn(extension).operators


def test_the_tools_say_why_they_cannot(extension: Any, draft: Asset) -> None:
    ops = bpy.ops.trellis2
    assert not ops.measure.poll() and not ops.export_original.poll()
    obj = choose(ball(16))
    assert ops.measure.poll() and not ops.export_original.poll()
    (level, *_) = sys.modules["test_extension"].part("trellis_addon.scene").make_lods(obj)
    choose(level.object)
    assert not ops.make_lods.poll() and ops.measure.poll()
    with pytest.raises(RuntimeError, match="select the object that it was made of"):
        ops.make_lods()
    choose(obj)
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(RuntimeError, match="Object Mode"):
        ops.set_height(height=2)
    bpy.ops.object.mode_set(mode="OBJECT")
    with pytest.raises(RuntimeError, match="ratios.*smaller"):
        ops.make_lods(levels=2, ratios=(5, 25, 5, 1, 1, 1))
    with pytest.raises(RuntimeError, match="not there"):
        ops.save_to_library(folder="/nowhere/at/all")


def test_the_chain_is_one_step_of_undo(extension: Any) -> None:
    """An operator with UNDO makes its step itself where there is a window; here it is made by hand."""
    name = choose(ball(16)).name
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.trellis2.make_lods() == {"FINISHED"}
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    assert list(bpy.data.objects) == [bpy.data.objects[name]] and not bpy.data.collections
    bpy.ops.ed.redo()
    assert len(bpy.data.objects) == 4 and len(blender.lods_of(bpy.data.objects[name]).objects) == 3


def small_copy(asset: Any) -> Any:
    """An object of the asset's name, provenance and material that is quick to work on."""
    obj = ball(32)
    obj.data.materials.append(asset.material_slots[0].material)
    obj["trellis2_provenance"] = asset["trellis2_provenance"]
    name = asset.name
    bpy.data.objects.remove(asset)
    obj.name = name
    return obj


def test_the_examples_of_the_documentation_run(draft: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import trellis_addon

    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "assets.md").read_text(encoding="utf-8"), re.M | re.S
    )
    assert len(blocks) >= 6
    monkeypatch.chdir(tmp_path)
    Path("library").mkdir()
    scene = {"trellis_addon": trellis_addon, "bpy": bpy, "obj": small_copy(blender.import_asset(draft)), "Path": Path}
    for block in blocks:
        exec(compile(block, "docs/assets.md", "exec"), scene)
    assert (tmp_path / "library" / "Blue Disc.blend").is_file() and (tmp_path / "helmet.glb").is_file()
