"""The key is in the Authorization header of requests to the API, and nowhere else: every file written, every line
said or logged, every address asked during whole runs is searched for it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import faults as f
import pytest
from conftest import ROOT, disc
from fault_server import ACCOUNT, FILE, FOREVER, POLL, SUBMIT, FaultServer

from trellis_addon.client.backends import Backend
from trellis_addon.client.client import Client
from trellis_addon.client.local_service import LocalService
from trellis_addon.core.keys import find_key
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task

WRONG_KEY = "rw-a-key-that-nobody-takes-1625"
QUICK = ("--resolution", "512", "--texture-size", "1024", "--seed", "7")


class Place:
    """A home, a working folder and a temporary folder of their own, and all that was said there."""

    def __init__(self, root: Path, server: FaultServer) -> None:
        self.root = root
        self.server = server
        self.said = b""
        for name in ("home", "work", "temp", "pictures"):
            (root / name).mkdir()
        for number in range(2):
            disc(96, (60 + 90 * number, 120, 90)).save(root / "pictures" / f"picture{number}.png")

    def python(self, *arguments: str, key: str = "", ending: int = 0) -> str:
        environment = {
            **os.environ,
            "HOME": str(self.root / "home"),
            "TRELLIS2_HOME": str(self.root / "home" / "jobs"),
            "BLENDER_USER_RESOURCES": str(self.root / "home" / "blender"),
            "TMPDIR": str(self.root / "temp"),
            "PYTHONPATH": str(ROOT),
            "RUNWARE_BASE_URL": self.server.url,
            "RUNWARE_API_KEY": key or self.server.token,
        }
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.root / "work", env=environment, capture_output=True, timeout=120
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == ending, done.stderr.decode()
        return (done.stdout + done.stderr).decode()

    def trellis2(self, *arguments: str, key: str = "", ending: int = 0) -> str:
        return self.python("-m", "trellis_addon", *arguments, "--verbose", key=key, ending=ending)

    def generate(self, *more: str, key: str = "", ending: int = 0) -> str:
        picture = str(self.root / "pictures" / "picture0.png")
        options = ("--backend", "remote", "--output", "out.glb", *QUICK, *more)
        return self.trellis2("generate", picture, *options, key=key, ending=ending)

    def search(self) -> int:
        """How many files were searched; none of them, nothing said and no request but its header has a key."""
        forms = [form for key in (self.server.token, WRONG_KEY) for form in _forms(key)]
        files = [path for path in self.root.rglob("*") if path.is_file()]
        for path in files:
            content = path.read_bytes()
            is_packed = content.startswith(b"\x28\xb5\x2f\xfd")
            assert not is_packed or path.with_suffix(".unpacked").exists(), f"{path} is packed, and was not searched"
            assert not any(form in content for form in forms), path
        assert not any(form in self.said for form in forms)
        for seen in self.server.log:
            headers = dict(seen.headers)
            given = headers.pop("authorization", "")
            is_api = seen.path.startswith("/v1") and seen.headers["host"] == self.server.base.removeprefix("http://")
            assert (given in (f"Bearer {self.server.token}", f"Bearer {WRONG_KEY}")) is is_api
            asked = repr((headers, seen.path, seen.tasks)).encode()
            assert not any(form in asked for form in forms)
        return len(files)


def _forms(key: str) -> Iterator[bytes]:
    yield from (key.encode(), key.encode("utf-16-le"), quote(key, safe="").encode(), key.encode().hex().encode())
    yield base64.b64encode(key.encode()).rstrip(b"=")[:-1]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with FaultServer() as server:
        server.add(f.redirected(), f.files_elsewhere())
        yield Place(tmp_path, server)


_UNPACK = """
import bpy, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
bpy.ops.wm.save_as_mainfile(filepath=sys.argv[2], compress=False, copy=True)
"""


@pytest.mark.once
def test_whole_runs(place: Place) -> None:
    place.server.add(f.lost_answer(SUBMIT), f.truncated(FILE))
    place.generate()
    pytest.importorskip("bpy")
    output = place.root / "work" / "all.blend"
    place.trellis2("batch", str(place.root / "pictures"), "--backend", "remote", "--output", str(output), *QUICK[:4])
    for command in (("jobs",), ("resume",), ("account",), ("limit", "--day", "5")):
        place.trellis2(*command)
    uuid = place.server.asked(SUBMIT)[0]["taskUUID"]
    place.trellis2("fetch", uuid, "--output", "again.glb")
    place.python("-c", _UNPACK, str(output), str(output.with_suffix(".unpacked")))
    assert output.with_suffix(".unpacked").read_bytes().startswith(b"BLENDER") and place.server.asked(ACCOUNT)
    assert place.search() > 15


@pytest.mark.once
def test_runs_that_fail(place: Place) -> None:
    place.generate(key=WRONG_KEY, ending=1)
    place.trellis2("account", key=WRONG_KEY, ending=1)
    place.generate(key="rw-\u00fc" + WRONG_KEY, ending=1)
    place.server.add(f.html(FILE, times=FOREVER, after=10**6))
    place.server.add(f.html(SUBMIT), f.refused("invalidInteger", 400, SUBMIT, f"Not with {place.server.token}!"))
    place.generate(ending=1)
    place.server.add(f.single_error(POLL, "inferenceError", times=FOREVER))
    place.generate(ending=1)
    assert place.search() > 8


_LOUD = """
import faulthandler, logging, sys, traceback
logging.basicConfig(level=1, filename="everything.log")
faulthandler.enable()
from trellis_addon import generate
from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.jobs.store import JobStore
from trellis_addon.core.keys import find_key
Client.pause = lambda *_: None  # trouble without the waits between
picture, url = sys.argv[1:]
key, _ = find_key()
for given in (key, key + "\\n", key + chr(252)):
    try:
        generate(picture, backend="remote", key=given, seed=7, resolution=512, texture_size=1024)
    except Exception as error:
        logging.exception("It failed: %r", error)
        traceback.print_exc()
        print(error, repr(error), vars(error))
backend = Backend("remote", key)
print(backend, [backend], vars(JobStore()), JobStore().recent())
with connect(backend) as client:
    print(client, str(client))
    logging.debug("%r %s", client, backend)
"""


@pytest.mark.parametrize("fault", [None, f.dropped, f.garbage], ids=["none", "dropped", "garbage"])
def test_with_every_logger_at_its_loudest(fault: Callable[..., f.Fault] | None, place: Place) -> None:
    if fault is not None:
        place.server.add(fault(POLL, times=FOREVER if fault is f.garbage else 2))
    picture = str(place.root / "pictures" / "picture1.png")
    place.python("-c", _LOUD, picture, place.server.url)
    logged = (place.root / "work" / "everything.log").read_text()
    assert "httpcore" in logged and "characters" in logged
    place.search()


def test_nothing_shows_it_by_its_name(tmp_path: Path) -> None:
    backend = Backend("remote", WRONG_KEY)
    store = JobStore(tmp_path)
    job = store.add(Task("https://example.org/x.png", Settings()), name="X", backend=backend.name)
    with Client("https://api.runware.ai/v1", WRONG_KEY) as client:
        service = LocalService("http://127.0.0.1:1/v1", WRONG_KEY, None)  # type: ignore[arg-type]
        shown = "".join(f"{thing!r}{thing}" for thing in (backend, client, store, job, service))
    assert WRONG_KEY not in shown


def test_where_the_key_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    monkeypatch.setattr("trellis_addon.core.keys._from_keyring", lambda: "from-keyring")
    assert find_key() == ("from-keyring", "keyring")
    monkeypatch.setenv("RUNWARE_API_KEY", " from-environment ")
    assert find_key() == ("from-environment", "environment")
    assert find_key(" given\n") == ("given", "given")
    assert find_key("\ufeffgiven\u200b\u00a0\r\n") == ("given", "given"), "as it comes from a page or from Notepad"
    monkeypatch.setenv("RUNWARE_API_KEY", "\ufefffrom-environment\n")
    assert find_key("\u200b") == ("from-environment", "environment")
    monkeypatch.delenv("RUNWARE_API_KEY")
    monkeypatch.setattr("trellis_addon.core.keys._from_keyring", lambda: "")
    assert find_key("  ") == ("", "")


class _Keyring:
    """A keyring that quotes what it was given in its errors."""

    def __init__(self) -> None:
        self.locked = False
        self.kept = ""

    def get_keyring(self) -> object:
        return type("Backend", (), {"priority": 5})

    def get_password(self, service: str, user: str) -> str:
        if self.locked:
            raise RuntimeError("locked")
        return self.kept

    def set_password(self, service: str, user: str, key: str) -> None:
        if self.locked:
            raise RuntimeError(f"cannot keep {key}")
        self.kept = key

    def delete_password(self, service: str, user: str) -> None:
        self.kept = ""


def test_the_systems_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    import traceback

    from trellis_addon.core import keys
    from trellis_addon.core.errors import ApiKeyError

    keyring = _Keyring()
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    monkeypatch.setattr(keys, "_keyring", lambda: keyring)
    keys._from_keyring.cache_clear()
    assert keys.has_keyring() and find_key() == ("", "")
    keys.keep_in_keyring(WRONG_KEY)
    assert find_key() == (WRONG_KEY, "keyring")
    keyring.locked = True
    with pytest.raises(ApiKeyError) as caught:
        keys.keep_in_keyring(WRONG_KEY)
    assert WRONG_KEY not in "".join(traceback.format_exception(caught.value))
    assert find_key() == ("", "")
    keyring.locked = False
    keys._from_keyring.cache_clear()
    keys.keep_in_keyring("")
    assert keyring.kept == "" and find_key() == ("", "")
