"""What another version has left in a .blend, in presets and on this machine, as far as this one knows it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from conftest import run_python
from releases import install

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401
from test_panel import preferences  # noqa: E402, F401


def test_a_preset_of_a_later_version_is_used_as_far_as_it_goes(extension: ModuleType, tmp_path: Path) -> None:  # noqa: F811
    presets, settings_module = part("trellis_addon.task.presets"), part("trellis_addon.task.settings")
    group = bpy.context.scene.trellis2.settings
    group.ttl = 60
    path = tmp_path / "Later.py"
    script = presets.preset_script(settings_module.Settings(seed=2**63 - 1, tex_slat_guidance_rescale=0.7))
    path.write_text(script + 'settings.wings = 2\nsettings.resolution = "9999"\n', encoding="utf-8")
    assert bpy.ops.trellis2.preset_use(filepath=str(path), menu_idname="TRELLIS2_MT_presets") == {"FINISHED"}
    assert dict(part("addon.properties").read_settings(group)) == {
        "seed": 2**63 - 1,
        "tex_slat_guidance_rescale": 0.7,
    }
    assert bpy.types.TRELLIS2_MT_presets.bl_label == "Later"
    # one that the artist has written runs as Blender runs it
    path.write_text(script + "settings.ttl = 60 * 2\n", encoding="utf-8")
    assert bpy.ops.trellis2.preset_use(filepath=str(path), menu_idname="TRELLIS2_MT_presets") == {"FINISHED"}
    assert group.ttl == 120
    bpy.ops.trellis2.preset(preset="DEFAULT")


def test_an_asset_of_a_later_version_is_repeated_as_far_as_it_goes(extension: ModuleType) -> None:  # noqa: F811
    asset = bpy.data.objects.new("Later", bpy.data.meshes.new("Later"))
    bpy.context.scene.collection.objects.link(asset)
    bpy.context.view_layer.objects.active = asset
    facts = {"format": 2, "task_uuid": "1", "seed": 5, "settings": {"wings": 2, "settings": {"resolution": 512}}}
    asset["trellis2_provenance"] = json.dumps(facts)
    assert bpy.ops.trellis2.repeat() == {"FINISHED"}
    settings = part("addon.properties").read_settings(bpy.context.scene.trellis2.settings)
    assert dict(settings) == {"seed": 5, "resolution": 512}
    assert part("trellis_addon.scene.importing.provenance").unknown_settings(asset) == ("wings",)
    bpy.ops.trellis2.preset(preset="DEFAULT")


@pytest.mark.parametrize("more", [{}, {"mood": "calm", "session": ""}])
def test_a_place_that_another_version_has_told(more: dict[str, Any], extension: ModuleType) -> None:  # noqa: F811
    """Keys that are not known are passed over, and those that are missing have their defaults: in both directions."""
    target = part("trellis_addon.scene.target").Target
    told = {"scene_name": "Scene", "file": "/a.blend", "location": [1.0, 2.0, 3.0], "height": 2.0, **more}
    found = target.from_json(json.dumps(told))
    assert found == target("Scene", "/a.blend", (1.0, 2.0, 3.0), 2.0)
    assert target.from_json(found.to_json()) == found and "turn" not in found.to_json(), "which 0.1.0 does not know"
    assert target.from_json('{"kept": "by a script"}') is None and target.from_json("") is None


def test_a_job_that_cannot_be_read_stands_in_the_history(preferences: Any) -> None:  # noqa: F811
    panels, rows = part("ui.job_panels"), part("trellis_addon.jobs.rows")
    history = part("trellis_addon.scene.history")
    facts = {"backend": "remote", "state": "flying", "created": 1.8e9, "cost": 0.25, "reason": "state"}
    history.known.foreign = [
        rows.ForeignJob(uuid="u-1", name="Later Pot", **facts, written_by="9.9.9"),
        rows.ForeignJob(uuid="u-2", name="Odd Pot", **{**facts, "backend": "local", "cost": None}),
    ]
    shown: list[str] = []
    buttons: list[SimpleNamespace] = []

    class Layout(SimpleNamespace):
        def label(self, text: str = "", **_: Any) -> None:
            shown.append(text)

        def box(self, **_: Any) -> Layout:
            return self

        column = row = split = box

        def prop(self, *_: Any, **__: Any) -> None:
            pass

        def operator(self, name: str, **_: Any) -> SimpleNamespace:
            buttons.append(SimpleNamespace(operator=name))
            return buttons[-1]

    context = SimpleNamespace(
        region=SimpleNamespace(width=900),
        preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1.0)),
        window_manager=None,
    )
    panels.TRELLIS2_PT_history.draw(SimpleNamespace(layout=Layout()), context)
    history.known.foreign = []
    words = " ".join(shown)
    for expected in (
        "Later Pot",
        "0.2500 US dollars",
        "version 9.9.9",
        "Odd Pot",
        "another version, or damaged",
        "2027",
    ):
        assert expected in words, shown
    assert [(one.uuid, one.backend) for one in buttons if hasattr(one, "uuid")] == [("u-1", "remote")]


INSTALL = """
import json, os, sys
import bpy
import addon_utils

name, module, chosen = sys.argv[1:]
if module != "user_default":
    bpy.context.preferences.extensions.repos.new(name="Ours", module=module)
addon_utils.enable(name, default_set=True)
stored = bpy.context.preferences.addons[name].preferences
if chosen:
    stored.api_key, stored.service_token = "key-of-nobody", "token-of-nobody"
    for key, path in json.loads(chosen).items():
        setattr(stored, key, path)
folders = {key: getattr(stored, key) for key in ("data_folder", "local_folder", "local_python", "weights")}
configuration = sys.modules[name + ".trellis_addon.core.configuration"].configuration()
print("FACTS", json.dumps({**folders, "holds": [configuration.local, configuration.weights]}))
addon_utils.disable(name, default_set=True)
"""


def test_chosen_folders_outlast_the_repository(tmp_path: Path) -> None:
    """Dropped as a zip first, subscribed to later: Blender keeps the preferences of each apart."""
    chosen = {"local_folder": str(tmp_path / "large disk"), "weights": str(tmp_path / "my weights")}
    first = installed(tmp_path, "user_default", json.dumps(chosen))
    file = tmp_path / "home" / "choices.json"
    assert json.loads(file.read_text(encoding="utf-8")) == {"data_folder": "", "local_python": "", **chosen}
    assert "nobody" not in file.read_text(encoding="utf-8"), "and nothing secret"
    later = installed(tmp_path, "ours")
    assert later == first and later["holds"] == list(chosen.values())
    # what is emptied on purpose stays so
    assert installed(tmp_path, "ours", json.dumps(dict.fromkeys(chosen, "")))["local_folder"] == ""
    assert not any(json.loads(file.read_text(encoding="utf-8")).values())


@pytest.mark.parametrize("text", ["[1, 2", "[1, 2]", '{"local_folder": 5, "weights": null}', ""])
def test_choices_that_cannot_be_read_are_as_good_as_none(
    text: str,
    preferences: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path))
    (tmp_path / "choices.json").write_text(text, encoding="utf-8")
    handover = part("addon.handover")
    handover.take(preferences)
    assert preferences.local_folder == preferences.weights == ""

    def missing(**_: Any) -> Path:
        raise ModuleNotFoundError("No module named 'platformdirs'")

    monkeypatch.setattr(handover, "default_folder", missing)
    handover.take(preferences)
    handover.keep(preferences)  # neither stops the extension from being enabled


def installed(folder: Path, module: str, chosen: str = "") -> dict[str, Any]:
    if not (folder / "blender" / "extensions" / module).exists():
        install(folder / "blender", module)
    folders = {"BLENDER_USER_RESOURCES": str(folder / "blender"), "TRELLIS2_HOME": str(folder / "home")}
    done = run_python("-c", INSTALL, f"bl_ext.{module}.trellis2", module, chosen, **folders)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FACTS ")]
    return json.loads(line.removeprefix("FACTS "))
