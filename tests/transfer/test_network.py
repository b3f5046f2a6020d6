"""The one door to HTTP: proxies of every kind, certificates of a company, and what is said where they are wrong."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import disc, encoded, run_python, sentence
from network_tools import Company, closed_port, forget_network, pong, serving, socks_server

from trellis_addon.client.client import Client
from trellis_addon.core.errors import ImageError, NetworkError, NetworkSettingsError, TrellisError
from trellis_addon.images import fetch, load_image
from trellis_addon.transfer import client as door
from trellis_addon.transfer.client import make_client
from trellis_addon.transfer.download import DownloadError, Remote, fetch_file
from trellis_addon.transfer.proxies import Proxies, passes_by
from trellis_addon.transfer.trust import trust

KEY = "k" * 32
API = "http://api.invalid/v1"
PICTURE = encoded(disc())


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_network(monkeypatch)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return Company(tmp_path_factory.mktemp("company"))


def ping(url: str = API) -> None:
    with Client(url, KEY, sleep=lambda seconds: None) as client:
        client.ping()


def said(kind: type[TrellisError], call: Callable[[], Any]) -> str:
    with pytest.raises(kind) as caught:
        call()
    return sentence(caught.value)


def picture(handler: Any, body: bytes) -> tuple[int, bytes]:
    return 200, PICTURE


# Proxies


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5", "socks"])
def test_socks_proxies_are_gone_through(monkeypatch: pytest.MonkeyPatch, name: str, scheme: str) -> None:
    with serving() as api, socks_server(api.server_address) as socks:
        monkeypatch.setenv(name, socks.url.replace("socks5", scheme))
        ping()
        assert socks.asked == [("api.invalid", 80)]  # the name, of which nobody is asked here
        assert api.seen[0][2]["user-agent"] == door.USER_AGENT


def test_everything_goes_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with serving(picture) as server, socks_server(server.server_address, login=(b"bob", b"w@rd:#/")) as socks:
        monkeypatch.setenv("ALL_PROXY", socks.url)
        assert load_image("http://pictures.invalid/a.png").name == "a"
        fetch_file(Remote("http://weights.invalid/w"), tmp_path / "w")
        assert (tmp_path / "w").read_bytes() == PICTURE
        assert [host for host, _ in socks.asked] == ["pictures.invalid", "weights.invalid"]
        assert {headers["user-agent"] for _, _, headers in server.seen} == {door.USER_AGENT}
        monkeypatch.setenv("ALL_PROXY", socks.url.replace("bob", "eve"))
        text = said(ImageError, lambda: fetch("http://pictures.invalid/a.png"))
        assert "ALL_PROXY" in text and "w@rd" not in text


def test_tls_through_a_socks_proxy(monkeypatch: pytest.MonkeyPatch, company: Company) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(company.file))
    with serving(context=company.context("api.invalid")) as api, socks_server(api.server_address) as socks:
        monkeypatch.setenv("HTTPS_PROXY", socks.url)
        ping("https://api.invalid/v1")
        assert socks.asked == [("api.invalid", 443)]
        assert "another name" in said(NetworkError, lambda: ping("https://other.invalid/v1"))
    with serving() as api, socks_server(api.server_address) as socks:
        monkeypatch.setenv("HTTPS_PROXY", socks.url)
        assert "HTTPS_PROXY" in said(NetworkError, lambda: ping("https://api.invalid/v1"))


def test_a_proxy_that_is_asked_by_tls(monkeypatch: pytest.MonkeyPatch, company: Company) -> None:
    with serving(context=company.context("localhost")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"https://localhost:{proxy.server_port}")
        text = said(NetworkError, ping)
        assert "HTTP_PROXY" in text and "certificate" in text
        monkeypatch.setenv("CURL_CA_BUNDLE", str(company.file))
        ping()
        assert proxy.seen[0][1] == API


def test_a_proxys_password_is_in_no_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving() as api:
        with socks_server(api.server_address, login=(b"bob", b"hunter2pw")) as socks:
            monkeypatch.setenv("ALL_PROXY", socks.url)
            ping()
        monkeypatch.setenv("ALL_PROXY", f"http://bob:hunter2pw@127.0.0.1:{api.server_port}")
        ping()
        said(NetworkError, lambda: ping("https://api.invalid/v1"))
    assert "api.invalid" in caplog.text and "hunter2pw" not in caplog.text


@pytest.mark.parametrize("does", ["refuse", "hush", "speak"])
def test_socks_proxies_that_are_none(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    monkeypatch.setattr(door, "SOCKS_SECONDS", 0.1)
    with socks_server(("127.0.0.1", 1), does=does) as socks:
        monkeypatch.setenv("ALL_PROXY", socks.url)
        assert f"{socks.url} (" in (text := said(NetworkError, ping)) and "ALL_PROXY" in text


def test_http_proxies_are_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{proxy.server_port}")
        ping()
        assert proxy.seen[0][1] == API
        monkeypatch.setenv("http_proxy", f"http://bob:w%40rd@127.0.0.1:{proxy.server_port}")
        ping()
        assert proxy.seen[1][2]["proxy-authorization"] == "Basic Ym9iOndAcmQ="


def test_a_proxy_that_wants_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda handler, body: (407, b"")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://bob:word@127.0.0.1:{proxy.server_port}")
        for url in (API, API.replace("http", "https")):
            text = said(NetworkError, lambda url=url: ping(url))
            assert "ALL_PROXY" in text and "api.invalid" in text and "word" not in text.replace("password", "")
            assert "does not take the name" in text


def test_what_a_proxy_refuses_has_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda handler, body: (407, b"")) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        with pytest.raises(NetworkError) as caught:
            ping()
    assert caught.value.unsent and "wants a name and a password" in sentence(caught.value)


@pytest.mark.parametrize("name", ["ALL_PROXY", "HTTPS_PROXY", "https_proxy"])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("socks4://proxy:1080", "socks4://proxy:1080"),
        ("ftp://proxy:21", "ftp://proxy:21"),
        ("http://proxy:99999", "http://proxy:99999"),
        ("http://bob:secret@proxy:port", "http://proxy:..."),
        ("http://bob:secret", "http://bob:..."),
        ("http://", "http://"),
        ("http://a b:80", "http://a b:80"),
        ("not a proxy", "not a proxy"),
        ("http://:8080", "http://:8080"),
    ],
)
def test_wrong_proxies_are_told_by_their_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    text = said(NetworkSettingsError, lambda: make_client(address="https://api.invalid/v1"))
    assert shown in text and f" in {name} " in text and "secret" not in text
    assert name in said(NetworkSettingsError, lambda: Client("https://api.invalid/v1", KEY))
    assert name in said(ImageError, lambda: fetch("https://pictures.invalid/a.png"))
    assert name in said(NetworkSettingsError, lambda: fetch_file(Remote("https://a.invalid/w"), Path("unwritten")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:1"), ("ALL_PROXY", "nonsense://["), ("HTTP_PROXY", "http://:::"),
        ("HTTPS_PROXY", "socks4://a"), ("NO_PROXY", "[,fd00::/8,//"), ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_DIR", "/nowhere"), ("REQUESTS_CA_BUNDLE", "/nowhere"), ("SSLKEYLOGFILE", "/nowhere/keys"),
    ],
)  # fmt: skip
def test_this_machine_needs_none_of_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with serving(picture) as server:
        for host in ("127.0.0.1", "localhost"):
            assert fetch(f"http://{host}:{server.server_port}/a.png") == PICTURE
    with serving() as api, Client(f"http://127.0.0.1:{api.server_port}/v1", KEY, remote=False) as client:
        client.ping()


def test_the_paid_api_goes_through_a_proxy_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as api, socks_server(api.server_address) as socks:
        here = f"http://127.0.0.1:{api.server_port}/v1"
        monkeypatch.setenv("ALL_PROXY", socks.url)
        ping(here)
        assert socks.asked == [("127.0.0.1", api.server_port)]
        monkeypatch.setenv("NO_PROXY", "127.0.0.0/8")
        ping(here)
        assert len(socks.asked) == 1 and len(api.seen) == 2


def test_the_draft_needs_none_of_it(tmp_path: Path, disc_file: Path) -> None:
    wrong = {
        "ALL_PROXY": "nonsense://[", "HTTP_PROXY": "http://:::", "NO_PROXY": "fd00::/8,[", "SSL_CERT_FILE": "/nowhere",
        "SSL_CERT_DIR": "/nowhere", "SSLKEYLOGFILE": "/nowhere/keys", "TRELLIS2_HOME": str(tmp_path / "jobs"),
    }  # fmt: skip
    few = ["--resolution", "512", "--texture-size", "1024"]
    made = ["-m", "trellis_addon", "generate", str(disc_file), "--output", str(tmp_path / "a.glb"), *few]
    done = run_python(*made, **wrong)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.glb").read_bytes().startswith(b"glTF")


def test_a_dead_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://bob:word@127.0.0.1:{closed_port()}")
    for text in (
        said(NetworkError, ping),
        said(NetworkError, lambda: ping("https://api.invalid/v1")),
        said(ImageError, lambda: fetch("http://pictures.invalid/a.png")),
    ):
        assert "ALL_PROXY" in text and ".invalid" in text and "word" not in text


def test_services_of_ones_own_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, Client("http://box.invalid/v1", KEY, remote=False, sleep=lambda s: None) as client:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.server_port}")
        assert "box.invalid" in said(NetworkError, client.ping)
        assert not proxy.seen


@pytest.mark.parametrize(
    ("exceptions", "url", "expected"),
    [
        ("", "http://a.example", False),
        ("*", "http://a.example", True),
        ("b.example, *", "http://a.example", True),
        ("a.example", "http://a.example", True),
        ("a.example", "http://x.a.example", True),
        ("a.example", "http://nota.example", False),
        (".a.example", "http://x.a.example", True),
        (".a.example", "http://a.example", True),
        ("*.a.example", "http://x.a.example", True),
        ("*.a.example", "http://a.example", True),
        ("10.*", "http://10.2.3.4", True),
        ("gpu-*", "http://gpu-7", True),
        (" A.Example ,, b", "http://a.EXAMPLE.", True),
        ("b;a.example|c", "http://a.example", True),
        ("b a.example", "http://a.example", True),
        ("a.example:8443", "https://a.example:8443", True),
        ("a.example:8443", "https://a.example", False),
        ("a.example:443", "https://a.example", True),
        ("a.example:x", "https://a.example", False),
        ("https://a.example", "https://a.example", True),
        ("https://a.example/", "http://a.example", False),
        ("10.0.0.0/8", "http://10.2.3.4", True),
        ("10.0.0.5/8", "http://10.2.3.4", True),
        ("10.0.0.0/8", "http://11.2.3.4", False),
        ("10.0.0.0/8:443", "https://10.2.3.4", True),
        ("10.0.0.0/8:443", "http://10.2.3.4", False),
        ("[fd00::]/8:443", "https://[fd12::1]", True),
        ("bücher.example", "http://xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "http://a.bücher.example", True),
        ("10.0.0.0/8", "http://a.example", False),
        ("fd00::/8", "http://[fd12::1]", True),
        ("[fd00::/8]", "http://[fd12::1]", True),
        ("[fd00::]/8", "http://[fd12::1]", True),
        ("fd00::/8", "http://a.example", False),
        ("2001:db8::1", "http://[2001:db8:0::1]", True),
        ("[2001:db8::1]:80", "http://[2001:db8::1]", True),
        ("10.0.0.1/99,[,:::,/,//,fd00::/x,a.example", "http://a.example", True),
        ("10.0.0.1/99,[,:::,/,//,fd00::/x", "http://a.example", False),
        ("<local>", "http://gpu-box", True),
        ("<local>", "http://a.example", False),
    ],
)
def test_exceptions_from_proxies(exceptions: str, url: str, expected: bool) -> None:
    asked = httpx.URL(url)
    assert passes_by(exceptions, asked.scheme, asked.host, asked.port) is expected
    for environment in ({"NO_PROXY": exceptions}, {"no_proxy": exceptions}):
        proxies = Proxies({"ALL_PROXY": "http://proxy:1", **environment})
        assert (proxies.proxy_for(asked.scheme, asked.host, asked.port) is None) is expected


def test_small_letters_count_more_and_a_scheme_more_than_all() -> None:
    named = {"ALL_PROXY": "http://all:1", "https_proxy": "http://small:1", "HTTPS_PROXY": "http://large:1"}
    proxies = Proxies(named)
    assert str(proxies.proxy_for("https", "a.example", None)) == "http://small:1"
    assert str(proxies.proxy_for("http", "a.example", None)) == "http://all:1"
    assert Proxies({**named, "https_proxy": "", "ALL_PROXY": ""}).proxy_for("https", "a.example", None) is None
    assert "word" not in repr(Proxies({"ALL_PROXY": "http://bob:word@a:1"}).proxy_for("http", "a.example", None))


# Certificates


def company_server(company: Company, *names: str, **options: Any) -> Any:
    return serving(context=company.context(*names, **options))


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"])
def test_a_companys_certificate_is_trusted_by_all(
    monkeypatch: pytest.MonkeyPatch, company: Company, name: str, tmp_path: Path
) -> None:
    monkeypatch.setenv(name, str(company.file))
    with serving(lambda h, body: (200, PICTURE) if h.command == "GET" else pong(h, body),
                 company.context("localhost", "127.0.0.1")) as server:  # fmt: skip
        here = f"https://localhost:{server.server_port}"
        ping(f"{here}/v1")
        ping(f"https://127.0.0.1:{server.server_port}/v1")
        assert fetch(f"{here}/a.png") == PICTURE
        fetch_file(Remote(f"{here}/w"), tmp_path / "w")


def test_certificates_come_in_folders_binary_and_by_pip(
    monkeypatch: pytest.MonkeyPatch, company: Company, tmp_path: Path
) -> None:
    binary, hashed, loose = tmp_path / "company.cer", tmp_path / "hashed", tmp_path / "loose"
    for folder in (hashed, loose):
        folder.mkdir()
        (folder / "company.pem").write_bytes(company.file.read_bytes())
    (loose / "readme.txt").write_text("no certificate")
    subprocess.run(["openssl", "x509", "-in", company.file, "-outform", "DER", "-out", binary], check=True)
    subprocess.run(["openssl", "rehash", hashed], check=True)
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[global]\ncert = {company.file}\n")
    with company_server(company, "localhost") as api:
        url = f"https://localhost:{api.server_port}/v1"
        assert "certificate" in said(NetworkError, lambda: ping(url))
        for name, value in (
            ("SSL_CERT_FILE", binary), ("REQUESTS_CA_BUNDLE", hashed), ("SSL_CERT_DIR", hashed),
            ("SSL_CERT_DIR", loose),
            ("SSL_CERT_DIR", f"{tmp_path / 'nowhere'}{os.pathsep}{hashed}"), ("SSL_CERT_FILE", f'"{company.file}"'),
            ("PIP_CONFIG_FILE", settings),
        ):  # fmt: skip
            with monkeypatch.context() as patched:
                patched.setenv(name, str(value))
                ping(url)


def test_certificates_that_are_not_right(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(company.file))
    waits: list[float] = []
    for names, options, word in (
        (("elsewhere.example",), {}, "another name"),
        (("192.0.2.7",), {}, "another name"),
        (("localhost",), {"days": -1}, "expired"),
    ):
        with company_server(company, *names, **options) as api:
            for host in ("localhost", "127.0.0.1"):
                with Client(f"https://{host}:{api.server_port}/v1", KEY, sleep=waits.append) as client:
                    text = said(NetworkError, client.ping)
                assert "certificate" in text and host in text and (word in text or host == "127.0.0.1")
            assert "certificate" in said(ImageError, lambda port=api.server_port: fetch(f"https://localhost:{port}/a"))
    assert not waits  # another attempt would change nothing


def test_an_unknown_company_is_told_of_everywhere(company: Company, tmp_path: Path) -> None:
    with company_server(company, "localhost") as server:
        here = f"https://localhost:{server.server_port}"
        for text in (
            said(NetworkError, lambda: ping(f"{here}/v1")),
            said(ImageError, lambda: fetch(f"{here}/a.png")),
            said(DownloadError, lambda: fetch_file(Remote(f"{here}/w"), tmp_path / "w")),
        ):
            assert "certificate of localhost" in text and "SSL_CERT_FILE" in text


def test_a_server_that_wants_to_know_who_asks(monkeypatch: pytest.MonkeyPatch, company: Company) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(company.file))
    context = company.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(company.file)
    with serving(context=context) as api:
        assert "wants a certificate" in said(NetworkError, lambda: ping(f"https://localhost:{api.server_port}/v1"))


def test_a_server_that_speaks_no_tls() -> None:
    with serving() as api:
        assert "does not speak https" in said(NetworkError, lambda: ping(f"https://localhost:{api.server_port}/v1"))


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"])
@pytest.mark.parametrize("what", ["nothing", "no certificates", "empty"])
def test_wrong_certificate_variables_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, what: str
) -> None:
    path = tmp_path / "ca.pem"
    if what != "nothing":
        path.write_text("hello" if what == "no certificates" else "")
    monkeypatch.setenv(name, str(path))
    text = said(NetworkSettingsError, lambda: Client("https://api.invalid/v1", KEY))
    assert name in text and str(path) in text
    assert name in said(ImageError, lambda: fetch("https://pictures.invalid/a.png"))
    assert name in said(NetworkSettingsError, lambda: fetch_file(Remote("https://a.invalid/w"), tmp_path / "w"))
    assert fetch_is_tried("http://pictures.invalid/a.png")  # which needs none


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes in Windows' folders")
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "SSLKEYLOGFILE"])
def test_what_never_comes_to_an_end_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setenv(name, str(tmp_path / "pipe"))
    assert name in said(NetworkSettingsError, trust)


def fetch_is_tried(url: str) -> bool:
    return "cannot be fetched" in said(ImageError, lambda: fetch(url))


def test_keys_are_logged_where_that_is_asked(monkeypatch: pytest.MonkeyPatch, company: Company, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(company.file))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with company_server(company, "localhost") as api:
        ping(f"https://localhost:{api.server_port}/v1")
    assert "SECRET" in (tmp_path / "keys").read_text()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "nowhere" / "keys"))
    assert "SSLKEYLOGFILE" in said(NetworkSettingsError, trust)


def test_nothing_is_asked_of_a_name_server_for_wrong_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    monkeypatch.setenv("HTTPS_PROXY", "http://:::")
    said(NetworkSettingsError, lambda: Client("https://api.invalid/v1", KEY))
