"""Stages kept, with the model: small weights in the real layout, a service in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, QUICK, disc

for package in ("torch", "safetensors", "scipy"):
    pytest.importorskip(package)

import bpy  # noqa: E402
from kept_stages import ROWS, data_uri, latents_file, store  # noqa: E402, F401  (a fixture)
from test_extension import extension, part  # noqa: E402, F401  (a fixture)

from devtools.pipeline.make_small import make_small  # noqa: E402
from trellis_addon import generate, rework  # noqa: E402
from trellis_addon.cli import main  # noqa: E402
from trellis_addon.client.client import Client  # noqa: E402
from trellis_addon.client.local_service import start_service  # noqa: E402
from trellis_addon.core.configuration import DEVICE_VARIABLE, WEIGHTS_VARIABLE  # noqa: E402
from trellis_addon.core.errors import DeviceMemoryError, EngineError, TrellisError  # noqa: E402
from trellis_addon.core.progress import Progress  # noqa: E402
from trellis_addon.engines import registry  # noqa: E402
from trellis_addon.engines.engine import Order  # noqa: E402
from trellis_addon.engines.export import export_latents  # noqa: E402
from trellis_addon.engines.trellis2 import Trellis2Engine  # noqa: E402
from trellis_addon.formats.glb.check import check_glb  # noqa: E402
from trellis_addon.formats.latents import check_latents, check_rework  # noqa: E402
from trellis_addon.geometry.voxelise.files import load_ovoxel  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.pipeline.pipeline import Pipeline  # noqa: E402
from trellis_addon.stages import export_stages  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402
from trellis_addon.task.task import Task  # noqa: E402

# finishing is what takes long, and remeshing most of that: it is done where it makes a difference
FEW = {"sparse_structure_steps": 2, "shape_slat_steps": 2, "tex_slat_steps": 2, "remesh": False}


@pytest.fixture(scope="module")
def model_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WEIGHTS_VARIABLE, str(make_small(tmp_path_factory.mktemp("weights"))))
        patch.setenv(DEVICE_VARIABLE, "cpu")
        service = start_service("trellis2")
        patch.setenv("TRELLIS2_SERVICE_TOKEN", service.token)
        yield service
        service.stop()


def parts(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """A GLB's JSON, and the bytes of each of its views."""
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    views = document["bufferViews"]
    return document, [body[v.get("byteOffset", 0) :][: v["byteLength"]] for v in views]


def shape_of(path: Path) -> list[bytes]:
    """The bytes of the corners, which all primitives share."""
    document, views = parts(path)
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    accessors = [document["accessors"][attributes[name]] for name in ("POSITION", "NORMAL", "TEXCOORD_0")]
    return [views[accessor["bufferView"]] for accessor in accessors]


def tensors(path: Path) -> bytes:
    """What a safetensors file holds, without its header, whose entries have no order."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_the_same_latents_make_the_same_asset(
    model_service: Any,
    store: JobStore,  # noqa: F811
    disc_file: Path,
) -> None:
    first = generate(disc_file, backend=model_service.url, seed=3, **FEW, **QUICK)
    assert first.latents is not None and first.latents.stat().st_size < 10 * 2**20
    same = rework(first)
    assert same.path.read_bytes() == first.path.read_bytes(), "finished again as it was, byte by byte"
    assert same.latents is not None and tensors(same.latents) == tensors(first.latents)

    other = rework(same, texture_format="png", remesh=True)
    assert parts(other.path)[0]["images"][0]["mimeType"] == "image/png" and shape_of(other.path) != shape_of(first.path)
    assert other.seed == 3

    painted = rework(first, texture_again=True, seed=9)
    assert shape_of(painted.path) == shape_of(first.path), "the shape is the one that was kept"
    document, views = parts(painted.path)
    view = document["images"][0]["bufferView"]
    assert views[view] != parts(first.path)[1][view], "and the colours are others"
    told = document["asset"]["extras"]
    assert (told["seed"], told["shapeSeed"]) == (9, 3)
    assert painted.latents is not None
    kept = check_latents(painted.latents.read_bytes())
    assert (kept.seed, kept.shape_seed) == (9, 3)


def test_what_was_lowered_for_want_of_memory_can_be_gone_on_from(
    model_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task still asks for 1024, and its latents are those of 512."""
    weights = registry.weights_folder()
    assert weights is not None
    engine = Trellis2Engine(weights, "cpu")
    voxels = engine.voxels

    def short(order: Order, progress: Progress, **named: Any) -> Any:
        if order.latents is None and order.settings.value("resolution") > 512:
            raise DeviceMemoryError("The device ran out of memory.")
        return voxels(order, progress, **named)

    monkeypatch.setattr(engine, "voxels", short)
    asked = Settings(texture_size=1024, resolution=1024, **FEW)
    made = engine.generate(Order(disc(), asked, 3), Progress())
    assert made.latents is not None and made.facts["resolution"] == 512 and len(made.facts["notes"]) == 1
    kept = check_latents(made.latents)
    assert (kept.resolution, kept.settings["resolution"]) == (512, 1024)
    check_rework(kept, asked, with_image=False)
    again = engine.generate(Order(None, asked, 3, latents=made.latents), Progress())
    assert again.glb == made.glb and again.facts["notes"] == made.facts["notes"]

    # Latents from anywhere may unfold into more voxels than any memory holds.
    monkeypatch.setattr(Pipeline, "_most_voxels", lambda self: 1000)
    with pytest.raises(EngineError, match="voxels, more than can be handled"):
        engine.generate(Order(None, asked, 3, latents=made.latents), Progress())


def test_voxels_and_the_dense_mesh_are_exported(
    model_service: Any,
    extension: Any,  # noqa: F811
    store: JobStore,  # noqa: F811
    disc_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asset = generate(disc_file, backend=model_service.url, seed=3, **FEW, **QUICK)
    assert main(["export", str(asset.provenance["task_uuid"]), "--output", str(tmp_path / "disc.vxz")]) == 0
    voxels = load_ovoxel(tmp_path / "disc.vxz")
    assert voxels.resolution == 512 and len(voxels.coords) > 100 and not list(tmp_path.glob("*.part*"))
    assert asset.latents is not None
    export_latents(asset.latents, tmp_path / "disc.glb")
    assert check_glb((tmp_path / "disc.glb").read_bytes())
    bpy.ops.wm.read_homefile(use_empty=True)
    obj = part("trellis_addon.scene").import_asset(str(asset.path), height=1.0)
    bpy.context.view_layer.objects.active = obj
    assert bpy.ops.trellis2.export_stages(filepath=str(tmp_path / "disc"), kind="npz") == {"FINISHED"}
    assert len(load_ovoxel(tmp_path / "disc.npz").coords) == len(voxels.coords)
    with pytest.raises(RuntimeError, match="is there already"):
        bpy.ops.trellis2.export_stages(filepath=str(tmp_path / "disc.npz"))
    export_from_a_window(obj, tmp_path, monkeypatch)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x80\x04")
    with pytest.raises(TrellisError, match="pickle"):
        export_stages(broken, tmp_path / "none.vxz")
    assert not (tmp_path / "none.vxz").exists()


def export_from_a_window(obj: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artist goes on: a line of the queue has the bar, the end, and the way to stop."""
    exports, pump = part("trellis_addon.scene.exports"), part("trellis_addon.scene.pump")
    operator = part("operators.export_stages")
    app = SimpleNamespace(background=False)
    monkeypatch.setattr(operator, "bpy", SimpleNamespace(app=app, path=bpy.path, data=bpy.data))
    seen: list[tuple[str, float]] = []

    def begin(name: str) -> Any:
        assert bpy.ops.trellis2.export_stages(filepath=str(folder / name)) == {"FINISHED"}
        (export, *_) = exports.exports()
        assert export.name == name and export.state == "running"
        return export

    def wait(export: Any, until: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert time.monotonic() < end, (export.state, export.stage)
            pump.pump()
            seen.append((export.stage, export.share))
            time.sleep(0.01)

    done = begin("again.npz")
    wait(done, lambda: done.state != "running")
    assert done.state == "done" and str(folder / "again.npz") in done.message and (folder / "again.npz").is_file()
    assert any(0.0 < share < 1.0 for _, share in seen), "the bar moves while the process works"
    assert bpy.ops.trellis2.forget(generation=done.id) == {"FINISHED"} and not exports.exports()

    stopped = begin("never.npz")
    wait(stopped, lambda: stopped.share > 0 or stopped.stage)
    assert bpy.ops.trellis2.cancel(generation=stopped.id) == {"FINISHED"} and stopped.is_stopping
    wait(stopped, lambda: not exports.exports())
    assert not list(folder.glob("*never*"))

    refused = begin("again.npz")
    wait(refused, lambda: refused.state != "running")
    assert refused.state == "failed" and "is there already" in refused.message
    exports.forget(refused)


def test_game_ready_goes_back_to_the_latents(
    model_service: Any,
    extension: Any,  # noqa: F811
    store: JobStore,  # noqa: F811
    disc_file: Path,
) -> None:
    asset = generate(disc_file, backend=model_service.url, seed=3, **FEW, **QUICK)
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = part("trellis_addon.scene")
    game = part("trellis_addon.scene.rebaking.game")
    obj = scene.import_asset(str(asset.path), height=2.0, location=(3.0, 1.0, 0.0))
    obj.rotation_euler.z = 0.4
    bpy.context.view_layer.update()
    assert game.has_latents(obj)
    light = scene.game_ready(obj, faces=300, texture_size=1024)
    known = scene.read_provenance(light)
    assert known["engine"] == asset.engine and known["source"]["stage"] == "finish"
    assert known["settings"]["settings"]["faces"] == 300 and len(light.data.loop_triangles) <= 300
    assert light.dimensions.z == pytest.approx(2.0, abs=0.1) and obj.hide_get() and not light.hide_get()
    assert light.rotation_euler.z == pytest.approx(0.4) and light.location[:] == pytest.approx(obj.location[:])

    obj.modifiers.new("Bend", "SIMPLE_DEFORM")
    assert not game.has_latents(obj), "what the artist did to it would be lost"


def test_latents_of_another_model_are_refused(model_service: Any) -> None:
    kept = latents_file(shape=np.ones((ROWS, 7)))
    with Client(model_service.url, model_service.token, remote=False) as client:
        request = Task("", latents=data_uri(kept))
        client.submit(request)
        while (reply := client.poll(request.uuid)).pending:
            client.pause(0.05, Progress())
    (error,) = reply.errors
    assert error["code"] == "invalidLatents" and "channels" in error["message"]
