"""Stages kept: an asset is textured or finished again from its latents, a draft from its picture."""

from __future__ import annotations

import base64
import json
import random
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import bpy
import numpy as np
import pytest
import service_tools
from conftest import PATIENCE, QUICK, disc, encoded, sentence
from fault_server import small_glb
from service_tools import FakeEngine, Running, only_error, png, task
from test_extension import extension, part  # noqa: F401  (a fixture)

from trellis_addon import generate, rework
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import FieldError, InputError, JobError, LatentsError, TrellisError
from trellis_addon.core.progress import Progress
from trellis_addon.engines import registry
from trellis_addon.engines.engine import Made, Order
from trellis_addon.engines.export import dense_glb, dense_ply
from trellis_addon.formats.glb.check import check_glb
from trellis_addon.formats.latents import FILE_LIMIT, Kept, check_latents, check_rework, describe_making
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.service.handlers import Service
from trellis_addon.stages import change, export_stages, latents_of, obstacle
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings
from trellis_addon.task.task import Task, new_uuid

ROWS = 40


def latents_file(
    *,
    resolution: str = "512",
    kind: str = "512",
    coords: Any = None,
    shape: Any = None,
    texture: Any = None,
    metadata: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    length: int | None = None,
    tail: bytes = b"",
) -> bytes:
    """A safetensors file of latents, written by hand; sound unless told otherwise."""
    places = np.stack([np.zeros(ROWS), np.arange(ROWS) % 32, np.arange(ROWS) // 32, np.full(ROWS, 5)], 1)
    tensors = {
        "coords": np.asarray(places if coords is None else coords, "<i4"),
        "shape": np.asarray(np.linspace(-1, 1, ROWS * 8).reshape(ROWS, 8) if shape is None else shape, "<f4"),
        "texture": np.asarray(np.ones((ROWS, 8)) if texture is None else texture, "<f4"),
    }
    entries: dict[str, Any] = {
        "__metadata__": {"resolution": resolution, "pipeline_type": kind, **(metadata or {})},
    }
    body = b""
    for name, array in tensors.items():
        span = [len(body), len(body) + array.nbytes]
        dtype = "I32" if name == "coords" else "F32"
        entries[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": span}
        body += array.tobytes()
    for name, changes in (header or {}).items():
        entries[name] = {**entries.get(name, {}), **changes} if isinstance(changes, dict) else changes
    text = json.dumps(entries).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body + tail


def data_uri(data: bytes) -> str:
    return "data:application/octet-stream;base64," + base64.b64encode(data).decode()


class KeepingEngine(FakeEngine):
    """Tells in its GLB what it was given, and keeps latents."""

    model = TRELLIS2_MODEL

    def generate(self, order: Order, progress: Progress) -> Made:
        settings, seed = order.settings, order.seed
        self.given = [*getattr(self, "given", []), (order.image is not None, dict(settings), seed, order.latents)]
        facts = {"device": "Test", "peakMemory": 5, "resolution": 512, "notes": ["It is a test."]}
        return Made(small_glb(seed), latents_file(metadata={"made": describe_making(seed, settings, ())}), facts)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobStore:
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "jobs"))
    return JobStore()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A service that has TRELLIS.2, as far as it can be told from outside."""
    monkeypatch.setattr(registry, "trellis2_available", lambda: True)
    monkeypatch.setattr(service_tools, "FakeEngine", KeepingEngine)
    running = Running()
    yield running
    running.close()


@pytest.fixture
def place(run: Running, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", service_tools.TOKEN)
    return f"{run.base}/v1"


# --- the file ---


def test_what_a_sound_file_says() -> None:
    settings = Settings(resolution=512, tex_slat_steps=3, webhook_url="http://a.example/")
    made = describe_making(7, settings, ("It was lowered.",), shape_seed=3)
    kept = check_latents(latents_file(metadata={"made": made}))
    assert kept == Kept(512, "512", ROWS, 7, 3, Settings(resolution=512, tex_slat_steps=3), ("It was lowered.",)), (
        "where results were sent is nobody's business"
    )
    assert check_latents(latents_file()) == Kept(512, "512", ROWS)
    assert check_latents(latents_file(resolution="1152", kind="1536_cascade")).resolution == 1152


WRONG: dict[str, dict[str, Any]] = {
    "grid": {"resolution": "1024"},
    "resolution": {"resolution": "1e3", "kind": "1024_cascade"},
    "kind": {"kind": "../../x"},
    "outside": {"coords": np.full((ROWS, 4), 32)},
    "negative": {"coords": -np.ones((ROWS, 4))},
    "batch": {"coords": np.arange(ROWS * 4).reshape(ROWS, 4) % 32},
    "twice": {"coords": np.zeros((ROWS, 4))},
    "rows": {"texture": np.ones((ROWS - 1, 8))},
    "nothing": {"coords": np.zeros((0, 4)), "shape": np.zeros((0, 8)), "texture": np.zeros((0, 8))},
    "channels": {"shape": np.ones((ROWS, 65))},
    "flat": {"shape": np.ones(ROWS)},
    "not a number": {"shape": np.full((ROWS, 8), np.nan)},
    "infinite": {"texture": np.full((ROWS, 8), np.inf)},
    "dtype": {"header": {"shape": {"dtype": "F64"}}},
    "size": {"header": {"shape": {"shape": [ROWS, 9]}}},
    "huge": {"header": {"shape": {"shape": [2**62, 2**62]}}},
    "negative size": {"header": {"shape": {"shape": [-1, -1]}}},
    "overlap": {"header": {"texture": {"data_offsets": [0, ROWS * 32]}}},
    "beyond": {"header": {"texture": {"data_offsets": [ROWS * 48, ROWS * 48 + 2**40]}}},
    "odd": {"header": {"texture": 5}},
    "another tensor": {"header": {"more": {"dtype": "F32", "shape": [0, 1], "data_offsets": [0, 0]}}},
    "metadata": {"metadata": {"made": 5}},
    "making": {"metadata": {"made": "[]"}},
    "making's settings": {"metadata": {"made": '{"settings": {"settings": {"resolution": 3}}}'}},
    "making's seed": {"metadata": {"made": '{"seed": -1}'}},
    "notes": {"metadata": {"made": json.dumps({"notes": ["x" * 501]})}},
    "tail": {"tail": b"\0"},
    "header": {"length": 2**63},
    "long header": {"length": 2**20},
    "no header": {"length": 0},
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_with_a_file_is_said(name: str) -> None:
    with pytest.raises(LatentsError) as caught:
        check_latents(latents_file(**WRONG[name]))
    assert sentence(caught.value) and caught.value.code == "invalidLatents"


def test_other_kinds_of_files_are_refused() -> None:
    import io
    import pickle
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", pickle.dumps({"coords": [1]}))
    nested = b"[" * 20_000
    for data in (
        b"", b"x", pickle.dumps({"coords": 1}), archive.getvalue(), png(), small_glb(),
        len(nested).to_bytes(8, "little") + nested, b"\x02" + bytes(7) + b"{}", bytes(FILE_LIMIT + 1),
    ):  # fmt: skip
        with pytest.raises(LatentsError) as caught:
            check_latents(data)
        sentence(caught.value)


def test_no_bytes_at_all_get_past_the_check_by_chance() -> None:
    """What is changed anywhere is refused with a sentence, or is a sound file still; nothing else is raised."""
    dice = random.Random(3)
    sound = latents_file(metadata={"made": describe_making(1, Settings(resolution=512), ())})
    length = int.from_bytes(sound[:8], "little")
    refused = 0
    for _ in range(3000):
        data = bytearray(sound)
        for _ in range(dice.randint(1, 3)):
            data[dice.randrange(8 + length if dice.random() < 0.8 else len(data))] = dice.randrange(256)
        found = bytes(data[: dice.randrange(len(data))] if dice.random() < 0.1 else data)
        try:
            check_latents(found)
        except LatentsError:
            refused += 1
    assert refused > 2000


def test_what_a_rework_cannot_change() -> None:
    kept = Kept(1024, "1536_cascade", ROWS, 7, None, Settings(resolution=1536, tex_slat_steps=3))
    for settings, with_image in (
        ({"texture_size": 4096, "remesh": False, "decimation_target": 200_000, "texture_format": "png"}, False),
        ({"resolution": 1536, "tex_slat_steps": 3, "seed": 7}, False),
        ({"resolution": 1024}, False),
        ({"seed": 8, "tex_slat_guidance_strength": 3.0, "number_results": 4}, True),
        ({"shape_slat_steps": 12}, True),
    ):
        check_rework(kept, Settings(settings), with_image)
    for settings, with_image, field in (
        ({"resolution": 512}, True, "settings.resolution"),
        ({"sparse_structure_steps": 13}, True, "settings.sparseStructure.steps"),
        ({"shape_slat_rescale_t": 2.0}, False, "settings.shapeSlat.rescaleT"),
        ({"tex_slat_steps": 4}, False, "settings.texSlat.steps"),
        ({"seed": 8}, False, "seed"),
        ({"number_results": 2}, False, "numberResults"),
    ):
        with pytest.raises(FieldError) as caught:
            check_rework(kept, Settings(settings), with_image)
        assert sentence(caught.value) and caught.value.field == field


# --- the service ---


def test_results_come_with_latents_and_a_task_goes_on_from_them(run: Running) -> None:
    first = task(seed=4, settings={"resolution": 512})
    run.post(first)
    (item,) = run.settle(first["taskUUID"])["data"]
    kept = item["latents"]
    data = run.http.get(kept["url"].removeprefix(run.base)).content
    assert kept["url"].startswith(run.base) and check_latents(data).seed == 4

    named = task(inputs={"latents": kept["uuid"]}, settings={"textureSize": 1024, "textureFormat": "png"})
    inline = task(inputs={"latents": base64.b64encode(data).decode(), "image": data_uri(png())}, seed=9)
    upload = {"taskType": "mediaStorage", "taskUUID": new_uuid(), "operation": "upload", "media": data_uri(data)}
    media = run.post(upload).json()["data"][0]["mediaUUID"]
    uploaded = task(inputs={"latents": media})
    for request in (named, inline, uploaded):
        run.post(request)
        assert run.settle(request["taskUUID"])["data"][0]["status"] == "success"
    engine = run.engine
    assert isinstance(engine, KeepingEngine)
    assert [given[:3] for given in engine.given[1:]] == [
        (False, {"texture_size": 1024, "texture_format": "png"}, 4),
        (True, {"seed": 9}, 9),
        (False, {}, 4),
    ], "without an image nothing is drawn: the seed is the latents' own"
    assert all(given[3] == data for given in engine.given[1:])
    details = run.post({"taskType": "getTaskDetails", "taskUUID": inline["taskUUID"]}).json()["data"][0]
    assert len(details["request"][0]["inputs"]["latents"]) < 200, "what was sent is not kept for long"
    assert not list(run.service.files.pictures.iterdir()), "nor on the disk"


@pytest.mark.parametrize(
    ("changes", "code", "parameter"),
    [
        ({"inputs": {"latents": "!"}}, "invalidLatents", "inputs.latents"),
        ({"inputs": {"latents": data_uri(b"\x80\x04x")}}, "invalidLatents", "inputs.latents"),
        ({"inputs": {"latents": data_uri(latents_file(**WRONG["not a number"]))}}, "invalidLatents", "inputs.latents"),
        ({"inputs": {"latents": "http://127.0.0.1:1/x"}}, "invalidLatents", "inputs.latents"),
        ({"inputs": {"latents": ""}}, "invalidString", "inputs.latents"),
        ({"inputs": {"latents": str(uuid.UUID(int=5))}}, "mediaNotFound", "inputs.latents"),
        ({"numberResults": 2}, "invalidValue", "numberResults"),
        ({"settings": {"resolution": 1024}}, "invalidValue", "settings.resolution"),
        ({"model": DRAFT_MODEL}, "engineNotAvailable", "inputs.latents"),
    ],
)
def test_what_the_service_refuses(run: Running, changes: dict[str, Any], code: str, parameter: str) -> None:
    good = {"latents": data_uri(latents_file(metadata={"made": describe_making(1, Settings(resolution=512), ())}))}
    error = only_error(run.post(task(**{"inputs": good, **changes})))
    assert (error["code"], error["parameter"]) == (code, parameter)
    assert not list(run.service.files.pictures.iterdir())


def test_a_picture_is_no_latents_and_the_other_way_round(run: Running) -> None:
    kinds = {"image": data_uri(png()), "latents": data_uri(latents_file())}
    ids = {}
    for name, text in kinds.items():
        upload = {"taskType": "mediaStorage", "taskUUID": new_uuid(), "operation": "upload", "media": text}
        ids[name] = run.post(upload).json()["data"][0]["mediaUUID"]
    for name, other in (("image", "latents"), ("latents", "image")):
        error = only_error(run.post(task(inputs={name: ids[other]})))
        assert (error["code"], error["parameter"]) == ("mediaNotFound", f"inputs.{name}")
    broken = {"taskType": "mediaStorage", "taskUUID": new_uuid(), "operation": "upload"}
    error = only_error(run.post({**broken, "media": data_uri(latents_file(**WRONG["twice"]))}))
    assert error["code"] == "invalidLatents"


def test_without_the_engine_the_cause_is_told() -> None:
    for engine, cause in (("draft", "the draft was asked for"), ("auto", "weights")):
        running = Running(engine=engine)
        try:
            error = only_error(running.post(task(inputs={"latents": data_uri(latents_file())})))
        finally:
            running.close()
        assert error["code"] == "engineNotAvailable" and cause in error["message"]


def test_a_waiting_rework_outlives_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "trellis2_available", lambda: True)
    data = latents_file()
    request = task(inputs={"latents": data_uri(data)}, settings={"textureSize": 1024})
    first = Service("t", folder=tmp_path, create_engine=lambda model, device="": KeepingEngine())
    reply, _ = first.answer([request], "http://here", False)  # not started: nobody works on it
    assert reply.status == 200, reply.body
    first.close()
    monkeypatch.setattr(service_tools, "FakeEngine", KeepingEngine)
    running = Running(folder=tmp_path)
    try:
        assert running.settle(request["taskUUID"])["data"][0]["status"] == "success"
    finally:
        running.close()
    engine = running.engine
    assert isinstance(engine, KeepingEngine)
    assert engine.given[0][0] is False and engine.given[0][3] == data


def test_the_remote_api_is_never_sent_any_of_it(store: JobStore) -> None:
    with Client("http://127.0.0.1:1/v1", "key", remote=True) as client:
        for request in (Task("", latents="AAAA"), Task("AAAA", Settings(texture_format="png"))):
            with pytest.raises(FieldError, match="the remote API"):
                client.submit(request)
    with pytest.raises(FieldError, match="textureFormat.*remote API"):
        generate(encoded(disc()), backend="remote", key="k", texture_format="png")
    assert store.recent() == [], "refused before anything was written down or sent"


# --- the library ---


def test_an_asset_is_gone_on_from_through_a_service(run: Running, place: str, store: JobStore, disc_file: Path) -> None:
    settings = {"number_results": 2, "seed": 4, "webhook_url": "http://127.0.0.1:9/", **QUICK}
    first, second = generate(disc_file, backend=place, **settings).variations
    assert [asset.latents.name for asset in (first, second)] == ["latents-1.safetensors", "latents-2.safetensors"]
    assert obstacle(second.provenance, texture_again=True) == ""
    told = second.provenance["performance"]
    assert told["seconds"] >= 0 and (told["device"], told["peakMemory"], told["resolution"]) == ("Test", 5, 512)
    assert second.provenance["notes"] == ["It is a test."]

    finished = rework(second, texture_size=2048)
    engine = run.engine
    assert isinstance(engine, KeepingEngine) and second.latents is not None
    has_image, wished, seed, latents = engine.given[-1]
    assert (has_image, seed, latents) == (False, 5, second.latents.read_bytes())
    assert "webhook_url" not in wished and wished["texture_size"] == 2048 and wished["resolution"] == 512
    source = finished.provenance["source"]
    assert source["task_uuid"] == second.provenance["task_uuid"] and source["stage"] == "finish"
    assert source["file_uuid"] == second.provenance["file_uuid"] and finished.latents is not None

    painted = rework(finished, texture_again=True, tex_slat_steps=5)  # of one that was itself made again
    has_image, wished, seed, latents = engine.given[-1]
    assert has_image and wished["tex_slat_steps"] == 5 and latents == finished.latents.read_bytes()
    assert painted.seed == seed != 5, "another texture has another seed"
    assert painted.provenance["image_sha256"] == first.provenance["image_sha256"]
    assert rework(painted, texture_again=True, seed=11).seed == 11
    again = store.get(str(finished.provenance["task_uuid"]))
    assert again is not None and again.task.image == "" and again.picture.startswith("data:image/")
    assert latents_of(first, store) == first.latents


def test_an_asset_that_was_copied_elsewhere_is_found_again(
    place: str, store: JobStore, disc_file: Path, tmp_path: Path
) -> None:
    copy = generate(disc_file, backend=place, output=tmp_path / "copy.glb", **QUICK)
    assert copy.latents is None and latents_of(copy, store).name == "latents.safetensors"
    made = rework(tmp_path / "copy.glb", remesh=False, output=tmp_path / "made.glb")
    assert made.path == tmp_path / "made.glb" and made.provenance["settings"]["settings"]["remesh"] is False


def test_an_asset_does_without_its_latents(
    run: Running, place: str, store: JobStore, disc_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = run.service.files.put

    def broken(data: bytes, *rest: Any) -> Any:
        return original(data if data.startswith(b"glTF") else data[:-1], *rest)

    monkeypatch.setattr(run.service.files, "put", broken)
    asset = generate(disc_file, backend=place, **QUICK)
    assert asset.path.is_file() and asset.latents is None
    with pytest.raises(InputError, match="not kept here") as caught:
        rework(asset)
    sentence(caught.value)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"resolution": 1024}, "settings.resolution.*generate the asset anew"),
        ({"seed": 3}, "seed.*texture it again"),
        ({"tex_slat_steps": 3}, "texture it again"),
        ({"texture_again": True, "shape_slat_steps": 3}, "generate the asset anew"),
        ({"backend": "remote"}, "remote API keeps no stages"),
        ({"output": "x.obj"}, "ends in .glb"),
        ({"texture_siez": 3}, "texture_size"),
    ],
)
def test_what_cannot_be_made_again(draft: Asset, options: dict[str, Any], match: str) -> None:
    with pytest.raises(FieldError, match=match) as caught:
        rework(draft, **options)
    sentence(caught.value)


def test_where_nothing_was_kept_the_cause_is_told(store: JobStore, tmp_path: Path) -> None:
    for goes_on in (rework, partial(change, region=[0, 0, 0, 1])):
        with pytest.raises(InputError, match="cannot be read"):
            goes_on(tmp_path / "nowhere.glb", store=store)
    ours = {"task_uuid": new_uuid(), "engine": TRELLIS2_MODEL}
    for provenance, match in (
        ({}, "not generated by this add-on"),
        ({**ours, "backend": "remote"}, "remote API"),
        ({**ours, "backend": "local"}, "not kept here"),
        ({**ours, "engine": DRAFT_MODEL}, "picture"),
        ({**ours, "task_uuid": "../../../etc"}, "not kept here"),
    ):
        with pytest.raises(InputError, match=match) as caught:
            rework(Asset(tmp_path / "x.glb", "Frog", provenance), store=store)
        sentence(caught.value)


def test_a_draft_is_made_again_as_it_was(store: JobStore, disc_file: Path) -> None:
    first = generate(disc_file, seed=5, **QUICK)
    assert first.latents is None and obstacle(first.provenance, texture_again=True) == ""
    same = rework(first)
    assert same.path.read_bytes() == first.path.read_bytes(), "the same settings and seed, the same bytes"
    larger = rework(first, texture_size=2048, texture_format="png")
    assert larger.seed == 5 and larger.provenance["source"]["stage"] == "all"
    assert b"image/jpeg" in first.path.read_bytes() and b"image/jpeg" not in larger.path.read_bytes()
    other = rework(first, texture_again=True)
    assert other.seed != 5 and other.provenance["settings"]["settings"] == first.provenance["settings"]["settings"]
    job = store.get(str(larger.provenance["task_uuid"]))
    assert job is not None and job.source["task_uuid"] == first.provenance["task_uuid"]
    store.delete(job)
    with pytest.raises((InputError, JobError)):
        rework(larger)


def test_the_command_line(store: JobStore, disc_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.cli import main

    asset = generate(disc_file, seed=5, output=tmp_path / "first.glb", **QUICK)
    target = tmp_path / "second.glb"
    options = ["--output", str(target), "--texture-size", "2048", "--texture-format", "png"]
    assert main(["rework", str(asset.path), *options]) == 0 and "seed 5" in capsys.readouterr().out
    made = Asset.from_file(target)
    assert made.provenance["settings"]["settings"]["textureSize"] == 2048
    uuid = str(made.provenance["task_uuid"])
    assert main(["rework", uuid, "--output", str(target), "--texture-again", "--seed", "9"]) == 0
    assert Asset.from_file(target).seed == 9
    for wrong, words in (
        (["rework", uuid, "--output", str(target), "--seed", "9"], "texture it again"),
        (["rework", new_uuid(), "--output", str(target)], "no finished job"),
        (["export", uuid, "--output", str(tmp_path / "x.vxz")], "without voxels"),
        (["export", uuid, "--output", str(tmp_path / "x.obj")], "ends in .vxz"),
    ):
        assert main(wrong) != 0 and words in capsys.readouterr().err


def test_a_rework_is_repeated_and_begun_anew(place: str, run: Running, store: JobStore, disc_file: Path) -> None:
    from trellis_addon.api import finish, retry

    asset = rework(generate(disc_file, backend=place, **QUICK), texture_size=2048)
    job = store.get(str(asset.provenance["task_uuid"]))
    assert job is not None
    again = retry(job, store)
    assert again.source == job.source and again.task.latents == job.task.latents
    finish(again, Backend(place), store)
    anew = retry(job, store, settings=job.settings.replace(number_results=2), from_picture=True)
    assert anew.source == {} and not anew.task.latents and anew.task.image == job.picture
    assert len(finish(anew, Backend(place), store).variations) == 2


# --- other formats ---


def test_the_dense_mesh_as_files() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32) - 0.25
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    attributes = np.linspace(-0.1, 1.1, 24, dtype=np.float32).reshape(4, 6)
    info = check_glb(dense_glb(vertices, faces, attributes))
    assert info is not None
    trimesh = pytest.importorskip("trimesh")
    import io

    mesh = trimesh.load(io.BytesIO(dense_glb(vertices, faces, attributes)), "glb", force="mesh", process=False)
    assert np.allclose(mesh.vertices, vertices[:, [0, 2, 1]] * [1, 1, -1]) and (mesh.faces == faces).all()
    mesh = trimesh.load(io.BytesIO(dense_ply(vertices, faces, attributes)), "ply", process=False)
    assert np.allclose(mesh.vertices, vertices) and (mesh.faces == faces).all()
    assert (mesh.visual.vertex_colors[1, :3] == np.round(attributes[1, :3] * 255)).all()


def test_what_cannot_be_exported(draft: Asset, tmp_path: Path) -> None:
    for target, match in (("x.obj", "ends in .vxz"), ("there.vxz", "is there already"), ("new.vxz", "without voxels")):
        (tmp_path / "there.vxz").touch()
        with pytest.raises(TrellisError, match=match) as caught:
            export_stages(draft, tmp_path / target)
        sentence(caught.value)


# --- Blender ---


def stood(asset: Asset) -> Any:
    """The asset in the scene: moved, turned, with a parent and a name of its own."""
    library = part("trellis_addon.jobs.job").Asset
    obj = part("trellis_addon.scene").import_asset(library(asset.path, asset.name, asset.provenance), height=1.8)
    parent = bpy.data.objects.new("Table", None)
    bpy.context.scene.collection.objects.link(parent)
    obj.parent, obj.location, obj.rotation_euler, obj.name = parent, (1.0, 2.0, 3.0), (0.1, 0.2, 0.3), "My Disc"
    obj.modifiers.new("Weld", "WELD")
    bpy.context.view_layer.objects.active = obj
    bpy.context.view_layer.update()
    return obj


@pytest.fixture
def drafted(extension: ModuleType, store: JobStore, disc_file: Path) -> Any:  # noqa: F811
    return stood(generate(disc_file, seed=5, **QUICK))


@pytest.fixture
def made(extension: ModuleType, place: str, store: JobStore, disc_file: Path) -> Any:  # noqa: F811
    """One of a service that keeps latents; it is small, and has no textures."""
    return stood(generate(disc_file, backend=place, seed=5, **QUICK))


def images() -> dict[str, tuple[int, int]]:
    return {image.name: tuple(image.size) for image in bpy.data.images if image.size[0] and image.users}


def test_a_rework_takes_the_old_ones_place(made: Any, store: JobStore) -> None:
    scene = part("trellis_addon.scene")
    scene.make_lods(made, [1.0, 0.25])
    before = (made.matrix_world.copy(), made.dimensions.copy(), made.data.name, set(bpy.data.objects.keys()))
    collection, mesh = made.users_collection[0], made.data.as_pointer()
    assert bpy.ops.trellis2.finish_again(texture_size="2048") == {"FINISHED"}
    assert bpy.data.objects["My Disc"] == made and set(bpy.data.objects.keys()) == before[3]
    assert made.matrix_world == before[0] and made.dimensions[:] == pytest.approx(before[1][:], rel=1e-4)
    assert made.users_collection[0] == collection and made.parent.name == "Table" and len(made.modifiers) == 1
    assert made.data.as_pointer() != mesh, "the levels of detail still show the old one"
    assert len(scene.lods_of(made).objects) == 2
    known = scene.read_provenance(made)
    assert known["seed"] == 5 and known["source"]["stage"] == "finish"
    job = store.get(known["task_uuid"])
    assert job is not None and job.delivered and job.source["task_uuid"] == known["source"]["task_uuid"]
    assert part("trellis_addon.scene.place.waiting").MARK not in made


def test_what_the_old_one_alone_had_goes(drafted: Any) -> None:
    old = drafted.data.name
    assert {max(size) for size in images().values()} == {1024, 512} and len(images()) == 3
    assert bpy.ops.trellis2.finish_again(texture_size="2048", texture_format="png") == {"FINISHED"}
    known = part("trellis_addon.scene").read_provenance(drafted)
    assert known["seed"] == 5 and known["source"]["stage"] == "all"
    assert [mesh.name for mesh in bpy.data.meshes] == [old], "the new one has the old one's name"
    assert {max(size) for size in images().values()} == {2048, 1024} and len(images()) == 3
    assert len(bpy.data.materials) == 1 and all(image.users for image in bpy.data.images if image.size[0])


def test_the_new_one_beside_the_old_one(made: Any) -> None:
    mesh, place = made.data, made.matrix_world.copy()
    assert bpy.ops.trellis2.texture_again(keep_old=True) == {"FINISHED"}
    assert made.data == mesh and made.matrix_world == place
    (other,) = [obj for obj in bpy.data.objects if obj.type == "MESH" and obj != made]
    placement = part("trellis_addon.scene.importing.placement")
    (low, high), (other_low, other_high) = placement.world_bounds(made), placement.world_bounds(other)
    assert other_low.x > high.x and other_low.z == pytest.approx(low.z, abs=1e-3)
    assert other_high.z - other_low.z == pytest.approx(high.z - low.z, rel=1e-3)


def test_an_edited_size_is_kept(made: Any) -> None:
    """Applied scale, another origin, a copy with a mesh of its own: what counts is the mesh that is there."""
    from mathutils import Matrix

    made.data.transform(Matrix.Translation((0.5, 0.0, -0.25)) @ Matrix.Scale(3.0, 4))
    made.data.update()
    placement = part("trellis_addon.scene.importing.placement")
    before = placement.bounds(made.data)
    bpy.ops.trellis2.finish_again(texture_size="2048")
    assert np.allclose(placement.bounds(made.data), before, atol=1e-3)


def test_the_buttons_say_why_they_are_off(made: Any, store: JobStore) -> None:
    provenance = part("trellis_addon.scene.importing.provenance")
    known = provenance.read_provenance(made)
    operators = (bpy.ops.trellis2.texture_again, bpy.ops.trellis2.finish_again)

    def why(operator: Any) -> str:
        assert not operator.poll()
        with pytest.raises(RuntimeError) as caught:
            operator("EXEC_DEFAULT")
        return str(caught.value)

    for changes, words in (
        ({"backend": "remote"}, "remote API keeps no stages"),
        ({"task_uuid": new_uuid()}, "What it was decoded from is not kept"),
        ({"task_uuid": ""}, "not generated here"),
    ):
        made[provenance.PROPERTY] = json.dumps({**known, **changes})
        assert all(words in why(operator) for operator in operators)
    made[provenance.PROPERTY] = json.dumps({**known, "engine": DRAFT_MODEL})
    assert "without voxels" in why(bpy.ops.trellis2.export_stages)
    made[provenance.PROPERTY] = json.dumps(known)
    level = part("trellis_addon.scene").make_lods(made, [0.5])[0].object
    bpy.context.view_layer.objects.active = level
    assert "level of detail" in why(operators[0])
    bpy.context.view_layer.objects.active = made
    bpy.ops.object.mode_set(mode="EDIT")
    assert "Object Mode" in why(operators[0])
    bpy.ops.object.mode_set(mode="OBJECT")
    assert all(operator.poll() for operator in operators)
    job = store.get(known["task_uuid"])
    assert job is not None
    (job.folder / "image.txt").unlink()
    assert "picture" in why(operators[0]) and operators[1].poll()
    (job.folder / "latents.safetensors").unlink()
    assert "decoded from" in why(operators[1])
    bpy.context.view_layer.objects.active = made.parent
    assert "Select an asset" in why(operators[0])


def test_a_refusal_leaves_the_old_one_as_it_is(made: Any, store: JobStore) -> None:
    mesh, count = made.data, len(store.recent())
    with pytest.raises(RuntimeError, match="seed"):
        bpy.ops.trellis2.texture_again(seed="many")
    assert made.data == mesh and part("trellis_addon.scene.place.waiting").MARK not in made
    assert len(store.recent()) == count


class Line:
    """A rework in the queue, as in a window: a thread makes it, and the pump, called by hand, brings it in."""

    def __init__(self, obj: Any, hold: bool = False) -> None:
        import threading

        self.obj, self.id, self.gate = obj, new_uuid(), threading.Event()
        self.queue, self.rework = part("trellis_addon.scene.session").queue, part("trellis_addon.scene.rework")
        self.waiting = part("trellis_addon.scene.place.waiting")
        stages, target = part("trellis_addon.stages"), part("trellis_addon.scene.target")
        store = part("trellis_addon.jobs.store").JobStore()
        prepared, backend = stages.prepare_rework(
            self.rework.asset_of(obj),
            part("trellis_addon.task.settings").Settings(texture_size=2048),
            store,
            uuid=self.id,
        )
        if not hold:
            self.gate.set()
        self.waiting.mark(obj, self.id)
        where = target.Target(bpy.context.scene.name, bpy.data.filepath, (0, 0, 0), 1.0, target.SESSION, self.id)
        job = prepared.write_down(store, backend, target=where.to_json())

        def make(progress: Any, report: Any) -> Any:
            while not self.gate.wait(0.01):
                progress.check()
            return part("trellis_addon.api").finish(job, backend, store, progress)

        self.generation = self.queue.start("again", make, where)

    def run(self) -> str:
        import time

        give_up = time.monotonic() + PATIENCE
        while self.generation.state in ("running", "ready") and time.monotonic() < give_up:
            part("trellis_addon.scene.pump").pump()
            time.sleep(0.02)
        return self.generation.state


def test_a_rework_in_the_queue_finds_its_object_wherever_it_is(made: Any) -> None:
    line, mesh = Line(made, hold=True), made.data.as_pointer()
    with pytest.raises(RuntimeError, match="being made again already"):
        bpy.ops.trellis2.finish_again("EXEC_DEFAULT")
    made.location, made.name = (7.0, 0.0, 0.0), "Moved"
    copy = made.copy()  # a linked duplicate gets the new mesh as well
    bpy.context.scene.collection.objects.link(copy)
    line.gate.set()
    assert line.run() == "done", line.generation.message
    assert made.data.as_pointer() != mesh and copy.data == made.data and made.location.x == 7.0
    assert line.waiting.MARK not in made and line.waiting.MARK not in copy
    assert bpy.ops.trellis2.finish_again.poll()


def test_a_rework_that_is_given_up_leaves_no_mark(made: Any) -> None:
    line, mesh = Line(made, hold=True), made.data
    line.queue.cancel(line.generation)
    assert line.run() == "cancelled"
    assert made.data == mesh and line.waiting.MARK not in made


def test_a_rework_whose_object_is_gone_is_kept(made: Any) -> None:
    line = Line(made, hold=True)
    bpy.data.objects.remove(made)
    line.gate.set()
    assert line.run() == "kept" and not [obj for obj in bpy.data.objects if obj.type == "MESH"]
    assert bpy.ops.trellis2.keep_results(generation=line.generation.id) == {"FINISHED"}
    assert len([obj for obj in bpy.data.objects if obj.type == "MESH"]) == 1


def test_a_rework_of_a_former_session_goes_on(made: Any, tmp_path: Path) -> None:
    """Written down and never sent, as a crash leaves it: the object in the saved file still waits for it."""
    import time

    stages, rework_module = part("trellis_addon.stages"), part("trellis_addon.scene.rework")
    pump, resume = part("trellis_addon.scene.pump"), part("trellis_addon.scene.resume")
    store, target = part("trellis_addon.jobs.store").JobStore(), part("trellis_addon.scene.target")
    prepared, backend = stages.prepare_rework(
        rework_module.asset_of(made), part("trellis_addon.task.settings").Settings(remesh=False), store
    )
    uuid = prepared.task.uuid
    waiting = part("trellis_addon.scene.place.waiting")
    waiting.mark(made, uuid)
    where = target.Target(bpy.context.scene.name, "elsewhere.blend", (0, 0, 0), 1.0, "another session", uuid)
    prepared.write_down(store, backend, target=where.to_json())
    made.name = "Waits"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"))
    resume.go_on(lambda job: backend)
    give_up = time.monotonic() + PATIENCE
    while not store.get(uuid).delivered and time.monotonic() < give_up:
        pump.pump()
        time.sleep(0.02)
    obj = bpy.data.objects["Waits"]
    known = part("trellis_addon.scene").read_provenance(obj)
    assert known["task_uuid"] == uuid and known["settings"]["settings"]["remesh"] is False
    assert waiting.MARK not in obj and obj.location[:] == (1.0, 2.0, 3.0)


def test_more_like_one_that_was_made_again(made: Any, store: JobStore) -> None:
    bpy.ops.trellis2.finish_again(texture_size="2048")
    assert bpy.ops.trellis2.more_like_this(count=2) == {"FINISHED"}
    newest = store.recent(1)[0]
    assert newest.source == {} and newest.settings["number_results"] == 2
