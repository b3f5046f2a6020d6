"""What an assistant can look up: the settings, the presets, and of each job its provenance and its picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..jobs.job import Job
from ..jobs.store import JobStore
from ..task.presets import shipped
from ..task.settings import SETTABLE

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def add_resources(server: MCPServer) -> None:
    """Give the server its resources."""

    @server.resource("trellis2://settings", mime_type="application/json")
    def settings() -> str:
        """Every setting of a task by name: what it does, what is allowed, its default."""
        rows: list[dict[str, Any]] = [
            {
                "name": field.name,
                "description": field.description,
                "allowed": field.allowed,
                "default": field.effective_default,
            }
            for field in SETTABLE
        ]
        return json.dumps(rows, ensure_ascii=False, indent=1, default=str)

    @server.resource("trellis2://presets", mime_type="application/json")
    def presets() -> str:
        """Settings under a name, for quick looks, for every day, and for the finest."""
        return json.dumps({name: dict(found) for name, found in shipped().items()}, ensure_ascii=False, indent=1)

    @server.resource("trellis2://jobs/{task_uuid}/provenance", mime_type="application/json")
    def provenance(task_uuid: str) -> str:
        """Where an asset came from: picture, settings, seed, engine, cost."""
        found = [asset.provenance for asset in _job(task_uuid).assets]
        return json.dumps(found, ensure_ascii=False, indent=1, default=str)

    @server.resource("trellis2://jobs/{task_uuid}/picture", mime_type="image/png")
    def picture(task_uuid: str) -> bytes:
        """The picture that a job was made of, as it was used, small."""
        return _job(task_uuid).thumbnail.read_bytes()


def _job(task_uuid: str) -> Job:
    from mcp.server.mcpserver.exceptions import ResourceNotFoundError

    job = JobStore().get(task_uuid)
    if job is None or not job.thumbnail.is_file():
        raise ResourceNotFoundError(f"There is no job {task_uuid} here.")
    return job
