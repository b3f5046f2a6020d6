"""What a release leaves on an artist's machine, written by that release itself: data for `project/test_upgrade.py`.

    python tests/by_hand/write_release.py 0.1.0 --commit 375b719 --python PYTHON

writes `tests/data/releases/0.1.0.zip`. Before a release is given out, run it with its version and commit. PYTHON has
`bpy` of the oldest Blender that is supported, so that every other opens what it has saved, and the packages of the
extension: an environment that `tools/dev.py matrix 4.2` has made will do.

The commit's own code does the writing, in a process of its own and in a copy of it: its library, its extension in its
Blender, and, for the paid API and the worker, its service (`tests/support/fault_server.py`). From here comes only what
is asked of it. What that release itself reads of what it has written is kept beside it, in `said.json`.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
KEY = "key-of-nobody-4711"  # no secret: what stands in its place is to be found again
EXTENSION = "bl_ext.user_default.trellis2"
# The preferences that are set. Folders lie below the data's own root.
PREFERENCES: dict[str, Any] = {
    "api_key": KEY,
    "service_url": "http://gpu-box:8000/v1",
    "service_token": "token-of-nobody",
    "height": 2.25,
    "drop_place": "CURSOR",
    "collection": "Incoming",
    "auto_mark": True,
    "asset_catalog": "Props/New",
    "show_developer": True,
    "log_level": "INFO",
    "page": "SERVICE",
    "local_source": "MIRROR",
    "local_mirror": "http://files.studio/trellis2",
    "local_build": "rocm",
    "local_resolutions": {"512", "1536"},
    "accept_dinov3": True,
}
FOLDERS = {"local_folder": "local", "weights": "weights of mine", "data_folder": "home"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="of the release, such as 0.2.0")
    parser.add_argument("--commit", required=True, help="that the release is made of")
    parser.add_argument("--python", required=True, help="with bpy of the oldest Blender, and the extension's packages")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trellis2-release-") as folder:
        code, root = Path(folder, "code"), Path(folder, "machine")
        code.mkdir()
        root.mkdir()
        archive = subprocess.run(
            ["git", "-C", str(TESTS.parent), "archive", options.commit], check=True, capture_output=True
        )
        subprocess.run(["tar", "-x", "-C", str(code)], check=True, input=archive.stdout)
        shutil.copy(__file__, root / "writer.py")
        command = [options.python, str(root / "writer.py"), str(code), str(root)]
        subprocess.run(command, cwd=root, check=True, env=_environment(code, root))
        (root / "writer.py").unlink()
        said = json.loads((root / "said.json").read_text(encoding="utf-8"))
        if said["version"] != options.version:
            raise SystemExit(f"{options.commit} is {said['version']}, not {options.version}")
        target = TESTS / "data" / "releases" / f"{options.version}.zip"
        _pack(root, target)
    print(f"{target}: {target.stat().st_size} bytes")


def _environment(code: Path, root: Path) -> dict[str, str]:
    """A user's machine with nothing on it but this release."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("TRELLIS2_", "RUNWARE_", "PYTHON"))}
    tests = [str(code / "tests"), str(code / "tests" / "support")]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join([str(code), *tests]),
        "BLENDER_USER_RESOURCES": str(root / "blender"),
        "TRELLIS2_HOME": str(root / "home"),
        "HOME": str(root / "user"),
    }


def _pack(root: Path, target: Path) -> None:
    """Everything that was left, without the extension's own files."""
    shutil.rmtree(root / "blender" / "extensions", ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(root.rglob("*")):
            is_lock = path.name == "lock" or path.suffix == ".lock"
            if path.is_file() and not is_lock and not path.name.endswith("-shm"):  # nothing that lasts is in these
                packed.write(path, path.relative_to(root).as_posix())


# From here on it runs in the release's own process.


def write(code: Path, root: Path) -> None:
    import trellis_addon

    (root / "home").mkdir()
    said: dict[str, Any] = {"version": trellis_addon.__version__, "root": str(root), "written": time.time()}
    _keep_code(code, root / "code")
    pictures = _pictures(root / "pictures")
    said["local"] = _local_folder(root)
    said["jobs"], uuids = _jobs(root, pictures)
    said["blender"] = _blender(code, root, pictures, uuids)
    (root / "said.json").write_text(json.dumps(said, indent=1, sort_keys=True), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # as a crash would: nobody tidies up, and what is under way stays so


def _keep_code(code: Path, target: Path) -> None:
    """What of the release's library reads and writes the list of jobs, to run it beside a later one."""
    listing = """
import sys, trellis_addon.api, trellis_addon.jobs
try:
    import trellis_addon.service.queue.journal
except ModuleNotFoundError:  # in 0.1.0
    import trellis_addon.service.journal
for name, module in sys.modules.items():
    if name.partition(".")[0] == "trellis_addon":
        print(module.__file__)
"""
    command = [sys.executable, "-c", listing]
    done = subprocess.run(command, cwd=code, check=True, capture_output=True, text=True, encoding="utf-8")
    data = [str(path) for path in (code / "trellis_addon").rglob("*.json")]
    for path in map(Path, (*done.stdout.splitlines(), *data)):
        place = target / path.relative_to(code)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)


def _either(*names: str) -> Any:
    """The module under the first of its names, newest first, that this release has."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
    raise ModuleNotFoundError(f"none of {names}")


def _pictures(folder: Path) -> dict[str, Path]:
    """Small pictures with transparency, each of its own colour."""
    from PIL import Image, ImageDraw

    folder.mkdir()
    found = {}
    for number, name in enumerate(("kettle", "lamp", "vase")):
        picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
        ImageDraw.Draw(picture).ellipse((6, 6, 58, 58), (60 + 70 * number, 200 - 60 * number, 90, 255))
        picture.save(folder / f"{name}.png")
        found[name] = folder / f"{name}.png"
    return found


def _jobs(root: Path, pictures: dict[str, Path]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A job in each state, at the paid API, and one at the local worker; what the store then says of them."""
    import fault_server
    import faults

    from trellis_addon import Progress, Settings, TrellisError, prepare_task
    from trellis_addon.client.backends import Backend
    from trellis_addon.client.client import Client
    from trellis_addon.jobs import JobStore, State, run_job
    from trellis_addon.jobs.money import set_limit

    whole = fault_server.small_glb
    fault_server.small_glb = lambda seed=0, side=6: whole(seed, side)
    paid = fault_server.FaultServer(folder=root / "remote")
    os.environ["RUNWARE_BASE_URL"], os.environ["RUNWARE_API_KEY"] = paid.url, paid.token
    store = JobStore()

    def with_cost(body: dict[str, Any]) -> dict[str, Any]:
        done = [item for item in body.get("data", []) if item.get("status") == "success"]
        for item in done:
            item["cost"] = 0.05
        return body

    def add(name: str, backend: str = "remote", picture: str = "kettle", target: str = "", **settings: Any) -> Any:
        where = Backend(backend, paid.token)
        prepared = prepare_task(str(pictures[picture]), where, Settings(**settings), name=name)
        return prepared.write_down(store, where, target=target)

    def run(job: Any, url: str = "", **options: Any) -> Any:
        with Client(url or paid.url, paid.token) as client:
            client.pause = lambda seconds, progress: progress.check()
            try:
                return run_job(job, store, client, **options)
            except TrellisError:
                return store.get(job.uuid)

    def until_asked(fault: Any, job: Any, **options: Any) -> Any:
        paid.add(fault)
        found = run(job, **options)
        paid._faults.remove(fault)
        return found

    forever = fault_server.FOREVER
    paid.add(faults.edited("cost", fault_server.POLL, with_cost, times=forever))
    everything = {
        "resolution": 1536, "decimation_target": 300_000, "remesh": False, "texture_size": 4096, "seed": 2**63 - 2,
        "tex_slat_steps": 20, "shape_slat_guidance_strength": 6.5, "number_results": 2, "ttl": 3600,
        "include_cost": True,
    }  # fmt: skip
    ready = run(add("ready", **everything))
    store.deliver(ready.uuid)
    runner = importlib.import_module("trellis_addon.jobs.runner")
    above, runner.UPLOAD_ABOVE = (
        runner.UPLOAD_ABOVE,
        100,
    )  # characters: this one's picture is uploaded, as large ones are
    run(add("ready and undelivered", target='{"kept": "by a script"}', seed=5))
    runner.UPLOAD_ABOVE = above
    long_wait = faults.status_word("processing", times=forever)
    paid._faults.insert(0, long_wait)
    run(add("running", seed=7), time_limit=-1.0)
    paid._faults.remove(long_wait)
    until_asked(faults.lost_answer(fault_server.SUBMIT, times=forever), add("uncertain", seed=8))
    store.move(add("sending", seed=9), State.SENDING)
    add("waiting", seed=10)
    until_asked(faults.refused("invalidValue", 400, fault_server.SUBMIT), add("failed", seed=11))

    def cancelled() -> bool:
        return True

    run(add("cancelled", seed=12), progress=Progress(is_cancelled=cancelled))
    redone = add("redone", seed=16)
    paid._faults.insert(0, long_wait)
    run(redone, time_limit=-1.0)
    paid._faults.remove(long_wait)
    carded = {name: add(name, picture=name, seed=13) for name in ("lamp", "vase")}
    paid._faults.insert(0, long_wait)
    run(carded["lamp"], time_limit=-1.0)
    paid._faults.remove(long_wait)
    run(carded["vase"])
    set_limit(store, "day", 1000.0)

    worker = fault_server.FaultServer(folder=root / "local" / "service", workers=1)
    done = run(add("done by the worker", "local", seed=14), worker.url)
    (done.folder / "latents.safetensors").write_bytes(_latents(Settings(resolution=512, tex_slat_steps=20)))
    worker.engine.seconds = 1e6
    for name in ("begun by the worker", "in the worker's line"):
        run(add(name, "local", seed=15), worker.url, time_limit=-1.0)
    uuids = {name: job.uuid for name, job in {**carded, "redone": redone}.items()}
    return [_facts_of(job) for job in store.recent()], uuids


def _latents(settings: Any) -> bytes:
    """A sound file of latents, with the text on their making as the release's engine writes it."""
    latents = _either("trellis_addon.formats.latents", "trellis_addon.engines.latents")
    import numpy as np

    rows = 20
    arrays = {
        "coords": np.stack([np.zeros(rows), *np.unravel_index(np.arange(rows), (32, 32, 32))], 1).astype("<i4"),
        "shape": np.linspace(-1, 1, rows * 4, dtype="<f4").reshape(rows, 4),
        "texture": np.linspace(1, -1, rows * 4, dtype="<f4").reshape(rows, 4),
    }
    made = latents.describe_making(14, settings, ("Not enough memory: 512 in place of 1024.",), 9)
    head: dict[str, Any] = {"__metadata__": {"resolution": "512", "pipeline_type": "512", "made": made}}
    body = b""
    for name, array in arrays.items():
        kind = {"i": "I32", "f": "F32"}[array.dtype.kind]
        head[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    text = json.dumps(head).encode()
    data = len(text).to_bytes(8, "little") + text + body
    latents.check_latents(data)
    return data


def _facts_of(job: Any) -> dict[str, Any]:
    return {
        "uuid": job.uuid,
        "name": job.name,
        "state": str(job.state),
        "backend": job.backend,
        "settings": dict(job.settings),
        "cost": job.cost,
        "created": job.created,
        "sent": job.sent,
        "delivered": job.delivered,
        "batch": job.batch,
        "fingerprint": job.fingerprint,
        "target": job.target,
        "assets": [{"file": asset.path.name, "provenance": dict(asset.provenance)} for asset in job.assets],
    }


def _local_folder(root: Path) -> dict[str, Any]:
    """A local backend's folder: what is installed, one group of weights whole, of another a part."""
    import dataclasses
    import threading

    from weights_mirror import Mirror, serving

    from trellis_addon import Progress, TrellisError

    layout = _either("trellis_addon.runtime.layout", "trellis_addon.local.layout")
    weights = _either("trellis_addon.weights.fetching", "trellis_addon.local.weights")
    manifest = _either("trellis_addon.weights.manifest", "trellis_addon.local.weights_manifest")
    published = _either("trellis_addon.weights.published", "trellis_addon.local.weights_list")
    copy = root / "mirror"
    for key, size in (("core", 100), ("dinov3", 2000), ("structure", 60_000)):
        for file in published.BY_KEY[key].variants[0]:
            path = copy / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"{}" if path.suffix == ".json" else _safetensors(size))
    manifest.write_manifest(copy, manifest.make_manifest(copy, "A studio's copy"))
    files = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    local = layout.LocalFolder(root / "local")
    state = local.claim()
    told = {
        "build": "cpu", "python": "3.11.9", "torch": "2.9.1", "complete": True, "installed": 1780000000.0,
        "device": "cpu", "lock": "a-list",
    }  # fmt: skip
    local.write_state(dataclasses.replace(state, **told))
    local.code().mkdir(parents=True)
    with serving(Mirror(files)) as mirror:
        weights.fetch(local.weights, ["dinov3"], mirror.url, ("dinov3",))
        mirror.rate = 30_000.0
        stop = threading.Event()
        fetching = threading.Thread(
            target=_quietly,
            args=(
                TrellisError,
                weights.fetch,
                local.weights,
                ["structure"],
                mirror.url,
                (),
                Progress(is_cancelled=stop.is_set),
            ),
        )
        fetching.start()
        while not any(path.stat().st_size > 10_000 for path in local.weights.rglob("*.part*")):
            time.sleep(0.02)
        stop.set()
        fetching.join()
    return {
        "state": dataclasses.asdict(local.state()),
        "weights": {found.group.key: [found.state, found.have, found.size] for found in weights.status(local.weights)},
    }


def _quietly(error: type[Exception], function: Any, *arguments: Any) -> None:
    with contextlib.suppress(error):
        function(*arguments)


def _safetensors(values: int) -> bytes:
    import struct

    head = json.dumps({"w": {"dtype": "U8", "shape": [values], "data_offsets": [0, values]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(i * 7 % 251 for i in range(values))


def _blender(code: Path, root: Path, pictures: dict[str, Path], uuids: dict[str, str]) -> dict[str, Any]:
    """The extension in its Blender: preferences, presets, a .blend with assets, cards and settings, a batch."""
    import bpy  # first: it makes the other one known

    import addon_utils  # isort: skip

    place = Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default" / "trellis2"
    shutil.copytree(code, place, ignore=shutil.ignore_patterns("tests", "docs", "benchmarks", "tools", "examples"))
    bpy.context.preferences.system.use_online_access = True
    addon_utils.enable(EXTENSION, default_set=True)
    bpy.ops.wm.read_homefile(use_empty=True)
    said: dict[str, Any] = {"version": list(bpy.app.version)}
    said["scenes"], said["images"] = _settings_in_scenes(bpy, pictures)
    said["preset"] = _preset(bpy)
    scene = bpy.data.scenes["remote"]
    bpy.context.window.scene = scene
    bpy.ops.trellis2.generate("EXEC_DEFAULT", filepath=str(pictures["kettle"]))
    library = importlib.import_module(f"{EXTENSION}.trellis_addon")
    asset = next(obj for obj in scene.objects if library.scene.read_provenance(obj))
    asset.name = "The Kettle"
    library.scene.mark_asset(asset, catalog=None, preview=pictures["kettle"])
    library.scene.make_lods(asset, (1.0, 0.5))
    cards = _either(
        f"{EXTENSION}.trellis_addon.scene.place.placeholder", f"{EXTENSION}.trellis_addon.scene.placeholder"
    )
    targets = importlib.import_module(f"{EXTENSION}.trellis_addon.scene.target")
    jobs = importlib.import_module(f"{EXTENSION}.trellis_addon.jobs")
    waiting = _either(f"{EXTENSION}.trellis_addon.scene.place.waiting", f"{EXTENSION}.trellis_addon.scene.rework")
    waiting.mark(asset, uuids.pop("redone"))
    store = jobs.JobStore()
    for number, (name, uuid) in enumerate(uuids.items()):
        spot = (2.0 * number, 3.0, 0.5)
        cards.stand(uuid, name.title(), scene.collection, spot, 1.5)
        cards.show_picture(uuid, store.get(uuid).thumbnail)
        target = targets.Target(
            scene.name, str(root / "scene.blend"), spot, 1.5, targets.SESSION, uuid, "Incoming", "Props/New"
        )
        with store.connection() as connection:
            connection.execute("UPDATE jobs SET target = ? WHERE uuid = ?", (target.to_json(), uuid))
    said["cards"] = {
        card.name: [card[cards.PROPERTY], list(card.matrix_world.translation)] for card in cards.all_cards()
    }
    said["assets"] = {
        obj.name: {
            "provenance": library.scene.read_provenance(obj),
            "settings": dict(library.scene.settings_of(obj)),
            "is_asset": obj.asset_data is not None,
            "levels": [level.name for level in library.scene.lods_of(obj).objects]
            if library.scene.lods_of(obj)
            else [],
            "height": library.scene.height_of(obj),
            "waits for": obj.get(waiting.MARK, ""),
        }
        for obj in bpy.data.objects
        if obj.type == "MESH" and library.scene.read_provenance(obj) and "LOD" not in obj.name
    }
    bpy.ops.wm.save_as_mainfile(filepath=str(root / "scene.blend"), compress=True)
    said["preferences"] = _preferences(bpy, root)
    said["enumerations"] = enumerations(bpy)
    said["batch"] = _batch(root, pictures)
    return said


def _settings_in_scenes(bpy: Any, pictures: dict[str, Path]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A scene for each place to run on, together with every value of every enumeration; pictures in every cutout."""
    images = {}
    for name, cutout in zip(pictures, ("AUTO", "MASK", "WHOLE"), strict=True):
        image = bpy.data.images.load(str(pictures[name]))
        image.pack()
        image.filepath = f"//pictures/{name}.png"
        image.trellis2.cutout = cutout
        if cutout == "MASK":
            mask = bpy.data.images.new("The Mask", 4, 4)
            mask.pack()
            image.trellis2.mask = mask
        images[name] = image
    bpy.data.scenes[0].name = "nothing set"
    for number, backend in enumerate(("draft", "local", "remote", "service")):
        scene = bpy.data.scenes.new(backend)
        state = scene.trellis2
        state.backend = backend
        state.image = list(images.values())[number % 3]
        state.asset_name = f"Asset of {backend}"
        if number:
            state.height = 1.5 * number
            for name, prop in state.settings.bl_rna.properties.items():
                if prop.type == "ENUM":
                    items = [item.identifier for item in prop.enum_items]
                    setattr(state.settings, name, items[number % len(items)])
            state.settings.remesh = number != 2
            state.settings.seed = str(2**63 - number)
            state.settings.tex_slat_guidance_rescale = 0.25 * number
            state.settings.sparse_structure_steps = 20 + number
            state.settings.decimation_target = 100_000 * number
    told = {
        image.name: {"cutout": image.trellis2.cutout, "mask": image.trellis2.mask.name if image.trellis2.mask else ""}
        for image in images.values()
    }
    return {scene.name: scene_facts(scene) for scene in bpy.data.scenes}, told


def scene_facts(scene: Any) -> dict[str, Any]:
    state = scene.trellis2
    group = state.settings
    names = [name for name, _ in group.bl_rna.properties.items() if name not in ("rna_type", "name")]
    return {
        "backend": state.backend,
        "image": state.image.name if state.image else "",
        "asset_name": state.asset_name,
        "height": state.height,
        "settings": {name: getattr(group, name) for name in names if group.is_property_set(name)},
    }


def _preset(bpy: Any) -> dict[str, Any]:
    """A preset of the artist's own, from the scene that has everything set."""
    bpy.context.window.scene = bpy.data.scenes["service"]
    bpy.ops.trellis2.preset_add("EXEC_DEFAULT", name="Mine")
    return scene_facts(bpy.context.scene)["settings"]


def _preferences(bpy: Any, root: Path) -> dict[str, Any]:
    stored = bpy.context.preferences.addons[EXTENSION].preferences
    known = {name for name, _ in stored.bl_rna.properties.items()}
    for name, value in PREFERENCES.items():
        if name in known:
            setattr(stored, name, value)
    for name, place in FOLDERS.items():
        setattr(stored, name, str(root / place))
    library = bpy.context.preferences.filepaths.asset_libraries.new(name="Studio", directory=str(root / "library"))
    stored.asset_library = library.name
    bpy.ops.wm.save_userpref()
    told = preference_facts(stored, [name for name in (*PREFERENCES, *FOLDERS, "asset_library") if name in known])
    for name in FOLDERS:  # what was chosen counts at once; the rest of this goes where it has gone so far
        setattr(stored, name, "")
    return told


def preference_facts(stored: Any, names: Any) -> dict[str, Any]:
    found = {name: getattr(stored, name) for name in names}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in found.items()}


def enumerations(bpy: Any) -> dict[str, dict[str, int]]:
    """Every list of choices that the extension has registered: class and property -> entry -> number in a file."""
    groups = [cls for cls in bpy.types.PropertyGroup.__subclasses__() if cls.__name__.startswith("TRELLIS2_")]
    structures = [cls.bl_rna for cls in groups if cls.is_registered]
    structures += [getattr(bpy.ops.trellis2, name).get_rna_type() for name in dir(bpy.ops.trellis2)]
    structures.append(bpy.types.AddonPreferences.bl_rna_get_subclass_py("TRELLIS2_AP_preferences").bl_rna)
    return {
        f"{structure.identifier}.{name}": {item.identifier: item.value for item in prop.enum_items_static}
        for structure in structures
        for name, prop in structure.properties.items()
        if prop.type == "ENUM" and prop.is_runtime and prop.enum_items_static
    }


def _batch(root: Path, pictures: dict[str, Path]) -> dict[str, Any]:
    """A batch at the paid API, by the command line."""
    from trellis_addon.jobs import JobStore

    known = {job.uuid for job in JobStore().recent()}
    cli = _either("trellis_addon.cli.commands", "trellis_addon.cli")
    output, folder = root / "batch.blend", root / "batch"
    folder.mkdir()
    for name in ("kettle", "vase"):
        shutil.copy(pictures[name], folder)
    command = ["batch", str(folder), "--output", str(output), "--backend", "remote", "--resolution", "512"]
    code = cli.main(command)
    assert code == 0, code
    return {"jobs": [_facts_of(job) for job in JobStore().recent() if job.uuid not in known]}


if __name__ == "__main__":
    if len(sys.argv) == 3 and Path(sys.argv[1]).is_dir():
        write(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
