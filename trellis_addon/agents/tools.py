"""What an assistant can do: each tool is a few lines over the library's own function.

Whatever costs money is done only once its price has been confirmed: the first call answers with the price of a dry run,
and is to be made again with it. The spending limit holds here as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError

from ..api import fetch as fetch_asset
from ..api import generate as generate_asset
from ..api import price as price_of
from ..core.progress import Progress
from ..jobs.job import REMOTE, Asset, notes_in
from ..jobs.money import PERIODS, cost_of, limits, spent
from ..jobs.store import JobStore
from .work import in_thread

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

_MOST_JOBS = 100


def add_tools(server: MCPServer, backend: str, key: str, allow_network: bool) -> None:
    """Give the server its tools; `backend` is where assets are made unless a call says otherwise."""
    tools = _Tools(backend, key, allow_network)
    for tool in (
        tools.generate,
        tools.price,
        tools.rework,
        tools.texture,
        tools.change,
        tools.vary,
        tools.rebake,
        tools.check,
        tools.export,
        tools.jobs,
        tools.fetch,
    ):
        server.tool()(tool)


@dataclass(frozen=True)
class _Tools:
    """Each method is a tool, its docstring what the assistant reads."""

    backend: str
    key: str
    allow_network: bool

    async def generate(
        self,
        context: Context,
        image: str,
        settings: dict[str, Any] | None = None,
        name: str = "",
        output: str = "",
        subject: list[float] | None = None,
        where: str = "",
        confirm_price: float | None = None,
    ) -> dict[str, Any]:
        """Make a textured 3D asset (GLB) of one picture of one object.

        image: path, web address, data URI or Base64 of a PNG, JPEG or WebP; best with the subject cut out by
        transparency. settings: as in the resource trellis2://settings, for example {"resolution": 1024,
        "texture_size": 2048, "seed": 7}; leave out what need not be set. output: a file name ending in .glb, or a
        folder; without it the file stays in the jobs' folder. subject: [left, top, right, bottom] in pixels around the
        subject, where the background is not plain. where: "draft" (a quick relief without any model), "local" (a GPU
        of this machine), "remote" (Runware, paid), or the address of a service. confirm_price: for what is paid, the
        price in US dollars that the user has agreed to; without it the price is told and nothing is made.
        """
        chosen = where or self.backend
        given: Any = tuple(subject) if subject else None

        def do(progress: Progress) -> dict[str, Any]:
            if chosen == REMOTE:
                told = price_of(image, backend=chosen, key=self.key, subject=given, settings=settings or {})
                _demand_consent(told.high, confirm_price)
            made = generate_asset(
                image,
                backend=chosen,
                key=self.key,
                name=name,
                subject=given,
                output=output or None,
                settings=settings or {},
                progress=progress,
                allow_network=self.allow_network,
            )
            return described(made)

        return await in_thread(context, do)

    async def price(
        self, context: Context, image: str, settings: dict[str, Any] | None = None, where: str = REMOTE
    ) -> dict[str, Any]:
        """What an asset would cost, in US dollars; makes nothing. The picture is sent: the service checks it."""

        def do(progress: Progress) -> dict[str, Any]:
            found = price_of(image, backend=where, key=self.key, settings=settings or {})
            return {"low": found.low, "high": found.high, "words": str(found), **_spending()}

        return await in_thread(context, do)

    async def rework(
        self,
        context: Context,
        asset: str,
        settings: dict[str, Any] | None = None,
        texture_again: bool = False,
        output: str = "",
    ) -> dict[str, Any]:
        """Finish an asset again with other settings, or texture it again, without generating its shape anew.

        asset: its GLB (with the provenance beside it) or its taskUUID. settings: decimation_target, texture_size,
        remesh, texture_format; with texture_again also seed and tex_slat_steps. Assets of the remote API keep nothing
        to go on from: use rebake for those.
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..stages import rework as again

            made = again(
                _asset(asset),
                texture_again=texture_again,
                output=output or None,
                key=self.key,
                settings=settings or {},
                progress=progress,
                allow_network=self.allow_network,
            )
            return described(made)

        return await in_thread(context, do)

    async def texture(
        self,
        context: Context,
        mesh: str,
        image: str,
        facing: str | float = "front",
        uvs: str = "auto",
        settings: dict[str, Any] | None = None,
        output: str = "",
        where: str = "",
    ) -> dict[str, Any]:
        """Give a mesh that is there the look of a picture; its form, names, transforms and UV maps stay.

        mesh: a GLB. facing: where the picture shows it from, front, back, left, right or degrees counter-clockwise from
        above. uvs: "auto", "keep" or "new". where: "draft" (projects the picture), "local" or the address of a service;
        the remote API textures no mesh.
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..meshes import texture as textured

            made = textured(
                mesh,
                image,
                facing=facing,
                uvs=uvs,
                backend=where or self.backend,
                output=output or None,
                key=self.key,
                settings=settings or {},
                progress=progress,
                allow_network=self.allow_network,
            )
            return described(made)

        return await in_thread(context, do)

    async def change(
        self,
        context: Context,
        asset: str,
        region: list[float],
        image: str = "",
        seed: int | None = None,
        output: str = "",
        where: str = "",
    ) -> dict[str, Any]:
        """Make a part of an asset anew, of another picture or with another seed; what lies outside of it stays.

        asset: its GLB or its taskUUID; one whose latents are kept on this machine, or a draft. region: [x0, y0, z0, x1,
        y1, z1], a box, or [x, y, z, radius], a ball, in the asset's units: x right, y up, front +z. image: without one
        it is the picture that the asset was made from.
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..stages import change as changed

            made = changed(
                _asset(asset),
                region,
                image=image or None,
                seed=seed,
                backend=where,
                output=output or None,
                key=self.key,
                progress=progress,
                allow_network=self.allow_network,
            )
            return described(made)

        return await in_thread(context, do)

    async def vary(
        self,
        context: Context,
        asset: str,
        strength: float = 0.5,
        count: int = 1,
        image: str = "",
        seed: int | None = None,
        output: str = "",
        where: str = "",
    ) -> dict[str, Any]:
        """Make relatives of an asset, which stays as it is: variants that keep what it is like, near to it or far.

        asset: as for change. strength: how far from it, 0 is the asset itself, 1 as free as another seed. count: 1 to
        4. image: without one they are of the picture that the asset was made from.
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..stages import vary as varied

            made = varied(
                _asset(asset),
                strength,
                count=count,
                image=image or None,
                seed=seed,
                backend=where,
                output=output or None,
                key=self.key,
                progress=progress,
                allow_network=self.allow_network,
            )
            return described(made)

        return await in_thread(context, do)

    async def check(self, context: Context, asset: str, contract: str | dict[str, Any]) -> dict[str, Any]:
        """Hold a GLB against a contract: what a game engine, a printer or a production asks of an asset.

        contract: "unreal", "unity", "godot", "print", "film", the path of a JSON file of rules, or the rules, such as
        {"triangles": 20000, "height": [0.2, 3], "watertight": true}.
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..contract.check import check as hold
            from ..contract.contract import find_contract
            from ..contract.glb_facts import glb_facts

            rules = find_contract(contract)
            facts = glb_facts(_glb(asset))
            found = hold(facts, rules)
            return {
                "keeps": not found,
                "broken": [{"rule": one.rule, "sentence": str(one.sentence)} for one in found],
                "height": facts.height,
                "triangles": facts.surface.triangles,
            }

        return await in_thread(context, do)

    async def jobs(self, context: Context, limit: int = 20, name: str = "") -> dict[str, Any]:
        """The newest jobs with state, cost and files, and what was spent; name: a part of the asset's name."""

        def do(progress: Progress) -> dict[str, Any]:
            found = JobStore().recent(max(1, min(limit, _MOST_JOBS)), name)
            return {"jobs": [_job(job) for job in found], **_spending()}

        return await in_thread(context, do)

    async def fetch(self, context: Context, task_uuid: str, where: str = "") -> dict[str, Any]:
        """The asset of a task by its taskUUID, from this machine or the service; asked for, never paid again."""

        def do(progress: Progress) -> dict[str, Any]:
            job = JobStore().get(task_uuid)
            return described(
                fetch_asset(task_uuid, backend=where or (job.backend if job else self.backend), key=self.key)
            )

        return await in_thread(context, do)

    async def export(self, context: Context, asset: str, output: str, overwrite: bool = False) -> dict[str, Any]:
        """Write what an asset was decoded from: NAME.vxz or .npz its voxels, NAME.ply or .glb its dense mesh."""

        def do(progress: Progress) -> dict[str, Any]:
            from ..stages import export_stages

            return {"file": str(export_stages(_asset(asset), output, overwrite=overwrite, progress=progress))}

        return await in_thread(context, do)

    async def rebake(
        self,
        context: Context,
        source: str,
        output: str,
        faces: int = 50_000,
        resolution: int = 256,
        texture_size: int = 2048,
        solidity: str = "automatic",
    ) -> dict[str, Any]:
        """Make one clean, closed, freshly unwrapped and textured asset of any GLB, within a number of triangles.

        solidity: "automatic", "solid" (close every part) or "sheets" (keep open parts open).
        """

        def do(progress: Progress) -> dict[str, Any]:
            from ..runtime.child import finishing_packages, run_child

            packages = finishing_packages()
            arguments = [source, "--output", output, "--faces", str(faces), "--resolution", str(resolution)]
            arguments += ["--texture-size", str(texture_size), "--report"]
            arguments += [] if solidity == "automatic" else [f"--{solidity}"]
            problem = run_child(
                ".geometry.finish.rebake", arguments, progress.check, progress.update, packages=packages
            )
            if problem:
                raise ToolError(problem)
            return {"file": output}

        if solidity not in ("automatic", "solid", "sheets"):
            raise ToolError(f"solidity: {solidity} cannot be used; give automatic, solid or sheets.")
        return await in_thread(context, do)


def described(asset: Asset) -> dict[str, Any]:
    """An asset in the words of a tool's answer: files are paths of this machine."""
    each = asset.variations or (asset,)
    return {
        "task_uuid": str(asset.provenance.get("task_uuid", "")),
        "name": asset.name,
        "engine": asset.engine,
        "is_draft": asset.engine.startswith("draft:"),
        "results": [{"file": str(one.path), "seed": one.seed} for one in each],
        "notes": [str(note) for note in notes_in(asset.provenance)],
        "cost_usd": asset.provenance.get("cost_usd"),
    }


def _demand_consent(price: float, confirmed: float | None) -> None:
    if confirmed is None or confirmed < price:
        raise ToolError(
            f"This is paid: up to {price:.4f} US dollars. Ask the user, and call again with confirm_price={price:.4f}. "
            f"Nothing was made."
        )


def _job(job: Any) -> dict[str, Any]:
    found = {"task_uuid": job.uuid, "name": job.name, "state": str(job.state), "where": job.backend}
    found |= {"files": [str(asset.path) for asset in job.assets], "cost": str(cost_of(job)), "error": str(job.error)}
    return found


def _spending() -> dict[str, Any]:
    store = JobStore()
    allowed = limits(store)
    return {"spent_usd": {period: spent(store, period) for period in PERIODS}, "limits_usd": dict(allowed)}


def _asset(text: str) -> Asset | str:
    """A job's asset by its taskUUID, else the path."""
    job = JobStore().get(text) if len(text) == 36 else None
    return job.assets[0] if job is not None and job.assets else text


def _glb(text: str) -> Path:
    found = _asset(text)
    return found.path if isinstance(found, Asset) else Path(found)
