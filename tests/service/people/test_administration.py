"""What an administrator's page asks for: plain JSON, for administrators only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import TOKEN, Running, only_error, task

from trellis_addon.core.errors import EngineError
from trellis_addon.service.edge.openapi import describe
from trellis_addon.service.monitoring.troubles import without_secrets
from trellis_addon.service.people.caller import Caller
from trellis_addon.service.people.tokens import add


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Running]:
    running = Running(folder=tmp_path / "service")
    yield running
    running.close()


def get(run: Running, path: str = "", **query: Any) -> Any:
    response = run.http.get(f"/v1/admin{path}", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def do(run: Running, path: str, status: int = 200) -> Any:
    response = run.http.post(f"/v1/admin{path}")
    assert response.status_code == status, response.text
    return response.json()


def ann(run: Running, **facts: Any) -> dict[str, str]:
    token = add(run.service.folder.path, Caller("Ann", "person", **facts))
    return {"Authorization": f"Bearer {token}"}


def test_it_is_for_administrators(run: Running) -> None:
    header = ann(run)
    paths = [(path, method) for path, each in describe()["paths"].items() for method in each if "/admin" in path]
    assert len(paths) == 10
    for path, method in paths:
        address = run.base + path.format(uuid="x", name="Ann") if "{" in path else run.base + path
        assert httpx.request(method, address).status_code == 401
        refused = httpx.request(method, address, headers=header)
        assert refused.status_code == 403 and "administrators" in only_error(refused)["message"]
        assert httpx.request(method, address, headers={**header, "Host": "evil.example"}).status_code == 403
    assert httpx.get(f"{run.base}/metrics", headers=header).status_code == 403
    assert httpx.get(f"{run.base}/v1", headers=header).json()["person"] == "Ann", "and nothing was revoked"


def test_the_row_by_person(run: Running) -> None:
    header = ann(run, share=2.0, daily_limit=50, priority="batch")
    run.engine.gate.clear()
    run.post(task())
    assert run.engine.began.wait(PATIENCE)
    run.post(task(numberResults=2), headers=header)
    found = get(run)
    assert (found["running"], found["waiting"], found["unfinished"]) == (1, 2, 2)
    house, person = found["people"]
    assert (house["name"], house["role"], house["running"], house["waiting"]) == (
        "administrator",
        "administrator",
        1,
        0,
    )
    assert person == {
        "name": "Ann", "hasToken": True, "isValid": True, "role": "person", "share": 2.0, "priority": "batch",
        "dailyLimit": 50, "end": None, "waiting": 2, "running": 0, "unfinished": 1, "usedToday": 2,
    }  # fmt: skip
    assert found["disk"]["total"] > found["disk"]["free"] > 0 and found["disk"]["quota"] is None
    assert found["devices"] == [] and found["memory"]["total"] > 0 and not found["paused"]
    assert get(run, "/people")["people"] == found["people"]
    assert TOKEN not in str(found)
    do(run, "/people/Ann/revoke")
    assert httpx.get(f"{run.base}/v1", headers=header).status_code == 401
    (gone,) = [each for each in get(run, "/people")["people"] if each["name"] == "Ann"]
    assert gone["hasToken"] is False and gone["waiting"] == 2
    assert do(run, "/people/Ann/cancel") == {"name": "Ann", "cancelled": 1}
    assert get(run)["waiting"] == 0
    assert do(run, "/people/Ann/revoke", 400)["errors"][0]["parameter"] == "name"
    assert do(run, "/people/administrator/revoke", 400)["errors"][0]["parameter"] == "name"


def test_tasks_in_pages(run: Running) -> None:
    header = ann(run)
    done = [task(seed=number) for number in range(5)]
    run.post(*done)
    run.settle(done[-1]["taskUUID"])
    run.engine.gate.clear()
    run.engine.began.clear()
    mine = [task(), task()]
    run.post(*mine, headers=header)
    assert run.engine.began.wait(PATIENCE)
    seen: list[str] = []
    page = get(run, "/tasks", limit=3)
    while True:
        seen += [each["taskUUID"] for each in page["tasks"]]
        if page["next"] is None:
            break
        page = get(run, "/tasks", limit=3, before=page["next"])
    assert seen == [each["taskUUID"] for each in reversed([*done, *mine])]
    found = get(run, "/tasks", person="Ann", state="unfinished")["tasks"]
    assert [(each["taskUUID"], each["state"]) for each in found] == [
        (mine[1]["taskUUID"], "waiting"), (mine[0]["taskUUID"], "running"),
    ]  # fmt: skip
    assert found[1]["results"] == [{"state": "processing", "progress": 42, "stage": "begin"}]
    assert get(run, "/tasks", person="nobody") == {"tasks": [], "next": None}
    for wrong in ("0", "-1", "x", "9" * 40):
        response = run.http.get("/v1/admin/tasks", params={"before": wrong})
        assert response.status_code == 400 and only_error(response)["parameter"] == "before"
    assert do(run, f"/tasks/{mine[1]['taskUUID'].upper()}/cancel")["cancelled"] is True
    assert do(run, f"/tasks/{done[0]['taskUUID']}/cancel")["cancelled"] is False
    assert do(run, "/tasks/none/cancel", 400)["errors"][0]["code"] == "taskNotFound"
    states = {each["taskUUID"]: each["state"] for each in get(run, "/tasks")["tasks"]}
    assert states[mine[1]["taskUUID"]] == "cancelled" and states[done[0]["taskUUID"]] == "succeeded"


def test_pause_resume_and_drain(run: Running, tmp_path: Path) -> None:
    assert do(run, "/pause") == {"paused": True, "draining": False, "unfinished": 0}
    waiting = task()
    assert run.post(waiting).status_code == 200
    run.close()
    again = Running(folder=tmp_path / "service")
    try:
        assert get(again)["paused"] is True, "also after a restart"
        assert get(again)["waiting"] == 1 and not again.engine.seeds
        assert do(again, "/drain")["draining"] is True
        assert again.post(task()).status_code == 503 and again.http.get("/readyz").status_code == 503
        assert "run empty" in again.http.get("/readyz").json()["reason"]
        do(again, "/resume")
        again.settle(waiting["taskUUID"])
        assert again.post(task()).status_code == 200 and again.http.get("/readyz").status_code == 200
        do(again, "/drain")
    finally:
        again.close()
    third = Running(folder=tmp_path / "service")
    try:
        assert get(third)["draining"] is False, "who starts it wants it to work"
    finally:
        third.close()


def test_what_went_wrong_without_secrets(run: Running) -> None:
    run.engine.errors[1] = EngineError("No answer from https://key:word@example.com/a?token=abc for {what}.", what="it")
    failed, cancelled = task(seed=1), task(seed=2)
    run.post(failed)
    run.settle(failed["taskUUID"])
    run.engine.gate.clear()
    run.post(cancelled)
    run.post({"taskType": "cancelTask", "taskUUID": cancelled["taskUUID"]})
    logging.getLogger("trellis_addon.service.content.files").error("Kept as tr2_%s", "a" * 43)
    last, first = get(run, "/errors")["errors"]
    assert last["message"] == "Kept as (a token)"
    assert first["message"] == "No answer from https://example.com/… for it."
    assert (first["taskUUID"], first["person"]) == (failed["taskUUID"], "administrator")
    assert get(run)["errors"] == [last, first]
    assert without_secrets("A" * 500) == "(data)"
