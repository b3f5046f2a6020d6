"""Web addresses: which are this machine's, how one is completed, what is refused, what may be shown."""

from __future__ import annotations

import socket

import pytest

from trellis_addon.core.addresses import (
    by_number,
    complete,
    has_login,
    is_near,
    is_this_machine,
    is_web_address,
    without_login,
)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.0.0.1.", "127.255.3.9", "127.1", "0x7f.1", "2130706433",
     "::1", "[::1]", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::1%lo"],
)  # fmt: skip
def test_this_machine(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize(
    "host",
    ["", "127.evil.example", "127.0.0.1.pictures.example", "localhost.evil.example", "notlocalhost",
     "128.0.0.1", "10.0.0.1", "::2", "::ffff:10.0.0.1", "127.0.0.1@evil.example", "127.0.0.300", "127", "0.0.0.0"],
)  # fmt: skip
def test_other_machines(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)  # nobody is asked
    monkeypatch.setattr(socket, "gethostbyname", None)
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
        ("HTTP://GPU-Box:8000/V1", "http://gpu-box:8000/V1"),
        ("gpu-box", "http://gpu-box"),
        ("gpu-box.example/v1/", "http://gpu-box.example/v1/"),
        ("https://Gpu-Box.example/", "https://gpu-box.example/"),
        ('"http://gpu-box:8000"', "http://gpu-box:8000"),
        ("http://\u200bgpu-box:8000\ufeff", "http://gpu-box:8000"),
        ("//gpu-box:8000", "http://gpu-box:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("::1", "http://[::1]"),
        ("[fe80::1%25eth0]:8000", "http://[fe80::1%eth0]:8000"),
        ("0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("http://[::]:8000/v1", "http://[::1]:8000/v1"),
        ("127.1:8000", "http://127.0.0.1:8000"),
        ("http://192.168.1.7:8000/v1", "http://192.168.1.7:8000/v1"),
        # what cannot be one stays as it is
        ("", ""),
        ("ftp://gpu-box", "ftp://gpu-box"),
        ("http://a b/", "http://a b/"),
        ("http://gpu-box:99999", "http://gpu-box:99999"),
    ],
)
def test_what_is_entered_is_completed(text: str, meant: str) -> None:
    assert complete(text) == meant
    assert complete(meant) == meant


@pytest.mark.parametrize(
    "text",
    ["http://a b/", " http://a/", "http://localhost:99999/", "http://localhost:0/", "http://localhost:x/",
     "http://localhost/\0", "http://a\n.b/", "http://", "http:///x", "http://a..b/", "http://.", "http://-/",
     "http://[::1/", "http://[::1]x/", "http://[zz]/", "http://a\\b/", "ftp://a/", "javascript:1", "a.example",
     "http://" + "a" * 64,
     "http://1.2.3.999/", "http://a,b/", "http://exa mple.com/x"],
)  # fmt: skip
def test_addresses_that_lead_nowhere(text: str) -> None:
    assert not is_web_address(text)


@pytest.mark.parametrize(
    "text",
    ["http://a", "https://hooks.example/x?y=1#z", "http://gpu_box:1/", "http://[::1]:8000/", "http://10.0.0.1:65535",
     "https://user:word@hooks.example/", "https://bücher.example/", "HTTPS://HOOKS.EXAMPLE", "http://a.example./x"],
)  # fmt: skip
def test_addresses_that_may_lead_somewhere(text: str) -> None:
    assert is_web_address(text)


def test_a_password_is_not_shown() -> None:
    assert without_login("http://bob:word@host:1/v1?a=b@c") == "http://host:1/v1?a=b@c"
    assert without_login("https://host/@me") == "https://host/@me"
    assert has_login("http://bob@host") and has_login("bob:word@host")
    assert not has_login("http://host/@me") and not has_login("host:8000")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.168.1.7", True), ("10.0.0.1", True), ("169.254.3.4", True), ("fe80::1", True), ("[fd00::7]", True),
        ("renderbox", True), ("renderbox.local.", True), ("nas.LAN", True), ("::ffff:192.168.1.7", True),
        ("localhost", False), ("127.0.0.1", False), ("::1", False), ("8.8.8.8", False), ("example.org", False),
        ("local.example", False), ("2606:4700::1111", False),
    ],
)  # fmt: skip
def test_machines_in_ones_own_network(host: str, expected: bool) -> None:
    assert is_near(host) is expected


def listening(host: str) -> tuple[socket.socket, int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family)
    try:
        server.bind((host, 0))
    except OSError:
        pytest.skip(f"{host} is not there on this machine; the other case holds")
    server.listen()
    return server, server.getsockname()[1]


@pytest.mark.parametrize(("host", "number"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_localhost_is_asked_by_the_number_that_somebody_listens_at(
    host: str, number: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name server is asked: Windows' tells ::1 first, and a connection to that takes seconds to fail."""
    resolve = socket.getaddrinfo

    def getaddrinfo(name: str, *rest: object, **more: object) -> object:
        assert name != "localhost"
        return resolve(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    server, port = listening(host)
    with server:
        assert by_number(f"http://LocalHost:{port}/v1") == f"http://{number}:{port}/v1"
    assert by_number(f"http://localhost:{port}/v1") == f"http://localhost:{port}/v1", "nobody listens any more"
    for address in (f"https://localhost:{port}/v1", "http://example.org/v1", f"http://127.0.0.1:{port}"):
        assert by_number(address) == address
