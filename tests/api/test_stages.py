"""Going on from what was kept, through a service, from a script and on the command line; the dense mesh as files."""

from __future__ import annotations

import base64
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import kept_stages
import numpy as np
import pytest
import service_tools
from conftest import QUICK, disc, encoded, sentence
from kept_stages import WRONG, KeepingEngine, data_uri, latents_file
from service_tools import Running, only_error, png, task

from trellis_addon import generate, rework
from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.core.errors import FieldError, InputError, JobError, TrellisError
from trellis_addon.engines import registry
from trellis_addon.engines.export import dense_glb, dense_ply
from trellis_addon.formats.glb.check import check_glb
from trellis_addon.formats.latents import check_latents, describe_making
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.service.handlers import Service
from trellis_addon.stages import change, export_stages, latents_of, obstacle
from trellis_addon.task.settings import DRAFT_MODEL, TRELLIS2_MODEL, Settings
from trellis_addon.task.task import Task, new_uuid

place, run, store = kept_stages.place, kept_stages.run, kept_stages.store


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
