"""Every fault of the fault server really happens on the wire, and only where its script says."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faults as f
import httpx
import pytest
from conftest import PATIENCE
from fault_server import ANY, DETAILS, FILE, FOREVER, POLL, SUBMIT, FaultServer, small_glb
from service_tools import PIXEL

from trellis_addon.formats.glb.check import check_glb_file


class Caller:
    """A client without any patience."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.http = httpx.Client(
            headers={"Authorization": f"Bearer {server.token}"}, timeout=httpx.Timeout(5, read=2), follow_redirects=True
        )
        self.uuid = str(uuid.uuid4())

    def ask(self, kind: str, **more: Any) -> httpx.Response:
        return self.http.post(self.server.url, json=[{"taskType": kind, "taskUUID": self.uuid, **more}])

    def submit(self, **more: Any) -> httpx.Response:
        return self.ask(SUBMIT, model="microsoft:trellis-2@4b", inputs={"image": PIXEL}, seed=7, **more)

    def wait(self) -> None:
        """Until the task is done, without a request."""
        record = self.server.service.tasks.get(self.uuid)
        assert record is not None
        end = time.monotonic() + PATIENCE
        while not record.done and time.monotonic() < end:
            time.sleep(0.002)
        assert record.done

    def done(self, **more: Any) -> dict[str, Any]:
        """Submit, wait and poll: the poll's body."""
        self.submit(**more)
        self.wait()
        return self.ask(POLL).json()

    def knows(self) -> bool:
        return self.server.service.tasks.get(self.uuid) is not None

    def file_url(self) -> str:
        record = self.server.service.tasks.get(self.uuid)
        assert record is not None
        return self.server.service.tasks.items(record)[0][0]["outputs"]["files"][0]["url"]

    def file(self) -> httpx.Response:
        self.submit()
        self.wait()
        return self.http.get(self.file_url())


@contextmanager
def serving(*script: f.Fault, **options: Any) -> Iterator[Caller]:
    with FaultServer(script, **options) as server:
        caller = Caller(server)
        yield caller
        caller.http.close()
        assert server.unused == []


# The script


def test_without_faults_it_is_our_service(tmp_path: Path) -> None:
    with serving() as caller:
        (item,) = caller.done()["data"]
        content = caller.http.get(item["outputs"]["files"][0]["url"]).content
        assert content == small_glb(7) and caller.server.engine.calls == [7]
        (tmp_path / "a.glb").write_bytes(content)
        check_glb_file(tmp_path / "a.glb")
        assert [(seen.method, seen.path.split("/")[1], seen.fault) for seen in caller.server.log] == [
            ("POST", "v1", ""), ("POST", "v1", ""), ("GET", "files", ""),
        ]  # fmt: skip
        assert caller.server.log[0].headers["authorization"] == f"Bearer {caller.server.token}"
        assert caller.server.asked(SUBMIT)[0]["taskUUID"] == caller.uuid


def test_the_script_counts() -> None:
    with serving(f.status(503, POLL, times=2, after=1), f.status(500, POLL, after=4)) as caller:
        caller.submit()
        codes = [caller.ask(POLL).status_code for _ in range(7)]
        # the second fault counts only the requests that the first one left to it
        assert codes[:4] == [200, 503, 503, 200] and sorted(codes) == [200] * 4 + [500, 503, 503]
        assert [seen.fault for seen in caller.server.log].count("status 503") == 2
    server = FaultServer([f.empty(DETAILS, times=2), f.empty(POLL, times=FOREVER)])
    assert [fault.on for fault in server.unused] == [DETAILS]
    server.add(f.empty(ANY))
    assert len(server.unused) == 2
    server.__exit__()


# The request never reaches the service


def test_dropped() -> None:
    with serving(f.dropped(SUBMIT)) as caller:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            caller.submit()
        assert not caller.knows() and caller.submit().status_code == 200


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_status(code: int) -> None:
    with serving(f.status(code, SUBMIT), f.status(code, POLL, done=True)) as caller:
        response = caller.submit()
        assert response.status_code == code and response.json()["errors"][0]["message"]
        assert not caller.knows()
        caller.submit()
        assert caller.ask(POLL).status_code == code and caller.ask(POLL).status_code == 200


def test_status_after_it_was_done() -> None:
    with serving(f.status(502, SUBMIT, done=True)) as caller:
        assert caller.submit().status_code == 502 and caller.knows()
        assert caller.submit().json()["errors"][0]["code"] == "conflictTaskUUID"


@pytest.mark.parametrize("retry_after", [None, 1.5])
def test_rate_limited(retry_after: float | None) -> None:
    with serving(f.rate_limited(SUBMIT, retry_after, times=3)) as caller:
        answers = [caller.submit() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [429, 429, 429, 200]
    assert answers[0].headers.get("retry-after") == (None if retry_after is None else "1.5")


def test_refused_and_list_parameter() -> None:
    script = f.refused("insufficientCredits", 402, SUBMIT, "No credit.", parameter="x"), f.list_parameter()
    with serving(*script) as caller:
        first, second = caller.submit(), caller.submit()
    assert (first.status_code, second.status_code) == (402, 400)
    assert first.json()["errors"] == [{"code": "insufficientCredits", "message": "No credit.", "parameter": "x"}]
    assert isinstance(second.json()["errors"][0]["parameter"], list)


def test_html_empty_and_garbage() -> None:
    with serving(f.html(SUBMIT), f.empty(SUBMIT), f.garbage(SUBMIT), f.html(FILE), f.empty(POLL, done=True)) as caller:
        page, nothing, garbage = caller.submit(), caller.submit(), caller.submit()
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert nothing.status_code == 200 and nothing.content == b""
        with pytest.raises(json.JSONDecodeError):
            garbage.json()
        assert not caller.knows()
        assert caller.file().content.startswith(b"<!doctype")
        assert caller.ask(POLL).content == b""


def test_hang() -> None:
    with serving(f.hang(0.3, SUBMIT, done=True)) as caller:
        began = time.monotonic()
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            caller.submit()
        assert time.monotonic() - began >= 0.3 and caller.knows()


# Done, and the answer does not come through


def test_lost_answer() -> None:
    with serving(f.lost_answer(SUBMIT)) as caller:
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            caller.submit()
        assert caller.knows()
        assert caller.submit().json()["errors"][0]["code"] == "conflictTaskUUID"


def test_delayed_and_late() -> None:
    with serving(f.delayed(0.3, SUBMIT)) as caller:
        answer: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answer.append(caller.submit()))
        thread.start()
        time.sleep(0.15)
        assert not caller.knows()
        thread.join(PATIENCE)
        assert answer[0].status_code == 200
    with serving(f.late(0.3, SUBMIT)) as caller:
        thread = threading.Thread(target=lambda: answer.append(caller.submit()))
        thread.start()
        time.sleep(0.15)
        assert caller.knows() and len(answer) == 1
        thread.join(PATIENCE)
        assert answer[1].json()["data"]


def test_reset_in_mid_body() -> None:
    with serving(f.reset(FILE), f.reset(POLL, 0.2)) as caller:
        caller.submit()
        caller.wait()
        received = bytearray()

        def take(response: httpx.Response) -> None:
            for piece in response.iter_bytes():
                received.extend(piece)

        with caller.http.stream("GET", caller.file_url()) as response:
            assert int(response.headers["content-length"]) == len(small_glb(7))
            with pytest.raises(httpx.ReadError):
                take(response)
        assert 0 < len(received) < len(small_glb(7))
        with pytest.raises(httpx.ReadError):
            caller.ask(POLL)


def test_truncated_and_wrong_length() -> None:
    whole = small_glb(7)
    with serving(f.truncated(FILE), f.wrong_length(FILE, 100), f.wrong_length(FILE, -100)) as caller:
        caller.submit()
        caller.wait()
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete|without sending complete"):
                caller.http.get(caller.file_url())
        short = caller.http.get(caller.file_url())
        assert short.content == whole[:-100]
        assert caller.http.get(caller.file_url()).content == whole


def test_dripping() -> None:
    with serving(f.dripping(FILE, 0.4, pieces=8)) as caller:
        caller.submit()
        caller.wait()
        began = time.monotonic()
        with caller.http.stream("GET", caller.file_url()) as response:
            times = [time.monotonic() - began for _ in response.iter_raw()]
        assert len(times) >= 4 and times[0] < 0.2 and times[-1] > 0.3


def test_cut_short_and_altered() -> None:
    whole = small_glb(7)
    with serving(f.cut_short(), f.altered()) as caller:
        half, zeros = caller.file(), caller.http.get(caller.file_url())
    assert half.content == whole[: len(whole) // 2] and int(half.headers["content-length"]) == len(half.content)
    assert len(zeros.content) == len(whole) and zeros.content != whole
    assert half.headers["content-type"] == "model/gltf-binary"


@pytest.mark.parametrize("code", [422, 502])
def test_the_file_is_not_there_just_after_success(code: int) -> None:
    with serving(f.status(code, FILE, times=2)) as caller:
        assert caller.file().status_code == code
        assert [caller.http.get(caller.file_url()).status_code for _ in range(2)] == [code, 200]


def test_redirected_and_looping() -> None:
    with serving(f.redirected()) as caller:
        response = caller.file()
        assert response.content == small_glb(7) and response.url.host == "localhost"
        first, second = caller.server.log[-2:]
        assert first.fault == "redirected" and second.headers["host"].startswith("localhost:")
        assert "authorization" in first.headers and "authorization" not in second.headers  # httpx takes it away
    with serving(f.looping(times=FOREVER)) as caller, pytest.raises(httpx.TooManyRedirects):
        caller.file()


def test_clock_jump() -> None:
    with serving(f.clock_jump(90_000, FILE)) as caller:
        assert caller.file().status_code == 404
        assert caller.ask(POLL).json() == {"data": []}
        caller.server.clock.jump(-200_000)
        assert caller.done()["data"][0]["status"] == "success"


# The answer's JSON


def strip(item: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in item.items() if key not in keys}


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        (f.data_as_object(POLL), lambda odd, good: odd == {"data": good["data"][0]}),
        (f.without_status(), lambda odd, good: odd["data"] == [strip(i, "status") for i in good["data"]]),
        (f.without_index(), lambda odd, good: odd["data"] == [strip(i, "resultIndex") for i in good["data"]]),
        (f.empty_errors(POLL), lambda odd, good: odd == {**good, "errors": []}),
        (
            f.single_error(POLL),
            lambda odd, good: set(odd) == {"error", "taskType", "taskUUID"} and odd["error"]["code"],
        ),
        (f.item_error(), lambda odd, good: {i["status"] for i in odd["data"]} == {"error"} and odd["data"][0]["error"]),
        (f.duplicated(), lambda odd, good: odd["data"] == [i for i in good["data"] for _ in "12"]),
        (f.reversed_order(), lambda odd, good: odd["data"] == good["data"][::-1]),
        (f.status_word(), lambda odd, good: [set(i) for i in odd["data"]] == [{"taskType", "taskUUID", "status"}] * 2),
        (f.no_data(POLL), lambda odd, good: odd == {"data": []}),
        (f.edited("own", POLL, lambda body: [body]), lambda odd, good: odd == [good]),
    ],
    ids=lambda value: value.name if isinstance(value, f.Fault) else "",
)
def test_odd_answers(fault: f.Fault, check: Callable[[Any, Any], bool]) -> None:
    with serving(fault) as caller:
        odd = caller.done(numberResults=2)
        good = caller.ask(POLL).json()
    assert [item["status"] for item in good["data"]] == ["success"] * 2
    assert check(odd, good), odd


def test_news_for_others() -> None:
    with serving(f.for_others(POLL), f.among_others(POLL)) as caller:
        only, among = caller.done(), caller.ask(POLL).json()
        good = caller.ask(POLL).json()
    assert {item["taskUUID"] for item in only["data"] + only["errors"]} == {f.OTHER_UUID}
    assert [item for item in among["data"] if item["taskUUID"] != f.OTHER_UUID] == good["data"]
    assert len(among["data"]) == 3 and among["errors"][0]["taskUUID"] == f.OTHER_UUID


def test_trickling() -> None:
    with serving(f.trickling(), f.trickling()) as caller:
        polls = [caller.done(numberResults=3), *(caller.ask(POLL).json() for _ in range(3))]
    assert [[item["resultIndex"] for item in poll["data"]] for poll in polls] == [[2], [2, 1], [2, 1, 0], [2, 1, 0]]


def test_in_the_acknowledgement_and_elsewhere() -> None:
    with serving(f.in_the_acknowledgement(), f.files_elsewhere()) as caller:
        (item,) = caller.submit().json()["data"]
        assert item["status"] == "success"
        url = caller.ask(POLL).json()["data"][0]["outputs"]["files"][0]["url"]
        assert url.startswith(caller.server.other_host) and httpx.get(url).content == small_glb(7)


# The server


def test_stop_and_start_at_the_same_address(tmp_path: Path) -> None:
    with serving(folder=tmp_path / "state") as caller:
        caller.server.engine.seconds = 5
        caller.submit()
        caller.server.stop()
        with pytest.raises(httpx.TransportError):
            caller.ask(POLL)
        caller.server.engine.seconds = 0
        caller.server.start()
        caller.wait()
        assert caller.ask(POLL).json()["data"][0]["seed"] == 7


def test_a_failing_and_a_slow_engine() -> None:
    with serving() as caller:
        caller.server.engine.errors[7] = MemoryError()
        assert json.dumps(caller.done()).count("not enough memory") == 1
    with serving() as caller:
        caller.server.engine.seconds = 0.2
        caller.submit()
        (item,) = caller.ask(POLL).json()["data"]
        assert item["status"] == "processing"
        caller.wait()
