"""The page over real HTTP: who may see what, what the browser is told to forbid, and what it hears of the tasks."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import tomllib
import uuid
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import PATIENCE, ROOT, disc, encoded
from PIL import Image, ImageFilter
from service_tools import PIXEL, TOKEN, Running, only_error, png, ready, start, task

from trellis_addon.core.messages import Message
from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.glb.write import Material, Mesh, write_glb
from trellis_addon.service.main import Options, cannot_start, has_page
from trellis_addon.service.page import SITE
from trellis_addon.service.page.routes import content_policy
from trellis_addon.service.page.table import settings_table
from trellis_addon.service.page.words import PAGE, dictionary
from trellis_addon.service.people.caller import PERSON, Caller
from trellis_addon.service.people.tokens import add
from trellis_addon.task.settings import SEED_MAX

pytestmark = pytest.mark.checkout  # the page is no part of Blender's extension


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running(page=True)
    yield running
    running.close()


@pytest.fixture(scope="module")
def still() -> Iterator[Running]:
    """One that nothing is changed in."""
    running = Running(page=True)
    yield running
    running.close()


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def photograph() -> Image.Image:
    """A disc before a background that is not plain."""
    noise = np.random.default_rng(3).integers(0, 255, (30, 40, 3), np.uint8)
    ground = Image.fromarray(noise).resize((400, 300), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(2))
    picture = disc(200)
    ground.paste(picture, (120, 60), picture)
    return ground


# --- whether there is one ---


def test_who_is_started_by_hand_has_one_and_the_worker_has_none() -> None:
    assert has_page(Options()) and not has_page(Options(parent_pipe=True))
    assert has_page(Options(parent_pipe=True, page=True)) and not has_page(Options(page=False))


def test_an_installation_without_its_files_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.page.SITE", ROOT / "nowhere")
    assert not has_page(Options()) and cannot_start(Options(engine="draft")) == ""
    assert "--no-page" in cannot_start(Options(engine="draft", page=True))


def test_its_files_are_in_a_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["trellis_addon"]
    package = SITE.parents[2]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert {path for path in SITE.iterdir() if path.is_file()} <= packed


@pytest.mark.parametrize("by_hand", [True, False])
def test_a_process_has_it_or_not(by_hand: bool) -> None:
    process = start(engine="draft", **({"token": TOKEN} if by_hand else {"parent_pipe": True}))
    try:
        assert process.stdin is not None
        if not by_hand:
            process.stdin.write(TOKEN + "\n")
            process.stdin.flush()
        base = ready(process)["url"].removesuffix("/v1")
        for path in ("/", "/page/app.js", "/page/words", "/page/state", "/page/tasks"):
            response = httpx.get(base + path, headers={"Authorization": f"Bearer {TOKEN}"})
            assert response.status_code == (200 if by_hand else 404), path
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


# --- what it is made of ---


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.written: list[str] = []
        self.ids: set[str] = set()
        self.named: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.addresses += [value for name, value in found.items() if name in ("src", "href", "action")]
        self.written += [name for name in found if name.startswith("on") or name == "style"]
        self.written += [tag] if tag == "style" or (tag == "script" and "src" not in found) else []
        self.ids |= {value for name, value in found.items() if name == "id"}
        self.named |= {value for name, value in found.items() if name in ("for", "aria-labelledby", "aria-controls")}


def test_nothing_is_written_into_it_and_nothing_comes_from_elsewhere() -> None:
    page = _Page()
    page.feed((SITE / "index.html").read_text(encoding="utf-8"))
    assert page.written == []
    assert all(address.startswith(("/page/", "#")) for address in page.addresses)
    scripts = "".join(path.read_text(encoding="utf-8") for path in SITE.glob("*.js"))
    assert page.named <= page.ids | set(re.findall(r'id: "([\w-]+)"', scripts)), "labels of what is there"
    for path in SITE.iterdir():
        text = path.read_text(encoding="utf-8")
        elsewhere = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert elsewhere == set(), path.name
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text), path.name
        assert not re.search(r"localStorage|sessionStorage|indexedDB|cookie", text), path.name


def test_every_answer_says_what_is_forbidden(still: Running) -> None:
    for path in ("/", *(f"/page/{found.name}" for found in SITE.iterdir() if found.suffix != ".html")):
        response = httpx.get(still.base + path)
        assert response.status_code == 200, path
        policy = dict(part.partition(" ")[::2] for part in response.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in response.headers["content-security-policy"] and "http" not in str(policy)
        assert response.headers["referrer-policy"] == "no-referrer" and response.headers["x-frame-options"] == "DENY"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "set-cookie" not in response.headers
        assert not any(name.startswith("access-control") for name in response.headers)
        again = httpx.get(still.base + path, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304 and again.content == b""


def test_a_policy_names_the_style_sheets_of_the_viewer_alone() -> None:
    assert "style-src 'self' 'sha256-abc='; " in content_policy(["sha256-abc="])
    assert "style-src 'self'; " in content_policy()


def test_what_is_no_file_of_it_is_not_there(still: Running) -> None:
    for name in ("..%2froutes.py", "%2e%2e/routes.py", "routes.py", "words.py", "nothing.js", "site"):
        assert httpx.get(f"{still.base}/page/{name}").status_code == 404, name
    assert httpx.post(f"{still.base}/").status_code == 405
    assert httpx.get(f"{still.base}/", headers={"Host": "evil.example"}).status_code == 403


def test_its_words_are_those_that_can_be_translated() -> None:
    """Each sentence of the page is among those kept for it, or Blender's interface has it; and no other is kept."""
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SITE.glob("*.js"))
    used = {found.replace('\\"', '"') for found in re.findall(r'\b(?:t|word)\("((?:[^"\\]|\\.)*)"', scripts)}
    used |= set(re.findall(r'data-t="([^"]*)"', (SITE / "index.html").read_text(encoding="utf-8")))
    assert len(used) > 100
    interface = json.loads((ROOT / "translations" / "de_DE.json").read_text(encoding="utf-8"))
    assert used - set(interface) - set(PAGE) == set(), "to be added to PAGE in service/page/words.py"
    assert set(PAGE) - used == set(), "not used any more"
    assert all(isinstance(sentence, Message) for sentence in PAGE), "so that tools/make_translations.py finds it"


def test_the_dictionary_is_that_of_the_browsers_language(still: Running) -> None:
    for asked, language in (
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("zh-CN", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("fr;q=0.9, de;q=0.5", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("de;q=0, zh_CN;q=0.1", "zh-Hans"),
        ("zh-TW", "en"),
        ("", "en"),
        (";;q=x,,*", "en"),
    ):
        assert dictionary(asked)["language"] == language, asked
    response = httpx.get(f"{still.base}/page/words", headers={"Accept-Language": "de"})
    assert response.json()["words"]["Cancel"] == "Abbrechen" and response.headers["vary"] == "Accept-Language"
    assert "The image has no transparency; its plain background was removed." in response.json()["words"]
    chosen = httpx.get(f"{still.base}/page/words?language=zh-Hans", headers={"Accept-Language": "de"})
    assert chosen.json()["language"] == "zh-Hans"


def test_the_settings_are_those_of_the_one_table() -> None:
    table = settings_table()
    fields = {field["name"]: field for field in table["fields"]}
    assert json.loads(json.dumps(table)) == table
    assert fields["resolution"]["choices"] == [512, 1024, 1536] and fields["resolution"]["default"] == 1024
    assert fields["sparse_structure_steps"]["group"] == "sparseStructure" and "texture" in fields
    assert fields["seed"]["maximum"] == 2**53 - 1, "what JavaScript can count to"
    assert [name for name, field in fields.items() if field["isOfLatents"]] == ["variation"]
    assert fields["faces"]["isFinishing"] and fields["uvs"]["isOfMesh"] and not fields["seed"]["isOfMesh"]
    assert fields["rough"]["kind"] == "boolean", "there is a way on from rough shapes: task.js"
    assert not {"webhook_url", "upload_endpoint", "delivery_method"} & set(fields)
    assert next(preset["name"] for preset in table["presets"]) == "Quick Look (512)"


# --- tasks ---


def test_tasks_are_for_the_token_alone(run: Running) -> None:
    sent = task(inputs={"image": data_uri(png(64))})
    run.post(sent)
    run.settle(sent["taskUUID"])
    one = f"/page/tasks/{sent['taskUUID']}"
    for path in ("/page/state", "/page/tasks", "/page/events", one, f"{one}/pictures/front", f"{one}/results/0"):
        for headers in ({}, {"Authorization": "Bearer no"}, {"Cookie": f"token={TOKEN}"}):
            response = httpx.get(run.base + path, headers=headers)
            assert response.status_code == 401 and only_error(response)["parameter"] == "apiKey", path
        assert httpx.get(f"{run.base}{path}?token={TOKEN}&apiKey={TOKEN}").status_code == 401


def test_a_task_from_its_beginning_to_its_end(run: Running) -> None:
    run.engine.gate.clear()
    sent = task(inputs={"image": data_uri(png(64))}, seed=SEED_MAX - 1, numberResults=2, settings={"resolution": 512})
    run.post(sent)
    assert run.engine.began.wait(PATIENCE)
    found = run.http.get(f"/page/tasks/{sent['taskUUID'].upper()}").json()["task"]
    assert found["status"] == "running" and [result["status"] for result in found["results"]] == ["running", "waiting"]
    assert found["results"][0]["progress"] == 42 and found["results"][0]["stage"] == "begin"
    assert found["seed"] == str(SEED_MAX - 1) and found["settings"]["resolution"] == 512 and found["image"] == ""
    picture = run.http.get(f"/page/tasks/{sent['taskUUID']}/pictures/front")
    assert picture.headers["content-type"] == "image/webp" and picture.headers["cache-control"] == "no-store"
    assert Image.open(io.BytesIO(picture.content)).size == (64, 64)
    run.engine.gate.set()
    run.settle(sent["taskUUID"])
    found = run.http.get(f"/page/tasks/{sent['taskUUID']}").json()["task"]
    assert found["status"] == "success" and found["results"][1]["seed"] == str(SEED_MAX)
    assert [stage["stage"] for stage in found["results"][0]["stages"]] == ["begin", "end"]
    assert run.http.get(f"/page/tasks/{sent['taskUUID']}/pictures/front").status_code == 200, "also when it is done"
    assert run.http.get(f"/page/tasks/{sent['taskUUID']}/results/0").status_code == 404, "that GLB cannot be read"
    assert run.http.get(f"/page/tasks/{sent['taskUUID']}/results/7").status_code == 404
    assert run.http.get(f"/page/tasks/{uuid.uuid4()}").status_code == 404
    assert run.http.get("/page/tasks/nonsense").status_code == 400
    assert run.http.get(f"/page/tasks/{sent['taskUUID']}/pictures/..%2f..%2fservice.sqlite").status_code == 404
    state = run.http.get("/page/state").json()
    assert state["disk"]["kept"] > 0 and state["disk"]["free"] > 0 and state["running"] == state["waiting"] == 0


def test_an_asset_is_shown(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.array([[-1, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 1]], np.float32)
    mesh = Mesh(corners, np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.uint32))
    made = Made(write_glb(mesh, Material(), {}))

    def generate(order: Order, progress: Progress) -> Made:
        return made

    monkeypatch.setattr(run.engine, "generate", generate)
    sent = task()
    run.post(sent)
    run.settle(sent["taskUUID"])
    for _ in range(2):
        response = run.http.get(f"/page/tasks/{sent['taskUUID']}/results/0")
        assert response.headers["content-type"] == "image/webp"
        alpha = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGBA"))[..., 3]
        assert alpha.max() == 255 and alpha.min() == 0
    run.clock.now += 25 * 3600
    run.service.tasks.sweep()
    assert run.http.get("/page/tasks").json() == {"tasks": [], "next": None}
    assert run.service.previews is not None
    run.service.previews.sweep(lambda uuid: run.service.tasks.get(uuid) is not None)
    assert list((run.service.folder.path / "previews").iterdir()) == []


def test_what_failed_and_what_was_cancelled(run: Running) -> None:
    run.engine.gate.clear()
    first, second = task(seed=1), task(seed=2)
    run.post(first)
    assert run.engine.began.wait(PATIENCE)
    run.post(second)
    run.post({"taskType": "cancelTask", "taskUUID": second["taskUUID"]})
    run.engine.errors[1] = RuntimeError("no")
    run.engine.gate.set()
    run.settle(first["taskUUID"])
    newest, oldest = run.http.get("/page/tasks").json()["tasks"]
    assert newest["taskUUID"] == second["taskUUID"] and newest["status"] == "cancelled"
    assert oldest["status"] == "error" and oldest["results"][0]["error"]["template"]


def test_many_tasks_come_in_pages(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.page.routes._PER_ANSWER", 7)
    sent = [task() for _ in range(15)]
    for each in sent:
        run.post(each)
    found: list[str] = []
    address = "/page/tasks"
    while True:
        answer = run.http.get(address).json()
        found += [each["taskUUID"] for each in answer["tasks"]]
        if answer["next"] is None:
            break
        address = f"/page/tasks?before={answer['next']}"
    assert found == [each["taskUUID"] for each in reversed(sent)]
    assert run.http.get("/page/tasks?before=x").status_code == 200


def test_everybody_sees_their_own_and_an_administrator_all(tmp_path: Path) -> None:
    run = Running(page=True, folder=tmp_path / "service")
    with contextlib.closing(run):
        keys = {name: add(run.service.folder.path, Caller(name=name, role=PERSON)) for name in ("Ann", "Bo")}
        headers = {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}
        sent = task(inputs={"image": data_uri(png(64))})
        assert run.post(sent, headers=headers["Ann"]).status_code == 200
        run.settle(sent["taskUUID"])
        one = f"/page/tasks/{sent['taskUUID']}"
        for name, status in (("Ann", 200), ("Bo", 404)):
            for path in (one, f"{one}/pictures/front"):
                assert httpx.get(run.base + path, headers=headers[name]).status_code == status, (name, path)
            listed = httpx.get(f"{run.base}/page/tasks", headers=headers[name]).json()["tasks"]
            assert [each["person"] for each in listed] == (["Ann"] if name == "Ann" else [])
            state = httpx.get(f"{run.base}/page/state", headers=headers[name]).json()
            assert (state["person"], state["role"]) == (name, PERSON)
        assert [each["person"] for each in run.http.get("/page/tasks").json()["tasks"]] == ["Ann"]
        with httpx.stream("GET", f"{run.base}/page/events", headers=headers["Bo"]) as response:
            heard = events(response)
            assert next(heard)[0] == "state"
            assert run.post(task(), headers=headers["Ann"]).status_code == 200
            own = task()
            assert run.post(own, headers=headers["Bo"]).status_code == 200
            assert next(told for name, told in heard if name == "task")["taskUUID"] == own["taskUUID"]
            run.service.people.revoke("Bo")
            assert [name for name, _ in heard][-1] == "out"
        assert httpx.get(f"{run.base}/page/tasks", headers=headers["Bo"]).status_code == 401


# --- events ---


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


def test_changes_are_heard_until_the_token_is_taken_away(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    run.engine.gate.clear()
    sent = task()
    with run.http.stream("GET", "/page/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        heard = events(response)
        name, state = next(heard)
        assert name == "state" and state["engine"] == "draft:relief@1"
        run.post(sent)
        statuses: list[str] = []
        for name, told in heard:
            if name != "task":
                continue
            assert told["taskUUID"] == sent["taskUUID"]
            statuses += [told["status"]]
            if told["status"] == "running":
                run.engine.gate.set()
            if told["status"] == "success":
                break
        assert statuses[-1] == "success" and "running" in statuses
        with run.http.stream(
            "GET", "/page/events"
        ) as second:  # of what is done it hears nothing, of what is gone it does
            heard_again = events(second)
            assert next(heard_again)[0] == "state"
            run.clock.now += 25 * 3600
            run.service.tasks.sweep()
            assert next(told for name, told in heard_again if name == "gone") == {"taskUUID": sent["taskUUID"]}
        monkeypatch.setattr(run.service.people, "still", lambda caller: None)
        assert [name for name, _ in heard][-1] == "out"


def test_no_more_streams_than_can_be_served(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.service.page.routes._MOST_STREAMS", 0)
    response = run.http.get("/page/events")
    assert response.status_code == 429 and only_error(response)["code"] == "rateLimitExceeded"


# --- cutting out ---


def cut(run: Running, **given: Any) -> httpx.Response:
    return run.post({"taskType": "cutOutSubject", "taskUUID": str(uuid.uuid4()), **given})


def test_a_subject_is_cut_out_by_a_box(run: Running) -> None:
    picture = data_uri(encoded(photograph()))
    refused = cut(run, image=picture)
    assert refused.status_code == 400 and only_error(refused)["parameter"] == "image"
    (item,) = cut(run, image=picture, subject=[130, 70, 310, 250]).json()["data"]
    assert item["cutout"] == "marked" and (item["width"], item["height"]) == (400, 300)
    alpha = np.asarray(Image.open(io.BytesIO(httpx.get(item["mediaURL"]).content)))[..., 3]
    assert alpha[160, 220] == 255 and alpha[20, 20] == 0 and 0.1 < (alpha > 127).mean() < 0.3
    (whole,) = cut(run, image=item["mediaUUID"], subject="whole").json()["data"]
    assert whole["cutout"] == "whole" and whole["mediaUUID"] != item["mediaUUID"]
    sent = task(inputs={"image": item["mediaUUID"]})
    run.post(sent)
    run.settle(sent["taskUUID"])
    shown = run.http.get(f"/page/tasks/{sent['taskUUID']}").json()["task"]
    assert shown["image"] == item["mediaUUID"] and shown["views"] == {}, "so that it can be sent again"


def test_what_cannot_be_cut_out_is_refused_in_words(run: Running) -> None:
    picture = data_uri(encoded(photograph()))
    for given, parameter in (
        ({}, "image"),
        ({"image": 5}, "image"),
        ({"image": "AAAA"}, "image"),
        ({"image": str(uuid.uuid4())}, "image"),
        ({"image": picture, "subject": [1, 2, 3]}, "subject"),
        ({"image": picture, "subject": "left"}, "subject"),
        ({"image": picture, "subject": [900, 900, 901, 901]}, "subject"),
        ({"image": picture, "subject": {"a": 1}}, "subject"),
        ({"image": picture, "subject": 7}, "subject"),
    ):
        response = cut(run, **given)
        assert response.status_code == 400 and only_error(response)["parameter"] == parameter, given
    before = run.service.files.size
    dry = run.post(
        {"taskType": "cutOutSubject", "image": PIXEL, "subject": "whole"}, headers={"X-Runware-Dry-Run": "1"}
    )
    assert dry.json()["data"][0]["cost"] == 0 and run.service.files.size == before
