"""The extension in a real Blender without a window: what it registers, and what its operators do."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import PATIENCE
from shared_draft import share

bpy = pytest.importorskip("bpy")

ROOT = Path(__file__).resolve().parents[2]
NAME = "trellis2_under_test"  # in Blender it is bl_ext.<repository>.trellis2: nothing may depend on it


def load() -> ModuleType:
    """The repository's root as a package, as Blender loads it."""
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def extension(own_jobs: Path, clean: object) -> Iterator[ModuleType]:
    module = load()
    module.register()
    yield from share(NAME, module)
    module.unregister()
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


def target_module() -> ModuleType:
    return part("trellis_addon.scene.target")


def ours() -> set[str]:
    return {name for name in dir(bpy.types) if "trellis2" in name.lower()}


def test_enabling_and_disabling_again_and_again_leaves_nothing(clean: object) -> None:
    for _ in range(3):
        module = load()
        module.register()
        assert "TRELLIS2_OT_generate" in ours() and hasattr(bpy.types.Scene, "trellis2")
        module.unregister()
        assert not ours() and not hasattr(bpy.types.Scene, "trellis2")
    assert not bpy.app.timers.is_registered(part("trellis_addon.scene.pump").pump)


def test_enabling_loads_nothing_heavy() -> None:
    """The library is imported by what uses it, not by the panel's being there."""
    import subprocess

    script = (
        "import importlib.util, sys; root = sys.argv[1]; import bpy; before = set(sys.modules)\n"
        "spec = importlib.util.spec_from_file_location('t', root + '/__init__.py', submodule_search_locations=[root])\n"
        "m = importlib.util.module_from_spec(spec); sys.modules['t'] = m; spec.loader.exec_module(m); m.register()\n"
        "new = {n.partition('.')[0] for n in set(sys.modules) - before}; m.unregister()\n"
        "print(sorted(new & {'httpx', 'PIL', 'starlette', 'uvicorn', 'sqlite3', 'torch', 'numpy'}))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_setting_is_a_property_and_unset_is_not_sent(extension: ModuleType) -> None:
    properties, settings = part("addon.properties"), part("trellis_addon.task.settings")
    group = bpy.context.scene.trellis2.settings
    assert {field.name for field in settings.SETTABLE} <= set(group.bl_rna.properties.keys())
    assert dict(properties.read_settings(group)) == {}

    group.texture_size = "2048"  # its default: set means set
    group.tex_slat_guidance_rescale = 0.7
    group.remesh = True
    found = dict(properties.read_settings(group))
    assert found == {"texture_size": 2048, "tex_slat_guidance_rescale": 0.7, "remesh": True}

    bpy.ops.trellis2.unset(field="remesh")
    assert "remesh" not in properties.read_settings(group)


def test_a_budget_and_quads_are_chosen_by_a_button_and_else_not_sent(extension: ModuleType) -> None:
    properties, budgets = part("addon.properties"), part("trellis_addon.contract.budgets").BUDGETS
    group = bpy.context.scene.trellis2.settings
    items = bpy.ops.trellis2.choose_budget.get_rna_type().properties["budget"].enum_items
    assert [item.identifier for item in items] == list(budgets)
    for item in items:
        assert bpy.ops.trellis2.choose_budget(budget=item.identifier) == {"FINISHED"}
        assert f"{group.faces:,} triangles" in item.description and group.faces == budgets[item.identifier].faces
    assert dict(properties.read_settings(group)) == {"faces": 500, "texture_size": 1024}, "the smallest there is"
    bpy.ops.trellis2.choose_budget(budget="prop")
    assert bpy.ops.trellis2.choose_quads() == {"FINISHED"}
    found = dict(properties.read_settings(group))
    assert found == {"faces": 20_000, "texture_size": 2048, "quads": 8_000}
    for field in found:
        bpy.ops.trellis2.unset(field=field)
    assert dict(properties.read_settings(group)) == {}


def test_the_seed_keeps_63_bits_and_refuses_more(extension: ModuleType) -> None:
    properties, errors = part("addon.properties"), part("trellis_addon.core.errors")
    group = bpy.context.scene.trellis2.settings
    group.seed = "9223372036854775807"
    assert properties.read_settings(group)["seed"] == 2**63 - 1
    group.seed = "9223372036854775808"
    with pytest.raises(errors.FieldError, match="seed.*9223372036854775807"):
        properties.read_settings(group)
    group.seed = ""
    assert "seed" not in properties.read_settings(group)


def test_presets_set_just_what_they_name(extension: ModuleType) -> None:
    properties, presets = part("addon.properties"), part("trellis_addon.task.presets")
    group = bpy.context.scene.trellis2.settings
    assert {"Quick Look (512)", "Everyday (1024)", "Finest (1536)"} <= set(presets.shipped())
    assert "Example - Ornate Dragon Figurine" in presets.shipped()
    for name, settings in presets.shipped().items():
        group.ttl = 60
        assert bpy.ops.trellis2.preset(preset=name) == {"FINISHED"}
        assert properties.read_settings(group) == settings
        # the same, as Blender's own menu does it
        bpy.ops.trellis2.preset(preset="DEFAULT")
        (path,) = (
            p
            for folder in bpy.utils.preset_paths("trellis2")
            for p in Path(folder).glob(name.replace(" ", "_") + ".py")
        )
        bpy.ops.script.execute_preset(filepath=str(path), menu_idname="TRELLIS2_MT_presets")
        assert properties.read_settings(group) == settings
    bpy.ops.trellis2.preset(preset="DEFAULT")
    assert dict(properties.read_settings(group)) == {}


def test_the_presets_of_0_1_0_are_known_by_their_names(extension: ModuleType) -> None:
    properties, group = part("addon.properties"), bpy.context.scene.trellis2.settings
    for name, resolution in (
        ("Draft", 512),
        ("Standard", 1024),
        ("High", 1536),
        ("Orc Character Bust", 1024),
        ("Hero Product Figurine", 1536),
        ("Ornate Fantasy Helmet", 1536),
        ("Ornate Dragon Figurine", 1536),
    ):
        bpy.ops.trellis2.preset(preset="DEFAULT")
        assert bpy.ops.trellis2.preset(preset=name) == {"FINISHED"}
        assert properties.read_settings(group)["resolution"] == resolution
    with pytest.raises(RuntimeError, match="preset.*Drafty.*Quick Look"):
        bpy.ops.trellis2.preset(preset="Drafty")
    assert properties.read_settings(group)["resolution"] == 1536, "what is set stays"
    bpy.ops.trellis2.preset(preset="DEFAULT")


def test_the_user_keeps_presets_of_their_own(extension: ModuleType) -> None:
    properties = part("addon.properties")
    group = bpy.context.scene.trellis2.settings
    group.tex_slat_guidance_rescale = 0.7
    group.resolution = "1024"
    bpy.ops.trellis2.preset_add(name="Kept")
    bpy.ops.trellis2.preset(preset="DEFAULT")
    (path,) = (p for folder in bpy.utils.preset_paths("trellis2") for p in Path(folder).glob("?ept.py"))
    bpy.ops.script.execute_preset(filepath=str(path), menu_idname="TRELLIS2_MT_presets")
    assert dict(properties.read_settings(group)) == {"tex_slat_guidance_rescale": 0.7, "resolution": 1024}
    path.unlink()


def test_set_and_unset_survive_saving(extension: ModuleType, tmp_path: Path) -> None:
    bpy.context.scene.trellis2.settings.resolution = "1024"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "kept.blend"))
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "kept.blend"))
    found = part("addon.properties").read_settings(bpy.context.scene.trellis2.settings)
    assert dict(found) == {"resolution": 1024}


def test_switched_off_the_add_on_ends_its_service(own_jobs: Path, clean: object) -> None:
    module = load()
    module.register()
    service = part("trellis_addon.client.local_service").local_service("draft")
    assert service.process is not None and service.running
    module.unregister()
    assert not service.running
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


def test_generate_in_the_background_imports_and_repeats(extension: ModuleType, disc_file: Path) -> None:
    scene = part("trellis_addon.scene")
    state = bpy.context.scene.trellis2
    state.settings.resolution, state.settings.texture_size, state.settings.seed = "512", "1024", str(2**63 - 2)
    state.height = 1.8
    assert bpy.ops.trellis2.generate(filepath=str(disc_file)) == {"FINISHED"}
    (obj,) = bpy.data.objects
    assert obj.name == disc_file.stem
    assert obj.dimensions.z == pytest.approx(1.8, rel=1e-5)
    assert scene.read_provenance(obj)["engine"] == "draft:relief@1"
    job = part("trellis_addon.jobs.store").JobStore().get(scene.read_provenance(obj)["task_uuid"])
    assert job.delivered, "the next session must not offer it once more"

    bpy.context.view_layer.objects.active = obj
    bpy.ops.trellis2.preset(preset="DEFAULT")
    assert bpy.ops.trellis2.repeat() == {"FINISHED"}
    repeated = part("addon.properties").read_settings(state.settings)
    assert dict(repeated) == {"seed": 2**63 - 2, "resolution": 512, "texture_size": 1024}


def test_generate_takes_an_image_datablock_with_its_edits(extension: ModuleType) -> None:
    image = bpy.data.images.new("Painted", 96, 96, alpha=True)
    pixels = [0.0] * (96 * 96 * 4)
    for y in range(20, 76):
        for x in range(20, 60):
            pixels[(y * 96 + x) * 4 : (y * 96 + x) * 4 + 4] = (0.8, 0.2, 0.1, 1.0)
    image.pixels.foreach_set(pixels)
    state = bpy.context.scene.trellis2
    state.image = image
    state.settings.resolution, state.settings.texture_size = "512", "1024"
    assert bpy.ops.trellis2.generate() == {"FINISHED"}
    (obj,) = bpy.data.objects
    assert obj.name == "Painted"
    assert obj.dimensions.x / obj.dimensions.z == pytest.approx(40 / 56, rel=0.1)


def test_problems_are_sentences_and_leave_nothing(extension: ModuleType, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    for call, words in (
        (lambda: bpy.ops.trellis2.generate(), "no image"),
        (lambda: bpy.ops.trellis2.generate(filepath=str(broken)), "damaged"),
        (lambda: bpy.ops.trellis2.generate(filepath=str(tmp_path / "none.png")), "no image file"),
        (lambda: bpy.ops.trellis2.import_glb(filepath=str(broken)), "damaged"),
    ):
        with pytest.raises(RuntimeError, match=words) as caught:
            call()
        assert "Traceback" not in str(caught.value)
    assert not bpy.data.objects and not bpy.data.meshes


def test_remote_says_why_it_cannot(extension: ModuleType, disc_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bpy.context.scene.trellis2.backend = "remote"
    assert not bpy.ops.trellis2.generate.poll()
    with pytest.raises(RuntimeError, match="Online access is off|no API key"):
        bpy.ops.trellis2.generate(filepath=str(disc_file))


def test_the_queue_imports_on_the_main_thread(extension: ModuleType, disc_file: Path) -> None:
    """As in a window: the thread works, the pump (called here by hand, timers do not run) imports."""
    import time

    queue, api = part("trellis_addon.scene.session").queue, part("trellis_addon.api")
    target = target_module().Target(
        bpy.context.scene.name, bpy.data.filepath, (2.0, 0.0, 0.0), 1.0, target_module().SESSION
    )

    def make(progress, report):  # type: ignore[no-untyped-def]
        return api.generate(disc_file, resolution=512, texture_size=1024, number_results=2, progress=progress)

    generation = queue.start("two", make, target)
    assert not bpy.data.objects
    give_up = time.monotonic() + PATIENCE
    while generation.state == "running" and time.monotonic() < give_up:
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.02)
    assert generation.state == "done", generation.message
    first, second = sorted(bpy.data.objects, key=lambda obj: obj.location.x)
    assert first.location.x == 2.0 and second.location.x > 2.0 + first.dimensions.x / 2
    while part("trellis_addon.scene.pump").pump() is not None:  # once helpers have reported, the timer ends
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_a_cancelled_generation_imports_nothing(extension: ModuleType, disc_file: Path) -> None:
    import time

    queue, api = part("trellis_addon.scene.session").queue, part("trellis_addon.api")
    target = target_module().Target(
        bpy.context.scene.name, bpy.data.filepath, (0.0, 0.0, 0.0), 1.0, target_module().SESSION
    )
    generation = queue.start("never", lambda progress, report: api.generate(disc_file, progress=progress), target)
    queue.cancel(generation)
    give_up = time.monotonic() + PATIENCE
    while generation.state == "running" and time.monotonic() < give_up:
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.02)
    assert generation.state == "cancelled"
    assert not bpy.data.objects


def test_an_asset_whose_file_was_closed_is_kept_not_imported(extension: ModuleType, disc_file: Path) -> None:
    import time

    queue, api = part("trellis_addon.scene.session").queue, part("trellis_addon.api")
    target = target_module().Target(bpy.context.scene.name, "/another/file.blend", (0.0, 0.0, 0.0), 1.0)

    def make(progress, report):  # type: ignore[no-untyped-def]
        return api.generate(disc_file, resolution=512, texture_size=1024, progress=progress)

    generation = queue.start("kept", make, target)
    give_up = time.monotonic() + PATIENCE
    while generation.state == "running" and time.monotonic() < give_up:
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.02)
    assert generation.state == "kept" and not bpy.data.objects
    assert bpy.ops.trellis2.keep_results(generation=generation.id) == {"FINISHED"}
    assert len(bpy.data.objects) == 1 and generation.state == "done"


def test_a_job_of_a_former_session_goes_on_by_itself(extension: ModuleType, disc_file: Path, tmp_path: Path) -> None:
    """Written down and never sent, as a crash leaves it: the next session makes it and puts it in its place."""
    import time

    resume, api = part("trellis_addon.scene.resume"), part("trellis_addon.api")
    store = part("trellis_addon.jobs.store").JobStore()
    backend = part("trellis_addon.client.backends").Backend("draft")
    settings = part("trellis_addon.task.settings").Settings(resolution=512, texture_size=1024)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    target = target_module().Target(bpy.context.scene.name, bpy.data.filepath, (0.0, 3.0, 0.0), 2.0, "another session")
    job = api.prepare_task(disc_file, backend, settings).write_down(store, backend, target=target.to_json())

    resume.go_on(lambda job: backend)
    give_up = time.monotonic() + PATIENCE
    while not store.get(job.uuid).delivered and time.monotonic() < give_up:
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.02)
    (obj,) = bpy.data.objects
    assert obj.location.y == 3.0 and obj.dimensions.z == pytest.approx(2.0, rel=1e-5)

    resume.go_on(lambda job: backend)  # delivered once is delivered
    for _ in range(20):
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.02)
    assert len(bpy.data.objects) == 1


def test_the_history_places_repeats_and_deletes(extension: ModuleType, disc_file: Path) -> None:
    api, store = part("trellis_addon.api"), part("trellis_addon.jobs.store").JobStore()
    asset = api.generate(disc_file, resolution=512, texture_size=1024, seed=5)
    uuid = asset.provenance["task_uuid"]
    job = store.get(uuid)
    assert job.thumbnail.is_file() and job.duration is not None

    assert bpy.ops.trellis2.job_import(job=uuid) == {"FINISHED"}
    assert bpy.ops.trellis2.job_retry(job=uuid) == {"FINISHED"}
    assert len(bpy.data.objects) == 2
    assert store.recent(1)[0].uuid != uuid, "made again under its own taskUUID"

    assert bpy.ops.trellis2.job_delete(job=uuid) == {"FINISHED"}
    assert store.get(uuid) is None and not job.folder.exists()
    with pytest.raises(RuntimeError, match="not in the list"):
        bpy.ops.trellis2.job_import(job=uuid)


def test_the_history_tells_when_how_many_and_is_searched(extension: ModuleType, disc_file: Path) -> None:
    api, panel, history = part("trellis_addon.api"), part("ui.job_panels"), part("trellis_addon.scene.history")
    store = part("trellis_addon.jobs.store").JobStore()
    api.generate(disc_file, name="Grüne Ärmel", resolution=512, texture_size=1024, seed=5, number_results=2)
    api.generate(disc_file, name="Lantern", resolution=512, texture_size=1024, seed=7)
    lantern, sleeves = store.recent(2)
    date = time.strftime("%Y-%m-%d")
    assert panel._date(lantern).startswith(date) and panel._results_line(lantern) == "1 result, seed 7"
    assert panel._results_line(sleeves) == "2 results, seed 5"
    assert panel._date(dataclasses.replace(lantern, created=1e300)) == "", "a clock that was wrong stops no panel"

    for asked, found in (("", [lantern, sleeves]), ("ÄRM", [sleeves]), ("tern", [lantern]), ("%", []), ("_", [])):
        history.search(asked)
        while part("trellis_addon.scene.pump").threads_at_work():
            part("trellis_addon.scene.pump").pump()
            time.sleep(0.02)
        assert [job.uuid for job in history.known.jobs][: len(found)] == [job.uuid for job in found]
        assert asked == "" or len(history.known.jobs) == len(found)
    assert bpy.ops.trellis2.job_menu.poll()


def test_disabling_the_extension_gives_no_job_up(clean: object, disc_file: Path) -> None:
    """What is under way when Blender ends stays in the store and goes on in the next session."""
    import time

    module = load()
    module.register()
    queue, api = part("trellis_addon.scene.session").queue, part("trellis_addon.api")
    store = part("trellis_addon.jobs.store").JobStore()
    target = target_module().Target(
        bpy.context.scene.name, bpy.data.filepath, (0.0, 0.0, 0.0), 1.0, target_module().SESSION
    )
    seen: list[str] = []

    def make(progress, report):  # type: ignore[no-untyped-def]
        try:
            return api.generate(disc_file, resolution=1536, texture_size=4096, progress=progress, store=store)
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    generation = queue.start("left", make, target)
    give_up = time.monotonic() + PATIENCE
    while not generation.stage.startswith("Gen") and time.monotonic() < give_up:
        part("trellis_addon.scene.pump").pump()
        time.sleep(0.01)
    module.unregister()
    while not seen and time.monotonic() < give_up:
        time.sleep(0.02)
    (job,) = store.unfinished()
    assert job.state == "running"
    store.move(job, part("trellis_addon.jobs.job").State.CANCELLED)
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]
