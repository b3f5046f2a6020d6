"""Where web addresses in tasks may lead, and what a service that others can ask does not do for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from conftest import PATIENCE
from service_tools import PIXEL, TOKEN, Running, local_server, only_error, picture_server, png, ready, start, task

from trellis_addon.core.errors import ImageError
from trellis_addon.images import fetch
from trellis_addon.service.content.addresses import AddressPolicy, AddressRefused, is_public
from trellis_addon.service.content.delivery import Delivery

PRIVATE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "198.18.0.1",
    "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:192.168.1.1", "64:ff9b::7f00:1", "64:ff9b::c0a8:101", "2002:7f00:1::",
    "2002:c0a8:101::1", "", "example.com", "127.1",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public(address: str) -> None:
    assert is_public(address)


@pytest.fixture
def guarded() -> Iterator[Running]:
    """A service as it runs when others can ask it."""
    running = Running(allow_private_addresses=False)
    yield running
    running.close()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "10.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
    ],
)
def test_addresses_in_tasks_are_refused_by_name(guarded: Running, host: str) -> None:
    url = f"http://{host}:{guarded.port}/x"
    for changes, parameter in (
        ({"inputs": {"image": url}}, "inputs.image"),
        ({"webhookURL": url}, "webhookURL"),
        ({"uploadEndpoint": url}, "uploadEndpoint"),
    ):
        asked = task(**changes)
        response = guarded.post(asked)
        error = only_error(response)
        assert (response.status_code, error["code"], error["parameter"]) == (400, "forbiddenAddress", parameter)
        assert error["taskUUID"] == asked["taskUUID"] and "--allow-private-addresses" in error["message"]
    for asked, parameter in (
        ({"taskType": "mediaStorage", "operation": "upload", "media": url}, "media"),
        ({"taskType": "imageUpload", "image": url}, "image"),
    ):
        error = only_error(guarded.post(asked))
        assert (error["code"], error["parameter"]) == ("forbiddenAddress", parameter)


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://example.com/x", "gopher://example.com/", "//example.com/x"]
)
def test_only_http(guarded: Running, url: str) -> None:
    for changes in ({"webhookURL": url}, {"uploadEndpoint": url}, {"inputs": {"image": url}}):
        assert guarded.post(task(**changes)).status_code == 400


def test_a_name_that_leads_inside_is_refused(guarded: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"inside.example": ["93.184.216.34", "192.168.1.1"]})
    error = only_error(guarded.post(task(webhookURL="https://inside.example/hook")))
    assert error["parameter"] == "webhookURL" and "inside.example" in error["message"]


def test_a_name_that_changes_after_the_check_leads_nowhere(guarded: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when the task is accepted, this machine when the picture is fetched."""
    answers = iter([["93.184.216.34"]])
    resolve(monkeypatch, {"rebound.example": lambda: next(answers, ["127.0.0.1"])})
    asked_for: list[str] = []
    with local_server(lambda handler: asked_for.append(handler.path)) as url:
        asked = task(inputs={"image": url.replace("127.0.0.1", "rebound.example") + "/x.png"})
        assert guarded.post(asked).status_code == 200
        (error,) = guarded.settle(asked["taskUUID"])["errors"]
    assert (error["code"], error["parameter"], asked_for) == ("forbiddenAddress", "inputs.image", [])


def test_every_redirect_is_checked() -> None:
    allowed_only = AddressPolicy(lambda address: address == "127.0.0.1")

    def answer(handler: BaseHTTPRequestHandler) -> None:
        """/twice -> /once (relative) -> the same server by another of its addresses."""
        port = handler.server.server_address[1]
        target = {"/twice": "/once", "/once": f"http://127.0.0.2:{port}/picture.png"}.get(handler.path)
        handler.send_response(302 if target else 200)
        if target:
            handler.send_header("Location", target)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    with local_server(answer) as url:
        assert fetch(url + "/direct", allowed_only.transport("image")) == b"ok"
        with pytest.raises(AddressRefused, match="127.0.0.2") as found:
            fetch(url + "/twice", allowed_only.transport("image"))
    assert found.value.fields == {"parameter": "image"}


def test_the_checked_address_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is resolved once; the server sees the name; a dead first address gives way to the next."""
    calls: list[str] = []
    resolve(monkeypatch, {"studio.example": lambda: calls.append("x") or ["127.0.0.3", "127.0.0.1"]})
    hosts: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        hosts.append(handler.headers["Host"])
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    policy = AddressPolicy(lambda address: address.startswith("127."))
    with local_server(answer) as url:
        port = url.rpartition(":")[2]
        assert fetch(f"http://studio.example:{port}/a.png", policy.transport("image")) == b""
    assert hosts == [f"studio.example:{port}"] and calls == ["x"]


def test_names_that_do_not_exist_are_an_error_of_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {})
    policy = AddressPolicy(is_public)
    policy.check("http://nowhere.example/x", "webhookURL")  # passes: there is nothing to protect
    with pytest.raises(ImageError, match="cannot be fetched"):
        fetch("http://nowhere.example/x.png", policy.transport("inputs.image"))


def test_deliveries_look_again(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    asked_for: list[str] = []
    with local_server(lambda handler: asked_for.append(handler.path)) as url:
        Delivery(first_wait=0.001, policy=AddressPolicy(is_public)).post_item(url + "/?key=hook-secret", {})
        for thread in threading.enumerate():
            if thread.name == "trellis-webhookURL":
                thread.join(PATIENCE)
    assert asked_for == [] and "AddressRefused" in caplog.text and "hook-secret" not in caplog.text


def test_on_the_loopback_address_everything_is_allowed() -> None:
    running = Running()
    try:
        with picture_server(png(12)) as url:
            asked = task(inputs={"image": url})
            running.post(asked)
            assert running.settle(asked["taskUUID"])["data"][0]["status"] == "success"
    finally:
        running.close()


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"host": "127.0.0.1"}, 200),
        ({"host": "127.0.0.1", "allow_private_addresses": False}, 400),
        ({"host": "0.0.0.0"}, 400),
        ({"host": "0.0.0.0", "allow_private_addresses": True}, 200),
    ],
)
def test_who_is_guarded_by_default(options: dict[str, Any], status: int) -> None:
    process = start(token=TOKEN, **options)
    try:
        port = ready(process)["url"].rsplit(":", 1)[1].split("/")[0]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        asked = task(webhookURL="http://127.0.0.1:9/", inputs={"image": PIXEL})
        dry = {**headers, "X-Runware-Dry-Run": "1"}
        assert httpx.post(f"http://127.0.0.1:{port}/v1", headers=dry, json=[asked]).status_code == status
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def resolve(monkeypatch: pytest.MonkeyPatch, names: dict[str, Any]) -> None:
    """Let `.example` names have these addresses, or what a function returns."""
    original = socket.getaddrinfo

    def answer(host: str, port: Any, *args: Any, **options: Any) -> Any:
        if not str(host).endswith(".example"):
            return original(host, port, *args, **options)
        if host not in names:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        found = names[host]() if callable(names[host]) else names[host]
        return [entry for address in found for entry in original(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
