"""The description of what administrators ask for and are answered (`administration.py`)."""

from __future__ import annotations

from ..people.caller import PRIORITIES, ROLES
from ..protocol import JsonObject
from .schema import COUNT, TEXT, open_object, refused, response

_NUMBER: JsonObject = {"type": "integer", "minimum": 1, "maximum": 10**14}


def administration_paths() -> JsonObject:
    """The addresses of `edge/administration.py`, and what they answer."""
    found: JsonObject = {}
    for method, path, summary, schema in (
        ("get", "", "Everything that a first look needs", "Overview"),
        ("get", "/people", "Who may ask, and what of theirs waits and runs", "People"),
        ("get", "/tasks", "A page of tasks, the last that came in first", "Tasks"),
        ("get", "/errors", "What went wrong last, without secrets", "Troubles"),
        ("post", "/tasks/{uuid}/cancel", "Stop anybody's task", "Cancelled"),
        ("post", "/people/{name}/cancel", "Stop all that somebody has running and waiting", "Done"),
        ("post", "/people/{name}/revoke", "Have a token count no more", "Done"),
        ("post", "/pause", "Let nothing begin; tasks are taken in all the same", "Switches"),
        ("post", "/resume", "Take back pause and drain", "Switches"),
        ("post", "/drain", "Take no tasks in; what was taken in is finished", "Switches"),
    ):
        operation: JsonObject = {
            "operationId": f"admin{path.replace('/', '.').replace('{', '').replace('}', '')}",
            "summary": summary,
            "description": "For administrators.",
            "responses": {"200": response(summary + ".", schema), **refused(401, 403)},
        }
        if "{" in path:
            name = path[path.index("{") + 1 : path.index("}")]
            told = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            operation["parameters"] = [told]
            operation["responses"] |= refused(400, 404)
        if path == "/tasks":
            operation["parameters"] = [
                {"name": "person", "in": "query", "schema": TEXT},
                {"name": "state", "in": "query", "schema": {"enum": ["unfinished"]}},
                {"name": "before", "in": "query", "description": "`next` of a page", "schema": _NUMBER},
                {"name": "limit", "in": "query", "schema": _NUMBER},
            ]
            operation["responses"] |= refused(400)
        found[f"/v1/admin{path}"] = {method: operation}
    return found


def administration_schemas() -> dict[str, JsonObject]:
    """What administrators are answered."""
    memory = open_object({"total": COUNT, "free": COUNT}, ["total", "free"])
    person = open_object(
        {
            "name": TEXT,
            "hasToken": {"type": "boolean", "description": "false of whoever has tasks here and no token any more."},
            "isValid": {"type": "boolean", "description": "false after its last day."},
            "role": {"enum": list(ROLES)},
            "share": {"type": "number"},
            "priority": {"enum": list(PRIORITIES)},
            "dailyLimit": {"type": ["integer", "null"]},
            "end": {"type": ["string", "null"], "description": "The last day, such as 2027-03-31."},
            "waiting": {**COUNT, "description": "Results."},
            "running": {**COUNT, "description": "Results."},
            "unfinished": {**COUNT, "description": "Tasks."},
            "usedToday": {**COUNT, "description": "Results."},
        },
        ["name", "hasToken", "waiting", "running", "unfinished", "usedToday"],
    )
    trouble = open_object(
        {"time": {"type": "number"}, "message": TEXT, "code": TEXT, "taskUUID": TEXT, "person": TEXT},
        ["time", "message"],
    )
    result = open_object(
        {
            "state": {"enum": ["processing", "succeeded", "failed", "cancelled"]},
            "progress": {**COUNT, "maximum": 100},
            "stage": TEXT,
            "code": TEXT,
            "message": TEXT,
        },
        ["state"],
    )
    task = open_object(
        {
            "taskUUID": TEXT,
            "person": TEXT,
            "client": TEXT,
            "priority": {"enum": list(PRIORITIES)},
            "engine": TEXT,
            "state": {"enum": ["waiting", "running", "succeeded", "failed", "cancelled"]},
            "accepted": {"type": "number", "description": "Seconds since 1970."},
            "finished": {"type": ["number", "null"]},
            "results": _list(result),
        },
        ["taskUUID", "person", "state", "results"],
    )
    switches = {"paused": {"type": "boolean"}, "draining": {"type": "boolean"}, "unfinished": COUNT}
    device = open_object({"name": TEXT, "model": TEXT, "total": COUNT, "free": COUNT}, ["name"])
    disk = {"total": COUNT, "free": COUNT, "files": COUNT, "quota": {"type": ["integer", "null"]}}
    return {
        "Overview": open_object(
            {
                "version": TEXT,
                "pid": COUNT,
                "engine": TEXT,
                **switches,
                "obstacle": {**TEXT, "description": "Why no tasks are taken in; empty where they are."},
                "workers": COUNT,
                "running": {**COUNT, "description": "Results."},
                "waiting": {**COUNT, "description": "Results."},
                "people": _list(person),
                "devices": _list(device),
                "memory": memory,
                "disk": open_object(disk, list(disk)),
                "errors": _list(trouble),
            },
            ["paused", "draining", "waiting", "running", "people", "devices", "memory", "disk", "errors"],
        ),
        "People": open_object({"people": _list(person)}, ["people"]),
        "Tasks": open_object({"tasks": _list(task), "next": {"type": ["integer", "null"]}}, ["tasks", "next"]),
        "Troubles": open_object({"errors": _list(trouble)}, ["errors"]),
        "Cancelled": open_object({"taskUUID": TEXT, "cancelled": {"type": "boolean"}}, ["taskUUID", "cancelled"]),
        "Done": open_object({"name": TEXT, "cancelled": COUNT, "revoked": {"type": "boolean"}}, ["name"]),
        "Switches": open_object(switches, list(switches)),
    }


def _list(schema: JsonObject) -> JsonObject:
    return {"type": "array", "items": schema}
