"""Where a task is run: addresses of services as people write them, passwords in them, and what is this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from conftest import disc, encoded, sentence
from network_tools import closed_port, forget_network, serving

from trellis_addon import api
from trellis_addon.client.backends import Backend, connect, is_same_service
from trellis_addon.core.errors import FieldError, NetworkSettingsError, OfflineError
from trellis_addon.jobs.job import State
from trellis_addon.jobs.store import JobStore

PICTURE = encoded(disc())


@pytest.mark.parametrize(
    ("entered", "name"),
    [
        ("remote", "remote"),
        (" draft ", "draft"),
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" http://127.0.0.1:8000 ", "http://127.0.0.1:8000"),
        ("HTTP://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
        ("0.0.0.0:8000/v1", "http://127.0.0.1:8000/v1"),
        ("gpu-box:8000", "http://gpu-box:8000"),
        ("localhost", "http://localhost"),
        ("gpu-box.example", "http://gpu-box.example"),
    ],
)
def test_addresses_are_completed(entered: str, name: str) -> None:
    assert Backend(entered).name == name
    assert Backend(name).name == name  # as it is stored


@pytest.mark.parametrize("entered", ["cloud", "", "http://", "http://a b/", "ftp://gpu-box", "gpu-box:port", "a..b"])
def test_what_is_no_backend(entered: str) -> None:
    with pytest.raises(FieldError) as caught:
        Backend(entered)
    assert "backend" in sentence(caught.value)


def test_one_service_by_several_addresses() -> None:
    names = ("gpu-box:8000", "http://GPU-BOX:8000/", "http://gpu-box:8000/v1", " gpu-box:8000/v1/ ")
    assert all(is_same_service(one, other) for one in names for other in names)
    assert not is_same_service("gpu-box:8000", "gpu-box:8001") and not is_same_service("", "")


@pytest.mark.parametrize("login", ["bob:hunter2pw", ":hunter2pw", "hunter2pw", "bob:hun@ter2pw", "bob:hunter2pw/x"])
@pytest.mark.parametrize("scheme", ["http://", "https://", "HTTP://", ""])
def test_a_password_in_an_address_is_neither_kept_nor_shown(
    tmp_path: Path, login: str, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = JobStore(tmp_path / "jobs")
    with pytest.raises(FieldError) as caught:
        api.generate(PICTURE, backend=f"{scheme}{login}@127.0.0.1:{closed_port()}/v1", store=store)
    text = sentence(caught.value) + repr(caught.value.value) + caplog.text
    assert "TRELLIS2_SERVICE_TOKEN" in text and not any(part in text for part in ("hunter", "ter2pw"))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"ter2pw" in path.read_bytes()]


def test_the_address_of_the_remote_api(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_network(monkeypatch)
    for wrong in ("http://bob:hunter2pw@127.0.0.1/v1", "http://a b/", "nonsense://x"):
        monkeypatch.setenv("RUNWARE_BASE_URL", wrong)
        with pytest.raises(FieldError) as caught, connect(Backend("remote", "k" * 32)):
            pass
        assert "RUNWARE_BASE_URL" in sentence(caught.value) and "hunter2pw" not in sentence(caught.value)
    with serving() as server:
        monkeypatch.setenv("RUNWARE_BASE_URL", f" 127.0.0.1:{server.server_port}/v1 ")
        with connect(Backend("remote", "k" * 32)) as client:
            client.ping()
        assert server.seen[0][1] == "/v1"


@pytest.mark.parametrize("host", ["127.evil.example", "127.0.0.1.pictures.example", "localhost.example", "10.0.0.1"])
def test_offline_means_this_machine_alone(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)  # nobody is asked who that is
    with pytest.raises(OfflineError), connect(Backend(f"http://{host}:1/v1", allow_network=False)):
        pass


def test_wrong_settings_leave_nothing_to_be_paid_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_network(monkeypatch)
    monkeypatch.delenv("RUNWARE_BASE_URL", raising=False)
    store = JobStore(tmp_path / "jobs")
    for name, value in (("HTTPS_PROXY", "socks9://a:1"), ("SSL_CERT_FILE", "/nowhere/ca.pem")):
        with monkeypatch.context() as patched:
            patched.setenv(name, value)
            with pytest.raises(NetworkSettingsError) as caught:
                api.generate(PICTURE, backend="remote", key="k" * 32, store=store)
            assert name in sentence(caught.value)
    assert [job.state for job in store.recent()] == [State.FAILED] * 2
    assert store.unfinished() == []


def test_a_service_at_localhost_is_asked_by_its_number_and_kept_by_its_name() -> None:
    with serving() as server:
        backend = Backend(f"localhost:{server.server_port}")
        with connect(backend) as client:
            assert client.url == f"http://127.0.0.1:{server.server_port}/v1"
        assert backend.name == f"http://localhost:{server.server_port}"
