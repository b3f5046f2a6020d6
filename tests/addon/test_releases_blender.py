"""What earlier releases have left in Blender: preferences, presets, .blends with assets and cards, batches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, run_python
from fault_server import SUBMIT, Clock, FaultServer
from releases import RELEASES, Left, install, unpack

bpy = pytest.importorskip("bpy")

# What every script below begins with. The module of Blender 4.2 ends the process when it reads preferences, of
# whichever extension: there they are read by nobody.
BLENDER = """
import importlib, json, os, sys
from pathlib import Path
import bpy
import addon_utils

root = Path(sys.argv[1])
sys.path[:0] = [sys.argv[2], str(Path(sys.argv[2], "tests", "by_hand"))]
import write_release
name = write_release.EXTENSION
if bpy.app.version >= (4, 3):
    bpy.ops.wm.read_userpref()
addon_utils.enable(name, default_set=True)
stored = bpy.context.preferences.addons[name].preferences
bpy.context.preferences.system.use_online_access = True

def part(module):
    return importlib.import_module(f"{name}.{module}")

def end(**facts):
    print("FACTS", json.dumps(facts))
    addon_utils.disable(name, default_set=True)
"""

PREFERENCES = """
said = json.loads((root / "said.json").read_text(encoding="utf-8"))["blender"]["preferences"]
end(found=write_release.preference_facts(stored, said), choices=json.loads((root / "home/choices.json").read_text()))
"""

SCENE = """
bpy.ops.wm.open_mainfile(filepath=str(root / "scene.blend"), load_ui=False)
scenes = {scene.name: write_release.scene_facts(scene) for scene in bpy.data.scenes}
images = {
    image.name: {"cutout": image.trellis2.cutout, "mask": image.trellis2.mask.name if image.trellis2.mask else ""}
    for image in bpy.data.images
}
scene_part, placeholder = part("trellis_addon.scene"), part("trellis_addon.scene.place.placeholder")
waiting = part("trellis_addon.scene.place.waiting")
standing = placeholder.all_cards()
cards = {card.name: [card[placeholder.PROPERTY], list(card.matrix_world.translation)] for card in standing}
assets, repeated = {}, {}
for obj in [o for o in bpy.data.objects if o.type == "MESH" and scene_part.read_provenance(o)]:
    if "LOD" in obj.name:
        continue
    levels = scene_part.lods_of(obj)
    assets[obj.name] = {
        "provenance": scene_part.read_provenance(obj),
        "settings": dict(scene_part.settings_of(obj)),
        "is_asset": obj.asset_data is not None,
        "levels": [level.name for level in levels.objects] if levels else [],
        "height": scene_part.height_of(obj),
        "waits for": obj.get(waiting.MARK, ""),
    }
    scene = obj.users_scene[0]
    bpy.context.window.scene = scene
    with bpy.context.temp_override(object=obj, active_object=obj, selected_objects=[obj]):
        bpy.ops.trellis2.repeat()
    repeated[obj.name] = dict(part("addon.properties").read_settings(scene.trellis2.settings))
preset = str(root / "blender/scripts/presets/trellis2/Mine.py")
listed = [p for folder in bpy.utils.preset_paths("trellis2") for p in map(str, Path(folder).glob("*.py"))]
bpy.ops.trellis2.preset_use(filepath=preset, menu_idname="TRELLIS2_MT_presets")
used = write_release.scene_facts(bpy.context.scene)["settings"]
end(scenes=scenes, images=images, cards=cards, assets=assets, repeated=repeated, used=used,
    is_listed=any(os.path.samefile(preset, p) for p in listed), height=stored.height)
"""

ARRIVE = """
bpy.ops.wm.open_mainfile(filepath=str(root / "scene.blend"), load_ui=False)
jobs, resume = part("trellis_addon.jobs"), part("trellis_addon.scene.resume")
targets, placeholder = part("trellis_addon.scene.target"), part("trellis_addon.scene.place.placeholder")
preferences = part("addon.preferences")
stored.api_key = os.environ["RUNWARE_API_KEY"]
store = jobs.JobStore()
places = {}
for job in store.recent():
    target = targets.Target.from_json(job.target)
    if target is not None and target.card:
        assert target.is_open, job.name
        resume.finish_into(job, preferences.backend_for_job(job), target, may_send=False)
        bpy.context.view_layer.update()
        facts = {obj: part("trellis_addon.scene").read_provenance(obj) for obj in bpy.data.objects}
        found = [obj for obj in facts if facts[obj].get("task_uuid") == job.uuid]
        places[job.uuid] = [list(obj.matrix_world.translation) for obj in found]
end(places=places, cards=len(placeholder.all_cards()), states={job.uuid: job.state for job in store.recent()})
"""

BATCH = """
from trellis_addon import cli
main = importlib.import_module("trellis_addon.cli.commands").main
command = ["batch", str(root / "batch"), "--output", str(root / "batch.blend"), "--backend", "remote"]
codes = [main([*command, "--resolution", "512"])]
present = len([o for o in bpy.data.objects if o.type == "MESH"])
os.remove(root / "batch.blend")
codes.append(main([*command, "--resolution", "512"]))
end(codes=codes, present=present, again=len([o for o in bpy.data.objects if o.type == "MESH"]))
"""


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    found = unpack(request.param, tmp_path)
    install(found.root / "blender")
    return found


def in_blender(script: str, left: Left, **environment: str) -> dict[str, Any]:
    folders = {"BLENDER_USER_RESOURCES": str(left.root / "blender"), "TRELLIS2_HOME": str(left.home)}
    done = run_python("-c", BLENDER + script, str(left.root), str(ROOT), **folders, **environment)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    return json.loads(line.removeprefix("FACTS "))


@pytest.mark.skipif(bpy.app.version < (4, 3), reason="the module of Blender 4.2 cannot read any preferences")
def test_preferences(left: Left) -> None:
    found = in_blender(PREFERENCES, left)
    assert found["found"] == left.said["blender"]["preferences"]
    # and what is no secret is written down for the next installation, from the first start on
    for name in ("local_folder", "weights", "data_folder"):
        assert found["choices"][name] == left.said["blender"]["preferences"][name]
    assert left.said["blender"]["preferences"]["api_key"] not in json.dumps(found["choices"])


def test_scenes_assets_and_presets(left: Left) -> None:
    said = left.said["blender"]
    found = in_blender(SCENE, left)
    for name, facts in said["scenes"].items():
        own = (
            found["height"] if name in ("draft", "nothing set") else facts["height"]
        )  # where none is set, the preferences'
        assert found["scenes"][name] == {**facts, "height": own}, name
    assert {name: found["images"][name] for name in said["images"]} == said["images"]
    assert found["cards"] == said["cards"]
    assert found["assets"] == said["assets"] and found["assets"]
    for name, facts in said["assets"].items():
        assert found["repeated"][name] == facts["settings"], "Repeat sets what made it"
    assert found["used"] == said["preset"] and found["is_listed"]


def test_what_was_under_way_arrives_where_its_card_stands(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    with paid_service(left, monkeypatch) as server:
        found = in_blender(ARRIVE, left, RUNWARE_BASE_URL=server.url, RUNWARE_API_KEY=server.token)
        assert server.asked(SUBMIT) == [], "nothing is paid again"
    assert found["cards"] == 0
    for uuid, place in left.said["blender"]["cards"].values():
        assert found["places"][uuid] == [pytest.approx(place)] and found["states"][uuid] == "ready"


def test_a_batch_goes_on(left: Left, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in its .blend is not made again, and where that is gone its assets are taken from the list of jobs."""
    with paid_service(left, monkeypatch) as server:
        environment = {"RUNWARE_BASE_URL": server.url, "RUNWARE_API_KEY": server.token}
        found = in_blender(BATCH, left, **environment)
        assert server.asked(SUBMIT) == [], "nothing is paid again"
    assert found == {"codes": [0, 0], "present": 2, "again": 2}


def paid_service(left: Left, monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """The paid API with what the release has sent it, at the time when it was sent."""
    monkeypatch.setattr(Clock, "__call__", lambda clock: left.said["written"] + 60.0)
    return FaultServer(folder=left.root / "remote")
