"""Assistants in the open scene: a real client, the door, and a Blender that does what is asked on its main thread."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE

bpy = pytest.importorskip("bpy")

from test_glb_check import simple  # noqa: E402

from trellis_addon.core.configuration import HOME_VARIABLE  # noqa: E402
from trellis_addon.core.doors import Door, doors  # noqa: E402
from trellis_addon.core.errors import TrellisError  # noqa: E402
from trellis_addon.scene.door import open as opened  # noqa: E402
from trellis_addon.scene.door.tools import TOOLS  # noqa: E402


@pytest.fixture
def door(clean: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    yield opened.open_door()
    opened.shut_door()


def meanwhile(do: Callable[[], Any]) -> Any:
    """What `do` returns in a thread, while this one does what Blender's timer does."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(do())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + PATIENCE
    while thread.is_alive() and time.monotonic() < end:
        opened.work()
        thread.join(0.01)
    assert found, "no answer"
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def ask(tool: str, **arguments: Any) -> dict[str, Any]:
    from trellis_addon.agents.blender import ask as asked

    result: dict[str, Any] = meanwhile(lambda: asked(tool, arguments))
    return result


@pytest.fixture
def glb(tmp_path: Path) -> Path:
    path = tmp_path / "cube.glb"
    path.write_bytes(simple().done())
    return path


def test_an_asset_is_imported_placed_measured_and_exported(door: Door, glb: Path, tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    made = ask("import_glb", path=str(glb), name="Crate", height=2.0, location=[1, 2, 0])
    assert made["name"] == "Crate" and made["size_metres"][2] == pytest.approx(2) and made["location"] == [1, 2, 0]
    moved = ask("place", name="Crate", location=[0, 0, 5], turn_degrees=90, height=1.0, on_ground=True)
    assert moved["location"][2] == pytest.approx(0, abs=1e-5) and moved["size_metres"][2] == pytest.approx(1)
    assert bpy.data.objects["Crate"].rotation_euler.z == pytest.approx(1.5708, abs=1e-4)
    found = ask("measure", name="Crate", contract="godot")
    assert found["triangles"] == 12 and found["soundness"] and isinstance(found["contract"], list)
    out = tmp_path / "out.glb"
    assert ask("export", names=["Crate"], path=str(out))["files"] == [str(out)] and out.read_bytes()[:4] == b"glTF"
    (listed,) = ask("objects")["objects"]
    assert listed["name"] == "Crate" and listed["faces"] == made["faces"]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("measure", {"name": "Nobody"}, "no mesh object"),
        ("import_glb", {"path": "/nowhere.glb"}, "no such file"),
        ("place", {"name": "Cube", "location": [1, "x", 0]}, "give a number"),
        ("place", {"name": "Cube", "location": [1, 2]}, "three numbers"),
        ("game_ready", {"name": "Cube", "budget": "huge"}, "allowed"),
        ("run_python", {"code": "1"}, "no tool"),
        ("measure", {"colour": 1}, "measure"),
        ("export", {"names": ["Cube"], "path": "x.png"}, "give a name that ends in"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(door: Door, tool: str, arguments: dict[str, Any], words: str) -> None:
    pytest.importorskip("mcp")
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.object.name = "Cube"
    with pytest.raises(TrellisError, match=words) as refused:
        ask(tool, **arguments)
    assert "Traceback" not in str(refused.value)


def test_only_who_has_the_token_is_let_in(door: Door) -> None:
    address, call = f"http://127.0.0.1:{door.port}/", json.dumps({"tool": "objects"})
    assert set(TOOLS) == {"objects", "import_glb", "place", "measure", "game_ready", "export"}
    with httpx.Client(trust_env=False) as client:
        wrong = {"Authorization": "Bearer x"}
        right = {"Authorization": f"Bearer {door.token}"}
        assert client.post(address, content=call).status_code == 401
        assert client.post(address, content=call, headers=wrong).status_code == 401
        assert client.post(address, content=call, headers={**right, "Host": "evil.example"}).status_code == 401
        assert client.post(address, content="[", headers=right).status_code == 400
        assert client.get(address, headers=right).status_code == 501
        assert meanwhile(lambda: client.post(address, content=call, headers=right)).json()["result"]["objects"] == []


def test_its_word_is_this_user_s_alone_and_goes_with_it(door: Door, tmp_path: Path) -> None:
    (path,) = (tmp_path / "home" / "blenders").iterdir()
    assert doors() == [door] and door.pid == os.getpid()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    opened.shut_door()
    assert doors() == [] and not opened.is_open()
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"http://127.0.0.1:{door.port}/", trust_env=False)


def test_without_a_blender_it_is_said_how_to_let_assistants_in(
    clean: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mcp")
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    Door(1, "x", 1, "").tell()  # of one that came down
    with pytest.raises(TrellisError, match="Let Assistants In"):
        ask("objects")
