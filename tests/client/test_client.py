"""Reading every shape of reply that has been seen, and sending the key to one host only.

The literal messages below come from the platform's public documentation, from its published clients and from
captures that others have published; the file addresses in them are examples.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults as f
import httpx
import pytest
from conftest import sentence
from fault_server import FILE, FOREVER, POLL, SUBMIT, FaultServer, small_glb
from network_tools import serving
from service_tools import PIXEL

from trellis_addon.client.client import ATTEMPTS, REPLY_LIMIT, Account, Client
from trellis_addon.client.replies import error_from, read_details, read_reply
from trellis_addon.core.errors import (
    AccessError,
    ApiKeyError,
    BackendError,
    BalanceError,
    BusyError,
    Cancelled,
    ContentError,
    EngineError,
    ImageError,
    NetworkError,
    RefusedError,
    ServiceError,
    TimedOutError,
    TrellisError,
)
from trellis_addon.core.progress import Progress
from trellis_addon.task.settings import SEED_MAX, Settings
from trellis_addon.task.task import Result, Task

KEY = "rw-key-of-these-tests-0815"
U = "bd373968-8512-4315-a95f-95a4401fea3e"
OTHER = "24cd5dff-cb81-4db5-8506-b72a9425f9d1"
FILE_UUID = "112a24e5-7976-46b3-a22c-e658daaffdfe"
URL = f"https://im.runware.ai/image/os/a01d21/ws/4/ii/{FILE_UUID}.glb"
# The task page's example: no envelope, no status.
ITEM: dict[str, Any] = {
    "taskType": "3dInference", "taskUUID": U, "seed": 424242, "cost": 0.055,
    "outputs": {"files": [{"uuid": FILE_UUID, "url": URL}]},
}  # fmt: skip
PROCESSING = {"taskType": "3dInference", "taskUUID": U, "status": "processing"}
TIMED_OUT = {
    "code": "timeoutProvider",
    "status": "error",
    "message": "The external provider did not respond within the timeout window. "
    "The request was automatically terminated.",
    "documentation": "https://runware.ai/docs/en/video-inference/api-reference",
    "taskUUID": U,
}
MISSING_DIMENSIONS = {
    "code": "missingDimensionParameters",
    "message": "Missing dimension parameters. Either width and height, or referenceImages must be provided.",
    "parameter": ["width", "height", "referenceImages"],
    "type": "integer|array",
    "taskUUID": U,
}
INVALID_WIDTH = {
    "code": "invalidWidth",
    "message": "Invalid value for 'width' parameter. Image width must be an integer value between 256 and 16383.",
    "parameter": "width", "type": "integer", "min": 256, "max": 16383, "multiplier": 1, "taskUUID": U,
}  # fmt: skip
INVALID_KEY = {
    "code": "invalidApiKey",
    "message": "Invalid API key. Get one at https://my.runware.ai/signup",
    "parameter": "apiKey",
    "taskType": "authentication",
}


def item(number: int = 0, **more: Any) -> dict[str, Any]:
    files = {"files": [{"uuid": f"file-{number}", "url": f"https://im.runware.ai/{number}.glb"}]}
    return {**ITEM, "seed": 424242 + number, "outputs": files, **more}


# --- replies about a task ---


@pytest.mark.parametrize(
    ("body", "results", "errors", "pending", "known"),
    [
        ({"data": [ITEM]}, 1, 0, False, True),
        ({"data": ITEM}, 1, 0, False, True),
        ({"data": [{**ITEM, "status": "success"}]}, 1, 0, False, True),
        ({"data": [{**ITEM, "taskUUID": None}]}, 1, 0, False, True),
        ({"data": [{**ITEM, "taskUUID": U.upper()}]}, 1, 0, False, True),
        ({"data": [{**ITEM, "outputs": {"files": ITEM["outputs"]["files"][0]}}]}, 1, 0, False, True),
        ({"data": [{"taskType": "3dInference", "taskUUID": U}]}, 0, 0, True, True),
        ({"data": [PROCESSING]}, 0, 0, True, True),
        ({"data": [{**PROCESSING, "status": "pending"}]}, 0, 0, True, True),
        ({"data": [{**PROCESSING, "status": "success"}]}, 0, 0, True, True),
        ({"data": [PROCESSING, ITEM], "errors": [TIMED_OUT]}, 1, 1, True, True),
        ({"data": []}, 0, 0, False, False),
        ({"data": None}, 0, 0, False, False),
        ({}, 0, 0, False, False),
        ({"data": [], "errors": []}, 0, 0, False, False),
        ({"data": [], "errors": [MISSING_DIMENSIONS]}, 0, 1, False, True),
        ({"errors": [INVALID_KEY]}, 0, 1, False, True),
        ({"errors": TIMED_OUT}, 0, 1, False, True),
        ({"error": {"code": "timeoutProvider", "message": "slow"}, "taskUUID": U}, 0, 1, False, True),
        ({"error": {"code": "timeoutProvider", "message": "slow"}, "taskUUID": OTHER}, 0, 0, False, False),
        ({"error": "out of order"}, 0, 1, False, True),
        ({"data": [{**PROCESSING, "status": "error", "error": {"code": "timeoutProvider"}}]}, 0, 1, False, True),
        ({"data": [{**PROCESSING, "status": "error", "code": "x"}]}, 0, 1, False, True),
        ({"data": [{**ITEM, "taskUUID": OTHER}], "errors": [{**TIMED_OUT, "taskUUID": OTHER}]}, 0, 0, False, False),
        ({"data": [item(2), item(0), item(1), item(2)]}, 3, 0, False, True),
        ([ITEM], 0, 0, False, False),
        ("nonsense", 0, 0, False, False),
        (None, 0, 0, False, False),
    ],
)
def test_replies(body: Any, results: int, errors: int, pending: bool, known: bool) -> None:
    reply = read_reply(body, U)
    assert (len(reply.results), len(reply.errors), reply.pending, reply.known) == (results, errors, pending, known)


def test_a_result_as_the_task_page_has_it() -> None:
    (result,) = read_reply({"data": [ITEM]}, U).results
    assert result == Result(U, 0, 424242, FILE_UUID, URL, 0.055)
    assert result.key == FILE_UUID


def test_a_result_with_next_to_nothing() -> None:
    (result,) = read_reply({"data": [{"outputs": {"files": [{"url": URL}]}}]}, U).results
    assert result == Result(U, 0, None, "", URL, None) and result.key == URL


@pytest.mark.parametrize("cost", [0, None, "0.02", True, float("nan"), float("inf"), 10**400])
def test_costs_that_cannot_be_counted(cost: Any) -> None:
    (result,) = read_reply({"data": [{**ITEM, "cost": cost}]}, U).results
    assert result.cost == (0.0 if cost == 0 and cost is not False else None)


def test_seeds_keep_every_digit() -> None:
    body = json.loads(json.dumps({"data": [{**ITEM, "seed": SEED_MAX}]}))
    assert read_reply(body, U).results[0].seed == SEED_MAX


def test_indexes() -> None:
    told = read_reply({"data": [item(1, resultIndex=1), item(0, resultIndex=0)]}, U).results
    assert [(r.index, r.file_uuid) for r in told] == [(0, "file-0"), (1, "file-1")]
    not_told = read_reply({"data": [item(5), item(4), item(5), item(3)]}, U).results
    assert [(r.index, r.file_uuid) for r in not_told] == [(0, "file-5"), (1, "file-4"), (2, "file-3")]


@pytest.mark.parametrize(("value", "read"), [(40, 40), (12.7, 12), (-5, 0), (900, 100), ("40", None), (None, None)])
def test_progress(value: Any, read: int | None) -> None:
    assert read_reply({"data": [{**PROCESSING, "progress": value}]}, U).progress == read
    for strange in (float("nan"), float("inf"), True):
        assert read_reply({"data": [{**PROCESSING, "progress": strange}]}, U).progress is None


def test_progress_of_several_is_that_of_what_is_under_way() -> None:
    """The one that works is told, not the ones that wait behind it."""
    waiting = [{**PROCESSING, "resultIndex": i, "progress": 0, "stage": "Cutting the subject out"} for i in (2, 3)]
    working = {**PROCESSING, "resultIndex": 1, "progress": 60, "stage": "Shaping"}
    for items in ([item(0, resultIndex=0), working, *waiting], [*waiting, working]):
        reply = read_reply({"data": items}, U)
        assert (reply.progress, reply.stage) == (20, "Shaping")
    silent = {name: value for name, value in PROCESSING.items() if name != "progress"}
    assert read_reply({"data": [{**PROCESSING, "progress": 80}, silent]}, U).progress == 40
    assert read_reply({"data": [silent, silent]}, U).progress is None


def test_details() -> None:
    asked = {"taskType": "getTaskDetails", "taskUUID": U, "request": [{"taskUUID": U, "seed": 7}]}
    for response in ({"data": [ITEM]}, {"data": ITEM}, [ITEM]):
        reply = read_details({"data": [{**asked, "response": response}]}, U)
        assert reply is not None and reply.known and len(reply.results) == 1
    empty = read_details({"data": [{**asked, "response": {}}]}, U)
    assert empty is not None and empty.known and not empty.results
    failed = read_details({"data": {**asked, "response": {"errors": [TIMED_OUT]}}}, U)
    assert failed is not None and failed.errors
    for unknown in ({"data": []}, {"errors": [{"code": "taskNotFound"}]}, None, [], {"data": [{"taskUUID": OTHER}]}):
        assert read_details(unknown, U) is None


def test_nonsense_of_every_kind_is_read_without_harm() -> None:
    chance = random.Random(4)
    keys = ["data", "errors", "error", "taskUUID", "status", "outputs", "files", "url", "uuid", "cost", "seed",
            "progress", "resultIndex", "code", "message", "parameter", "response", "request", "stage"]  # fmt: skip
    leaves = [None, True, 0, -1, 2**70, 1e308, float("nan"), "", "error", U, OTHER, URL, "\ud800"]

    def grow(depth: int) -> Any:
        kind = chance.random()
        if depth == 0 or kind < 0.3:
            return chance.choice(leaves)
        if kind < 0.5:
            return [grow(depth - 1) for _ in range(chance.randrange(4))]
        return {key: grow(depth - 1) for key in chance.sample(keys, chance.randrange(6))}

    for _ in range(4000):
        body = {key: grow(4) for key in ("data", "errors", "error")}
        for error in read_reply(body, U).errors:
            assert str(error_from(error, chance.choice([0, 200, 400, 500])))
        read_details(body, U)


# --- errors ---

CODES: dict[type[TrellisError], str] = {
    ApiKeyError: "invalidApiKey missingApiKey authenticationFailed unauthorized",
    AccessError: "forbidden",
    BalanceError: "insufficientCredits insufficientBalance paymentRequired quotaExceeded",
    BusyError: "rateLimitExceeded providerRateLimitExceeded noAvailableServer",
    ContentError: "contentPolicyViolation nsfwContentDetected imageBlocked invalidProviderContent",
    RefusedError: "unsupportedParameter unsupportedTaskType invalidModel modelNotFound unknownModel missingInputs "
    "invalidInteger conflictTaskUUID duplicateTaskUUID valueTooLarge arrayTooSmall incompatibleParameters "
    "taskNotFound taskExpired mediaNotFound mediaExpired modelDisabled uploadFailed standardError unknownError",
    EngineError: "timeoutProvider providerTimeout inferenceError processingFailed taskFailed",
    ServiceError: "internalServerError serviceUnavailable modelUnavailable modelNotReady",
    ImageError: "downloadFailed invalidImage",
    Cancelled: "taskCancelled",
}


@pytest.mark.parametrize(("code", "kind"), [(code, kind) for kind, codes in CODES.items() for code in codes.split()])
def test_codes(code: str, kind: type[TrellisError]) -> None:
    error = error_from({"code": code, "message": "This is what it said", "taskUUID": U})
    assert type(error) is kind
    if kind is Cancelled:
        assert sentence(error) == "The job was cancelled."
    else:
        assert "This is what it said." in sentence(error)
    if isinstance(error, BackendError):
        assert error.code == code and error.raw["code"] == code


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedError), (401, ApiKeyError), (402, BalanceError), (403, AccessError), (404, RefusedError),
     (429, BusyError), (500, ServiceError), (502, ServiceError), (503, ServiceError), (504, ServiceError)],
)  # fmt: skip
def test_the_status_comes_before_the_name(status: int, kind: type[TrellisError]) -> None:
    assert type(error_from({"code": "somethingNew", "message": "No."}, status)) is kind
    assert type(error_from({"code": "quotaExceeded", "message": "No."}, 429)) is BusyError
    assert type(error_from({"code": "imageBlocked", "message": "No."}, 403)) is ContentError


def test_the_field_and_the_raw_reply_are_kept() -> None:
    error = error_from(INVALID_WIDTH, 400)
    assert isinstance(error, RefusedError) and error.field == "width" and error.raw["max"] == 16383
    several = error_from(MISSING_DIMENSIONS, 400)
    assert isinstance(several, RefusedError) and several.field == "width, height, referenceImages"
    assert "signup" in sentence(error_from(INVALID_KEY, 401))
    long = error_from({"code": "x", "message": "word " * 400})
    assert len(sentence(long)) < 400
    assert sentence(error_from({}))


# --- the client ---

Reply = httpx.Response | Exception


class Wire(httpx.MockTransport):
    """Answers from a list, the last one for ever, and a note of every request."""

    def __init__(self, *answers: Reply | Callable[[httpx.Request], Reply]) -> None:
        self.seen: list[httpx.Request] = []
        self._answers = list(answers)
        super().__init__(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if callable(answer) and not isinstance(answer, Exception):
            answer = answer(request)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    @property
    def tasks(self) -> list[dict[str, Any]]:
        return [json.loads(request.content)[0] for request in self.seen]


def says(body: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=body, headers=headers)


def echoing(**fields: Any) -> Callable[[httpx.Request], Reply]:
    """An answer to whatever taskUUID is asked for."""

    def answer(request: httpx.Request) -> Reply:
        task = json.loads(request.content)[0]
        return says({"data": [{"taskType": task["taskType"], "taskUUID": task["taskUUID"], **fields}]})

    return answer


def client(wire: Wire, waits: list[float] | None = None) -> Client:
    sleep = waits.append if waits is not None else lambda seconds: None
    return Client("https://api.runware.ai/v1", KEY, transport=wire, sleep=sleep)


def task(**settings: Any) -> Task:
    return Task(PIXEL, Settings(settings), uuid=U)


def test_what_is_sent() -> None:
    wire = Wire(says({"data": [{"taskType": "3dInference", "taskUUID": U}]}))
    addresses = {"webhook_url": "https://example.org/hook", "upload_endpoint": "https://example.org/put"}
    numbers = {"seed": SEED_MAX, "ttl": 60, "number_results": 4}
    client(wire).submit(task(delivery_method="async", include_cost=True, **addresses, **numbers))
    (request,) = wire.seen
    assert (request.method, str(request.url)) == ("POST", "https://api.runware.ai/v1")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"
    assert str(SEED_MAX) in request.content.decode()
    assert json.loads(request.content) == [
        {
            "taskType": "3dInference",
            "taskUUID": U,
            "model": "microsoft:trellis-2@4b",
            "seed": SEED_MAX,
            "deliveryMethod": "async",
            "webhookURL": "https://example.org/hook",
            "uploadEndpoint": "https://example.org/put",
            "ttl": 60,
            "includeCost": True,
            "numberResults": 4,
            "inputs": {"image": PIXEL},
        }
    ]


@pytest.mark.parametrize("image", ["data:image/png;base64," + PIXEL, PIXEL, "https://example.org/x.png", OTHER])
def test_every_form_of_picture_is_sent_as_it_is(image: str) -> None:
    wire = Wire(says({"data": [PROCESSING]}))
    client(wire).submit(Task(image, uuid=U))
    assert wire.tasks[0]["inputs"] == {"image": image}


def test_a_task_that_is_there_already_was_accepted() -> None:
    conflict = {"code": "conflictTaskUUID", "message": "already used", "taskUUID": U}
    wire = Wire(httpx.ReadError("reset"), says({"data": [], "errors": [conflict]}, 400))
    reply = client(wire).submit(task())
    assert reply.known and not reply.results and len(wire.seen) == 2
    assert wire.seen[0].content == wire.seen[1].content


@pytest.mark.parametrize(
    "trouble",
    [
        *(says({"errors": [{"code": "x", "message": "y"}]}, status) for status in (408, 425, 429, 500, 502, 503, 504)),
        httpx.Response(200, html="<html>"),
        httpx.Response(502, html="<html>"),
        httpx.Response(200, content=b""),
        says([ITEM]),
        httpx.Response(200, content=b"[" * 100_000),
        httpx.ReadTimeout("slow"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("cut"),
    ],
    ids=lambda trouble: str(getattr(trouble, "status_code", type(trouble).__name__)),
)
def test_trouble_on_the_way_is_tried_again(trouble: Reply) -> None:
    waits: list[float] = []
    wire = Wire(trouble, trouble, says({"data": [ITEM]}))
    assert client(wire, waits).poll(U).results and len(wire.seen) == 3
    assert 1.0 < sum(waits) < 2.5, "half a second, then one, give or take a quarter"
    wire = Wire(trouble)
    with pytest.raises((BusyError, NetworkError, ServiceError)) as caught:
        client(wire).poll(U)
    assert len(wire.seen) == ATTEMPTS and KEY not in sentence(caught.value)


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 413, 422])
def test_what_was_refused_is_not_tried_again(status: int) -> None:
    for answer in (says({"errors": [INVALID_WIDTH]}, status), httpx.Response(status, html="<html>")):
        wire = Wire(answer)
        with pytest.raises(TrellisError) as caught:
            client(wire).submit(task())
        assert len(wire.seen) == 1
        sentence(caught.value)


def test_a_service_says_how_long_to_wait() -> None:
    date = "Wed, 21 Oct 2015 07:28:00 GMT"  # of the service, whose clock need not be ours
    for header, least, most in (
        ("9", 9, 9.3),
        ("900", 30, 30.3),
        ("Wed, 21 Oct 2015 07:28:09 GMT", 9, 9.3),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30, 30.3),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.3, 0.7),
        ("soon", 0.3, 0.7),
        ("", 0.3, 0.7),
        ("nan", 0.3, 0.7),
    ):
        waits: list[float] = []
        busy = says({"errors": [{"code": "rateLimitExceeded"}]}, 429, **{"Retry-After": header, "Date": date})
        client(Wire(busy, says({"data": [ITEM]})), waits).poll(U)
        assert least <= sum(waits) <= most


@pytest.mark.parametrize("body", [{"errors": "boom"}, {"errors": None}, {"errors": []}, {"detail": "Not Found"}])
@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_refusal_without_a_word_about_the_task_is_not_the_tasks_end(status: int, body: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as caught:
        client(Wire(says(body, status))).poll(U)
    assert str(status) in sentence(caught.value)


def test_a_time_out_is_told_as_one() -> None:
    with pytest.raises(TimedOutError) as caught:
        client(Wire(httpx.ReadTimeout("slow"))).poll(U)
    assert "in time" in sentence(caught.value)


def test_a_cancel_ends_the_waiting() -> None:
    waits: list[float] = []
    with pytest.raises(Cancelled):
        client(Wire(httpx.ReadError("reset")), waits).poll(U, Progress(is_cancelled=lambda: len(waits) > 2))
    assert len(waits) == 3


@pytest.mark.parametrize("status", [200, 400, 404])
@pytest.mark.parametrize("code", ["taskNotFound", "taskFailedOrNotFound"])
def test_not_found_means_not_known(code: str, status: int) -> None:
    for told in ({}, {"taskUUID": U, "status": "error"}):
        body = {"data": [], "errors": [{"code": code, "message": "?", **told}]}
        assert not client(Wire(says(body, status))).poll(U).known


def test_errors_for_others_do_not_spoil_a_result() -> None:
    errors = [{**TIMED_OUT, "taskUUID": OTHER}]
    assert client(Wire(says({"data": [ITEM], "errors": errors}, 400))).poll(U).results
    accepted = {"data": [PROCESSING], "errors": [{"code": "warning", "message": "Something is deprecated."}]}
    assert client(Wire(says(accepted))).submit(task()).pending


@pytest.mark.parametrize(
    ("balance", "told"),
    [(2450.75, Account(2450.75)), ({"amount": 12.34, "freeBalance": 0, "currency": "EUR"}, Account(12.34, "EUR")),
     (0, Account(0.0)), (None, Account(None)), ("much", Account(None)), ({}, Account(None))],
)  # fmt: skip
def test_balances(balance: Any, told: Account) -> None:
    wire = Wire(echoing(operation="getDetails", balance=balance, team=[], apiKeys=[]))
    assert client(wire).account() == told
    assert wire.tasks[0]["operation"] == "getDetails"


def test_a_wrong_key_at_the_account() -> None:
    with pytest.raises(ApiKeyError, match="signup"):
        client(Wire(says({"errors": [INVALID_KEY]}, 401))).account()


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("name", ["mediaUUID", "imageUUID"])
def test_uploads(name: str, as_object: bool) -> None:
    def answer(request: httpx.Request) -> Reply:
        uuid = json.loads(request.content)[0]["taskUUID"]
        found = {"taskUUID": uuid, name: OTHER, "mediaURL": "https://im.runware.ai/x.png"}
        return says({"data": found if as_object else [found]})

    wire = Wire(answer)
    assert client(wire).upload(PIXEL) == OTHER
    assert wire.tasks[0]["taskType"] == "mediaStorage" and wire.tasks[0]["media"] == PIXEL


def test_an_upload_that_tells_nothing() -> None:
    with pytest.raises(TrellisError):
        client(Wire(says({"data": []}))).upload(PIXEL)


def test_prices() -> None:
    wire = Wire(echoing(cost=0.0256))
    assert client(wire).price(task()) == 0.0256
    assert wire.seen[0].headers["x-runware-dry-run"] == "1"
    assert client(Wire(echoing())).price(task()) is None
    with pytest.raises(RefusedError):
        client(Wire(says({"data": [], "errors": [INVALID_WIDTH]}))).price(task())


# --- the key ---


@pytest.mark.parametrize("key", ["rw-schlüssel", "rw key", "rw-key\nX-Header: 1", "rw-\x00"])
def test_a_key_that_is_none(key: str) -> None:
    with pytest.raises(ApiKeyError) as caught:
        Client("https://api.runware.ai/v1", key)
    assert key not in sentence(caught.value)


def test_a_service_that_quotes_the_key() -> None:
    quoting = {"code": "invalidApiKey", "message": f"Invalid API key {KEY}", "apiKey": KEY, "given": [KEY]}
    with pytest.raises(ApiKeyError) as caught:
        client(Wire(says({"errors": [quoting]}, 401))).account()
    assert KEY not in str(caught.value) and KEY not in json.dumps(caught.value.raw)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_api_sends_its_callers_elsewhere(status: int) -> None:
    """Neither the key nor the picture goes there."""
    for body in (b"", b'{"data": []}'):
        answer = httpx.Response(status, headers={"location": "https://elsewhere.example/v1"}, content=body)
        wire = Wire(answer)
        with pytest.raises(NetworkError, match="another address") as caught:
            client(wire).submit(task())
        sentence(caught.value)
        assert [request.url.host for request in wire.seen] == ["api.runware.ai"]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def finished(server: FaultServer, client: Client) -> Result:
    client.submit(task(seed=7))
    while not (results := client.poll(U).results):
        pass
    return results[0]


@pytest.mark.parametrize("fault", [None, f.files_elsewhere, f.redirected])
def test_files_are_fetched_without_the_key(
    fault: Callable[..., f.Fault] | None, server: FaultServer, tmp_path: Path
) -> None:
    if fault is not None:
        server.add(fault(times=FOREVER) if fault is f.files_elsewhere else fault())
    with Client(server.url, server.token) as asking:
        path = asking.download(finished(server, asking), tmp_path / "x.glb")
    assert path.read_bytes() == small_glb(7)
    files = [seen for seen in server.log if seen.path.startswith("/files/")]
    assert len(files) == (2 if fault is f.redirected else 1)
    assert not any(server.token in str(seen.headers) for seen in files)
    assert all(seen.headers["authorization"] == f"Bearer {server.token}" for seen in server.log if seen not in files)


def test_a_reply_that_drips_in_for_ever(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_addon.client.client.DRIP_LIMIT", 0.05)
    server.add(f.dripping(POLL, 60.0, pieces=600, times=FOREVER))
    with Client(server.url, server.token, sleep=lambda seconds: None) as asking:
        asking.submit(task(seed=7))
        with pytest.raises(TimedOutError):
            asking.poll(U)


def packed(layers: int) -> Any:
    """A reply that is small on its way and unpacks to more than any of the protocol's."""
    body = gzip.compress(b" " * (REPLY_LIMIT + 1))
    for _ in range(layers - 1):
        body = gzip.compress(body)
    return lambda handler, sent: (200, body)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_reply_that_unpacks_to_more_and_more(layers: int) -> None:
    waits: list[float] = []
    headers = {"Content-Encoding": ", ".join(["gzip"] * layers), "Content-Type": "application/json"}
    with serving(packed(layers), headers=headers) as server, contextlib.ExitStack() as stack:
        client = stack.enter_context(Client(f"http://127.0.0.1:{server.server_port}/v1", KEY, sleep=waits.append))
        for call in (client.ping, client.account, lambda: client.submit(task()), lambda: client.poll(U)):
            with pytest.raises(NetworkError) as caught:
                call()
            assert "too large for a reply" in sentence(caught.value)
        assert client.about() == {}
    assert not waits and len(server.seen) == 5  # it came at once, and would again


def test_odd_replies_over_a_real_line(server: FaultServer, tmp_path: Path) -> None:
    server.add(f.data_as_object(SUBMIT), f.without_status(POLL), f.reset(POLL), f.truncated(FILE))
    with Client(server.url, server.token, sleep=lambda seconds: None) as asking:
        path = asking.download(finished(server, asking), tmp_path / "x.glb")
    assert path.read_bytes() == small_glb(7)


@pytest.mark.parametrize(
    ("host", "remote", "said"),
    [
        ("192.168.7.3", False, "Local Network"),
        ("renderbox", False, "firewall"),
        ("127.0.0.1", False, "check the address"),
        ("gpu.example.org", False, "check the address"),
        ("192.168.7.3", True, "check the address"),
    ],
)
def test_what_stands_between_machines_of_one_network_is_named(host: str, remote: bool, said: str) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    transport = httpx.MockTransport(refuse)
    with (
        Client(f"http://{host}:8000/v1", remote=remote, transport=transport, sleep=lambda seconds: None) as client,
        pytest.raises(NetworkError) as caught,
    ):
        client.ping()
    assert said in sentence(caught.value) and f"http://{host}:8000/v1 cannot be reached" in str(caught.value)
