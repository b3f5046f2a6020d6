"""The server for assistants, driven by the official client: in this process, over pipes, and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import PATIENCE, QUICK, ROOT
from fault_server import SUBMIT, FaultServer
from PIL import Image

pytest.importorskip("mcp")

from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPError

from trellis_addon.agents import tools
from trellis_addon.agents.server import http_app, make_server
from trellis_addon.core.configuration import HOME_VARIABLE, REMOTE_URL_VARIABLE
from trellis_addon.core.errors import Cancelled
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.jobs.money import Price
from trellis_addon.jobs.store import JobStore


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))


def talk(do: Callable[[Client], Awaitable[Any]], server: Any = None, **options: Any) -> Any:
    async def run() -> Any:
        async with Client(server or make_server(**options)) as client:
            return await do(client)

    return asyncio.run(asyncio.wait_for(run(), PATIENCE))


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    found: dict[str, Any] = result.structured_content or json.loads(result.content[0].text)
    return found


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    text = str(result.content[0].text)
    assert result.is_error and "Traceback" not in text
    return text


def test_the_tools_say_what_they_are_for() -> None:
    async def do(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        library = {
            "generate",
            "price",
            "rework",
            "texture",
            "change",
            "vary",
            "rebake",
            "check",
            "export",
            "jobs",
            "fetch",
        }
        scene = {"objects", "import", "place", "measure", "game_ready", "export"}
        assert set(tools) == library | {f"scene_{name}" for name in scene}
        for tool in tools.values():
            assert tool.description and len(tool.description) > 60
            assert "self" not in tool.input_schema["properties"] and "context" not in tool.input_schema["properties"]
        assert tools["generate"].input_schema["required"] == ["image"]
        assert "pric" in (client.instructions or "")

    talk(do)


def test_a_picture_becomes_an_asset_and_is_found_again(disc_file: Path, tmp_path: Path) -> None:
    told: list[tuple[float, str]] = []

    async def hear(share: float, total: float | None, message: str | None) -> None:
        told.append((share, message or ""))

    async def do(client: Client) -> None:
        arguments = {"image": str(disc_file), "settings": {**QUICK, "seed": 7}, "output": str(tmp_path / "a.glb")}
        result = await client.call_tool("generate", arguments, progress_callback=hear)
        assert not result.is_error, result.content
        made = result.structured_content or json.loads(result.content[0].text)
        assert made["is_draft"] and made["results"] == [{"file": str(tmp_path / "a.glb"), "seed": 7}]
        check_glb_file(tmp_path / "a.glb")
        assert [share for share, _ in told] == sorted(share for share, _ in told) and told[-1][0] > 50
        assert any(stage for _, stage in told)

        known = await call(client, "jobs")
        (job,) = known["jobs"]
        assert job["task_uuid"] == made["task_uuid"] and job["state"] == "ready" and known["spent_usd"]["day"] == 0
        fetched = await call(client, "fetch", task_uuid=made["task_uuid"])
        assert fetched["results"][0]["seed"] == 7
        lighter = await call(client, "rework", asset=made["task_uuid"], settings={"texture_size": 2048})
        assert lighter["task_uuid"] != made["task_uuid"]
        held = await call(client, "check", asset=made["task_uuid"], contract={"triangles": 10, "watertight": True})
        assert not held["keeps"] and [one["rule"] for one in held["broken"]] == ["triangles"]
        assert (await call(client, "check", asset=str(tmp_path / "a.glb"), contract={"triangles": 10**6}))["keeps"]

        address = f"trellis2://jobs/{made['task_uuid']}"
        provenance = json.loads((await client.read_resource(f"{address}/provenance")).contents[0].text)
        assert provenance[0]["seed"] == 7
        picture = (await client.read_resource(f"{address}/picture")).contents[0]
        assert Image.open(io.BytesIO(base64.b64decode(picture.blob))).width > 20

    talk(do)


def test_what_can_be_looked_up() -> None:
    async def do(client: Client) -> None:
        rows = json.loads((await client.read_resource("trellis2://settings")).contents[0].text)
        assert {"resolution", "texture_size", "seed"} <= {row["name"] for row in rows}
        assert all(row["description"] and row["allowed"] for row in rows)
        presets = json.loads((await client.read_resource("trellis2://presets")).contents[0].text)
        assert presets["Everyday (1024)"] == {"resolution": 1024, "texture_size": 2048}
        with pytest.raises(MCPError, match="There is no job"):
            await client.read_resource(f"trellis2://jobs/{uuid.uuid4()}/picture")

    talk(do)


def test_what_cannot_be_is_a_sentence(disc_file: Path, tmp_path: Path) -> None:
    async def do(client: Client) -> None:
        assert "none.png" in await refused(client, "generate", image=str(tmp_path / "none.png"))
        said = await refused(client, "generate", image=str(disc_file), settings={"resolution": 500})
        assert "resolution" in said and "512" in said
        assert "colour" in await refused(client, "generate", image=str(disc_file), settings={"colour": 1})
        assert "unity" in await refused(client, "check", asset="a.glb", contract="unty")
        assert "solidity" in await refused(client, "rebake", source="a.glb", output="b.glb", solidity="soft")
        assert "taskUUID" in await refused(client, "fetch", task_uuid="7")
        assert await refused(client, "rework", asset=str(tmp_path / "none.glb"))
        assert await refused(client, "export", asset=str(tmp_path / "none.glb"), output=str(tmp_path / "a.ply"))
        assert JobStore().recent() == []

    talk(do)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    with FaultServer() as server:
        monkeypatch.setenv(REMOTE_URL_VARIABLE, server.url)
        monkeypatch.setenv("RUNWARE_API_KEY", server.token)
        yield server


def paid(server: FaultServer) -> int:
    dry = "x-runware-dry-run"
    kinds = [task.get("taskType") for seen in server.log if dry not in seen.headers for task in seen.tasks]
    return kinds.count(SUBMIT)


def test_nothing_is_paid_without_the_users_word(
    disc_file: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tools.price_of

    def dear(*given: Any, **named: Any) -> Price:
        asked(*given, **named)  # the dry run, for which our own service says nought
        return Price(0.04, 0.04)

    monkeypatch.setattr(tools, "price_of", dear)

    async def do(client: Client) -> None:
        said = await refused(client, "generate", image=str(disc_file), where="remote")
        assert "confirm_price=" in said and paid(server) == 0
        price = float(said.partition("confirm_price=")[2].split()[0].rstrip("."))
        low = await refused(client, "generate", image=str(disc_file), where="remote", confirm_price=price / 2)
        assert "confirm_price=" in low and JobStore().recent() == [] and paid(server) == 0
        told = await call(client, "price", image=str(disc_file))
        assert told["high"] <= price + 1e-9
        made = await call(client, "generate", image=str(disc_file), where="remote", confirm_price=price)
        assert made["results"] and paid(server) == 1

    talk(do)


def test_a_glb_is_rebaked_in_a_process_of_its_own(disc_file: Path, tmp_path: Path) -> None:
    for package in ("scipy", "warp", "array_api_compat"):
        pytest.importorskip(package)

    async def do(client: Client) -> None:
        await call(client, "generate", image=str(disc_file), settings=QUICK, output=str(tmp_path / "a.glb"))
        sizes = {"faces": 600, "resolution": 48, "texture_size": 64}
        made = await call(client, "rebake", source=str(tmp_path / "a.glb"), output=str(tmp_path / "b.glb"), **sizes)
        assert check_glb_file(Path(made["file"])).triangles <= 600
        said = await refused(client, "rebake", source=str(tmp_path / "none.glb"), output=str(tmp_path / "c.glb"))
        assert "none.glb" in said and not (tmp_path / "c.glb").exists()

    talk(do)


def test_a_mesh_is_textured_a_part_changed_and_an_asset_varied(disc_file: Path, tmp_path: Path) -> None:
    async def do(client: Client) -> None:
        made = await call(
            client, "generate", image=str(disc_file), settings={**QUICK, "faces": 500}, output=str(tmp_path / "a.glb")
        )
        size = {"texture_size": 1024}
        textured = await call(
            client, "texture", mesh=str(tmp_path / "a.glb"), image=str(disc_file), settings=size, facing="back"
        )
        assert textured["is_draft"] and textured["results"][0]["file"] != made["results"][0]["file"]
        changed = await call(
            client,
            "change",
            asset=str(tmp_path / "a.glb"),
            region=[0, 0, -2, 2, 2, 2],
            seed=9,
            output=str(tmp_path / "b.glb"),
        )
        assert Path(changed["results"][0]["file"]).read_bytes() != (tmp_path / "a.glb").read_bytes()
        assert "nowhere" in await refused(
            client, "texture", mesh=made["results"][0]["file"], image=str(disc_file), facing="nowhere"
        )
        assert await refused(client, "change", asset=str(tmp_path / "a.glb"), region=[1, 2])
        varied = await call(client, "vary", asset=str(tmp_path / "a.glb"), strength=0.3, count=2, seed=9)
        assert [result["seed"] for result in varied["results"]] == [9, 10]
        assert "strength" in await refused(client, "vary", asset=str(tmp_path / "a.glb"), strength=2)

    talk(do)


def test_a_cancelled_call_cancels_the_job(disc_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def never_ends(image: Any, *, progress: Any, **options: Any) -> Any:
        begun.set()
        try:
            while not ended.wait(0.01):
                progress.check()
        except Cancelled:
            ended.set()
            raise

    monkeypatch.setattr(tools, "generate_asset", never_ends)

    async def do(client: Client) -> None:
        task = asyncio.create_task(client.call_tool("generate", {"image": str(disc_file)}))
        await asyncio.to_thread(begun.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, PATIENCE), "the work has heard of it"
        assert (await call(client, "jobs"))["jobs"] == [], "and the server goes on"

    talk(do)


@pytest.mark.once
def test_a_service_that_crashes_in_the_middle_of_a_call(disc_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends with a sentence, the job stays in the list under its taskUUID, and the server goes on."""
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", "abc")
    arguments = [sys.executable, "-m", "trellis_addon", "serve", "--port", "0", "--engine", "draft", "--token", "abc"]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    async def kill(share: float, total: float | None, message: str | None) -> None:
        if share > 0:
            process.kill()

    async def do(client: Client) -> None:
        asked = {"image": str(disc_file), "where": url, "settings": {"resolution": 1536, "number_results": 4}}
        result = await client.call_tool("generate", asked, progress_callback=kill)
        text = str(result.content[0].text)
        assert result.is_error and "cannot be reached" in text and "Traceback" not in text
        (job,) = (await call(client, "jobs"))["jobs"]
        assert len(job["task_uuid"]) == 36 and job["state"] not in ("ready", "failed"), "it can still be fetched"

    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        talk(do)
    finally:
        process.kill()
        process.communicate()


def test_over_pipes(disc_file: Path, tmp_path: Path) -> None:
    """As an assistant starts it: a process, its standard output nothing but the protocol."""
    import os

    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "trellis_addon", "mcp"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    async def do(client: Client) -> None:
        made = await call(client, "generate", image=str(disc_file), settings=QUICK, output=str(tmp_path))
        check_glb_file(Path(made["results"][0]["file"]))

    talk(do, command)


def test_over_http_only_with_the_token() -> None:
    app = http_app(make_server(), "secret")

    async def ask(headers: dict[str, str]) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
            return (await client.post("/mcp", json={}, headers=headers)).status_code

    assert asyncio.run(ask({})) == 401
    assert asyncio.run(ask({"Authorization": "Bearer wrong"})) == 401


def test_without_the_package_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from trellis_addon.cli import main

    for name in [name for name in sys.modules if name == "mcp" or name.startswith("mcp.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    assert main(["mcp"]) == 1
    assert "install it with pip" in capsys.readouterr().err
