"""Several views of one object through the service: taken, kept over a restart, told where they are wrong."""

from __future__ import annotations

import base64
import contextlib
import io
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import service_tools
from conftest import PATIENCE
from service_tools import FakeEngine, Running, only_error, picture_server, png, task
from views_tools import picture

from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order


def uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


class Watching:
    """Puts itself in the place of the fake engine's `generate`, and notes the views."""

    def __init__(self, running: Running) -> None:
        self.views: list[dict[str, Any]] = []
        self._made = running.engine.generate
        running.engine.generate = self.generate  # type: ignore[method-assign, assignment]

    def generate(self, order: Order, progress: Progress) -> Made:
        self.views.append({name: view.size for name, view in order.views.items()})
        return self._made(order, progress)


run = service_tools.run


def test_the_engine_gets_every_view_however_it_was_sent(run: Running) -> None:
    watching = Watching(run)
    upload = {"taskType": "imageUpload", "taskUUID": task()["taskUUID"], "image": uri(png(11))}
    uuid = run.post(upload).json()["data"][0]["imageUUID"]
    with picture_server(png(12)) as address:
        given = task(inputs={"image": uri(png(9)), "views": {"left": address, "180": uuid, "45": uri(png(10))}})
        run.post({**given, "numberResults": 2})
        body = run.settle(given["taskUUID"])
    assert len(body["data"]) == 2 and not body.get("errors")
    assert watching.views == [{"45": (10, 10), "back": (11, 11), "left": (12, 12)}] * 2
    request = run.post({"taskType": "getTaskDetails", "taskUUID": given["taskUUID"]}).json()["data"][0]["request"][0]
    assert set(request["inputs"]["views"]) == {"left", "180", "45"}
    one = task(inputs={"image": uri(png(9))})
    run.post(one)
    run.settle(one["taskUUID"])
    assert watching.views[-1] == {}


@pytest.mark.parametrize(
    ("views", "parameter", "code"),
    [
        ({"behind": uri(png())}, "inputs.views", "invalidView"),
        ({"front": uri(png())}, "inputs.views", "invalidView"),
        ({"back": "no picture at all"}, "inputs.views.back", "invalidImage"),
        ({"back": uri(b"no picture")}, "inputs.views.back", "invalidImage"),
        ({"left": "7b0f6f0e-53c2-4c2f-9a30-2f4f3d2b1a00"}, "inputs.views.left", "mediaNotFound"),
        ({"back": 7}, "inputs.views.back", "invalidString"),
        ([uri(png())], "inputs.views", "invalidObject"),
    ],
)
def test_wrong_views_are_told_before_the_acknowledgement(run: Running, views: Any, parameter: str, code: str) -> None:
    error = only_error(run.post(task(inputs={"image": uri(png()), "views": views})))
    assert (error["parameter"], error["code"]) == (parameter, code)


def test_views_that_do_not_fit_are_told_with_the_result(run: Running) -> None:
    Watching(run)

    def sent(image: Any) -> str:
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        return uri(buffer.getvalue())

    given = task(inputs={"image": sent(picture(0)), "views": {"back": sent(picture(180, colour=(255, 0, 0)))}})
    run.post(given)
    (item,) = run.settle(given["taskUUID"])["data"]
    assert any("back view has other colours" in note for note in item["notes"])


def restarted(folder: Path, seen: list[Any]) -> Running:
    """A service on the folder whose engine notes the views from its first task on."""

    class Noting(FakeEngine):
        def generate(self, order: Order, progress: Progress) -> Made:
            seen.append({name: view.size for name, view in order.views.items()})
            return super().generate(order, progress)

    class Started(Running):
        def _create(self, model: str, device: str = "") -> Any:
            return Noting()

    return Started(folder=folder)


def test_views_outlive_a_restart(tmp_path: Path) -> None:
    first, second_task = (task(inputs={"image": uri(png(9)), "views": {"back": uri(png(side))}}) for side in (10, 11))
    run = Running(folder=tmp_path)
    run.engine.gate.clear()
    Watching(run)
    run.post(first)
    run.post(second_task)
    assert run.engine.began.wait(PATIENCE)
    run.close()
    seen: list[Any] = []
    run = restarted(tmp_path, seen)
    try:
        for given in (first, second_task):
            assert not run.settle(given["taskUUID"]).get("errors")
        assert seen == [{"back": (10, 10)}, {"back": (11, 11)}]
        assert not list(run.service.files.pictures.iterdir()), "what a task needed goes with it"
    finally:
        run.close()


@pytest.mark.parametrize("version", [1, 2])
def test_the_folder_of_an_older_version_opens(tmp_path: Path, version: int) -> None:
    run = Running(folder=tmp_path)
    path = run.service.folder.database
    run.close()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE views")
        database.execute("DROP TABLE IF EXISTS shape")
        if version == 1:
            database.execute("ALTER TABLE tasks DROP COLUMN latents")
        database.execute(f"PRAGMA user_version = {version}")
    run = Running(folder=tmp_path)
    watching = Watching(run)
    try:
        given = task(inputs={"image": uri(png(9)), "views": {"back": uri(png(10))}})
        run.post(given)
        assert not run.settle(given["taskUUID"]).get("errors")
        assert watching.views == [{"back": (10, 10)}]
    finally:
        run.close()
