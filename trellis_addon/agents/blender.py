"""The open scene of a Blender on this machine, as tools: where its preferences let assistants in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context

from ..core.doors import Door, doors
from ..core.errors import TrellisError
from ..core.progress import Progress
from .work import in_thread

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_PATIENCE = 660.0  # seconds: a little longer than Blender's own


def add_blender_tools(server: MCPServer) -> None:
    """Give the server what can be done in an open scene."""
    for tool in (
        scene_objects,
        scene_import,
        scene_place,
        scene_measure,
        scene_game_ready,
        scene_export,
    ):
        server.tool()(tool)


async def scene_objects(context: Context) -> dict[str, Any]:
    """What stands in the scene of the user's Blender: the mesh objects with their places, sizes in metres and faces."""
    return await _ask(context, "objects")


async def scene_import(
    context: Context,
    path: str,
    name: str = "",
    height: float | None = 1.0,
    location: list[float] | None = None,
) -> dict[str, Any]:
    """Bring a GLB into the scene of the user's Blender as one object that stands on the ground.

    path: as `generate` answered. height: in metres; null keeps the file's own. location: [x, y, z] of its bottom
    centre in Blender's units; without it the 3D cursor's. One undo step.
    """
    return await _ask(context, "import_glb", path=path, name=name, height=height, location=location)


async def scene_place(
    context: Context,
    name: str,
    location: list[float] | None = None,
    turn_degrees: float | None = None,
    height: float | None = None,
    on_ground: bool = False,
) -> dict[str, Any]:
    """Move, turn (about Z) or size (height in metres) an object of the scene, or stand it on the ground."""
    given = {"location": location, "turn_degrees": turn_degrees, "height": height, "on_ground": on_ground}
    return await _ask(context, "place", name=name, **given)


async def scene_measure(context: Context, name: str, contract: str = "") -> dict[str, Any]:
    """Triangles, size, textures and soundness of an object; with a contract (a preset's name or a file) what fails."""
    return await _ask(context, "measure", name=name, contract=contract)


async def scene_game_ready(context: Context, name: str, budget: str = "mobile") -> dict[str, Any]:
    """Have an object brought within a budget: hero, prop, mobile or background. It goes on while the user works."""
    return await _ask(context, "game_ready", name=name, budget=budget)


async def scene_export(
    context: Context, names: list[str], path: str, engine: str = "", overwrite: bool = False
) -> dict[str, Any]:
    """Write objects of the scene to a .glb, .fbx, .usd, .obj, .stl or .3mf; engine: unreal, unity or godot."""
    return await _ask(context, "export", names=names, path=path, engine=engine, overwrite=overwrite)


async def _ask(context: Context, tool: str, **arguments: Any) -> dict[str, Any]:
    def do(progress: Progress) -> dict[str, Any]:
        return ask(tool, arguments)

    return await in_thread(context, do)


def ask(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the newest Blender that lets assistants in answers; raises `TrellisError`, also where there is none."""
    import httpx

    from ..transfer.client import make_client

    for door in doors():
        try:
            with make_client(proxies=False, timeout=_PATIENCE) as client:
                return _answer(client, door, tool, arguments)
        except httpx.ConnectError:
            continue  # it came down, and its word is still there
        except httpx.HTTPError as error:
            raise TrellisError("Blender did not answer ({reason}).", reason=type(error).__name__) from error
    raise TrellisError(
        "No Blender lets assistants in: open it, and switch on Preferences > Add-ons > TRELLIS.2 > Let Assistants In."
    )


def _answer(client: Any, door: Door, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    reply = client.post(
        f"http://127.0.0.1:{door.port}/",
        content=json.dumps({"tool": tool, "arguments": arguments}),
        headers={"Authorization": f"Bearer {door.token}", "Content-Type": "application/json"},
    )
    body = reply.json()
    if "error" in body:
        raise TrellisError("{reason}", reason=body["error"])
    result: dict[str, Any] = body["result"]
    return result
