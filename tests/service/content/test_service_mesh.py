"""A mesh that is textured, through the service: taken, kept over a restart, told where it is wrong."""

from __future__ import annotations

import base64
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from mesh_tools import glb
from service_tools import FakeEngine, Running, only_error, png, task

from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order

MESH = glb()


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64," + base64.b64encode(data).decode()


class Noting(FakeEngine):
    def __init__(self, seen: list[bytes | None]) -> None:
        super().__init__()
        self.seen = seen

    def generate(self, order: Order, progress: Progress) -> Made:
        self.seen.append(order.mesh)
        return super().generate(order, progress)


class Started(Running):
    """A service whose engine notes the meshes from its first task on."""

    def __init__(self, **options: Any) -> None:
        self.seen: list[bytes | None] = []
        super().__init__(**options)

    def _create(self, model: str, device: str = "") -> Any:
        if not isinstance(self.engine, Noting):
            held, self.engine = self.engine, Noting(self.seen)
            self.engine.gate, self.engine.began = held.gate, held.began
        return self.engine


@pytest.fixture
def run() -> Iterator[Started]:
    running = Started()
    yield running
    running.close()


def textured(mesh: str, **settings: Any) -> dict[str, Any]:
    return task(inputs={"image": uri(png(9)), "mesh": mesh}, settings=settings)


def test_the_engine_gets_the_mesh_however_it_was_sent(run: Started) -> None:
    upload = {"taskType": "mediaStorage", "taskUUID": task()["taskUUID"], "operation": "upload", "media": uri(MESH)}
    uuid = run.post(upload).json()["data"][0]["mediaUUID"]
    sent = [textured(uuid, facing="right"), textured(uri(MESH, "model/gltf-binary")), task()]
    for given in sent:
        run.post(given)
        assert not run.settle(given["taskUUID"]).get("errors")
    assert run.seen == [MESH, MESH, None]
    details = {"taskType": "getTaskDetails", "taskUUID": sent[1]["taskUUID"]}
    kept = run.post(details).json()["data"][0]["request"][0]
    assert len(kept["inputs"]["mesh"]) < 200, "the request is kept without it"
    assert not list(run.service.files.pictures.iterdir()), "what a task needed goes with it"


@pytest.mark.parametrize(
    ("inputs", "settings", "parameter", "code"),
    [
        ({"mesh": "no mesh at all"}, {}, "inputs.mesh", "invalidMesh"),
        ({"mesh": uri(png())}, {}, "inputs.mesh", "invalidMesh"),
        ({"mesh": uri(MESH[:-4])}, {}, "inputs.mesh", "invalidMesh"),
        ({"mesh": "7b0f6f0e-53c2-4c2f-9a30-2f4f3d2b1a00"}, {}, "inputs.mesh", "mediaNotFound"),
        ({"mesh": 7}, {}, "inputs.mesh", "invalidString"),
        ({"mesh": uri(MESH)}, {"facing": "behind"}, "settings.facing", "invalidView"),
        ({"mesh": uri(MESH)}, {"uvs": "some"}, "settings.uvs", "invalidString"),
        ({}, {"facing": "back"}, "settings.facing", "unsupportedParameter"),
        ({"mesh": uri(MESH), "views": {"back": uri(png())}}, {"facing": "back"}, "inputs.views", "invalidView"),
        ({"mesh": uri(MESH), "image": None}, {}, "inputs.image", "missingImage"),
    ],
)
def test_what_is_wrong_is_told_before_the_acknowledgement(
    run: Started, inputs: dict[str, Any], settings: dict[str, Any], parameter: str, code: str
) -> None:
    given = {name: value for name, value in {"image": uri(png()), **inputs}.items() if value is not None}
    error = only_error(run.post(task(inputs=given, settings=settings)))
    assert (error["parameter"], error["code"]) == (parameter, code), error["message"]


def test_a_mesh_outlives_a_restart(tmp_path: Path) -> None:
    first, second = textured(uri(MESH)), textured(uri(MESH), facing="left")
    run = Started(folder=tmp_path)
    run.engine.gate.clear()
    run.post(first)
    run.post(second)
    assert run.engine.began.wait(PATIENCE)
    run.close()
    run = Started(folder=tmp_path)
    try:
        for given in (first, second):
            assert not run.settle(given["taskUUID"]).get("errors")
        assert run.seen[-2:] == [MESH, MESH] and not list(run.service.files.pictures.iterdir())
    finally:
        run.close()


def test_the_folder_of_an_older_version_opens(tmp_path: Path) -> None:
    run = Started(folder=tmp_path)
    path = run.service.folder.database
    run.close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE meshes")
        database.execute("DROP TABLE IF EXISTS shape")
        database.execute("PRAGMA user_version = 4")
    run = Started(folder=tmp_path)
    try:
        given = textured(uri(MESH))
        run.post(given)
        assert not run.settle(given["taskUUID"]).get("errors") and run.seen == [MESH]
    finally:
        run.close()
