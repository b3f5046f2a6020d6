"""The service's own description (OpenAPI 3.1), made of the same definitions that requests are checked against."""

from __future__ import annotations

from ...core.version import VERSION
from ...task.settings import FIELDS, OWN_FIELDS, TASK_TYPE, Field
from ...task.views import MOST_VIEWS
from ..handshake import CLIENT_HEADER, PRIORITY_HEADER
from ..people.caller import PRIORITIES, ROLES
from ..protocol import BODY_LIMIT, STATUS, JsonObject
from .openapi_administration import administration_paths, administration_schemas
from .schema import COUNT as _COUNT
from .schema import TEXT as _TEXT
from .schema import open_object as _open
from .schema import ref as _ref
from .schema import refused as _refused
from .schema import response as _response

_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
_UUID: JsonObject = {"type": "string", "format": "uuid"}
_IMAGE: JsonObject = {
    "type": "string",
    "minLength": 1,
    "description": "A picture (PNG, JPEG or WebP): data URI, Base64 or URL.",
    "examples": [_PIXEL],
}

_MEDIA: JsonObject = {**_IMAGE, "description": f"{_IMAGE['description'][:-1]}, or a safetensors file of latents."}


def describe() -> JsonObject:
    """The description as a JSON object."""
    tasks = _tasks()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "TRELLIS.2 for Blender: the service",
            "version": VERSION,
            "description": "The Runware task protocol, answered by an engine on this machine.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            "/v1": {"post": _post(), "get": _about("about")},
            "/health": {"get": _about("health")},
            "/healthz": {"get": _probe("alive", "That the process answers", 200)},
            "/readyz": {"get": _probe("ready", "Whether tasks can be taken in", 200, 503)},
            "/metrics": {"get": _metrics()},
            **administration_paths(),
            "/files/{secret}/{name}": {"get": _file()},
            "/openapi.json": {"get": _description()},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Task": {
                    "oneOf": [_ref(f"task.{name}") for name in tasks],
                    "discriminator": {
                        "propertyName": "taskType",
                        "mapping": {name: f"#/components/schemas/task.{name}" for name in tasks},
                    },
                },
                **{f"task.{name}": schema for name, schema in tasks.items()},
                **_replies(),
                **administration_schemas(),
            },
        },
    }


def _tasks() -> dict[str, JsonObject]:
    """What can be asked for, by task type."""
    one_task = {"taskUUID": _UUID}
    return {
        TASK_TYPE: _inference(),
        "getResponse": _task("getResponse", "What has come of a task by now.", one_task, ["taskUUID"]),
        "getTaskDetails": _task("getTaskDetails", "A task's request and response.", one_task, ["taskUUID"]),
        "cancelTask": _task("cancelTask", "Stop a task (this service only).", one_task, ["taskUUID"]),
        "imageUpload": _task("imageUpload", "Keep a picture.", {**one_task, "image": _IMAGE}, ["image"]),
        "cutOutSubject": _task(
            "cutOutSubject",
            "Keep a picture with its subject cut out, as a task would do it (this service only).",
            {
                **one_task,
                "image": _IMAGE,
                "subject": {
                    "description": "Left, top, right and bottom of a box around the subject, in pixels of the upright "
                    'picture; or "whole", which cuts nothing out.',
                    "anyOf": [
                        {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                        {"const": "whole"},
                    ],
                },
            },
            ["image"],
        ),
        "mediaStorage": _task(
            "mediaStorage",
            "Keep a picture or latents (`media`), or delete them (`mediaUUID`).",
            {**one_task, "operation": {"enum": ["upload", "delete"]}, "media": _MEDIA, "mediaUUID": _UUID},
            ["operation"],
        ),
        "accountManagement": _task(
            "accountManagement",
            "The account, which costs nothing here.",
            {**one_task, "operation": {"const": "getDetails"}},
            ["operation"],
        ),
        "authentication": _task(
            "authentication",
            "Show the token, as the first task, in place of the header.",
            {"apiKey": _TEXT},
            ["apiKey"],
        ),
        "ping": _task("ping", "Whether the service answers.", {**one_task, "ping": {"type": "boolean"}}, []),
    }


def _inference() -> JsonObject:
    """The task as `settings.FIELDS` has it, with what only this service knows, nested as the paths say."""
    schema = _object("Make an asset of a picture, or go on from the latents of an earlier one.")
    for field in (*FIELDS, *OWN_FIELDS):
        *parents, last = field.path.split(".")
        place = schema
        for parent in parents:
            place = place["properties"].setdefault(parent, _object())
        place["properties"][last] = _value(field)
        if field.required:
            place["required"] = [*place.get("required", ()), last]
    schema["required"].append("inputs")
    inputs = schema["properties"]["inputs"]
    inputs["anyOf"] = [{"required": inputs.pop("required")}, {"required": ["latents"]}]
    return schema


def _value(field: Field) -> JsonObject:
    found: JsonObject = {
        "type": {int: "integer", float: "number", bool: "boolean", str: "string", dict: "object"}[field.type],
        "title": field.label,
        "description": f"{field.description} ({field.allowed}).",
    }
    if field.choices:
        found["enum"] = list(field.choices)
    elif field.uri:
        found |= {"format": "uri", "pattern": "^https?://"}
    elif field.path.endswith("UUID"):
        found |= _UUID
    elif field.type is str:
        found["minLength"] = 1
    elif field.type is dict:
        found |= {"additionalProperties": {**_IMAGE}, "maxProperties": MOST_VIEWS}
    if field.path == "inputs.image":
        found["examples"] = [_PIXEL]
    for key, bound in (("minimum", field.minimum), ("maximum", field.maximum), ("default", field.default)):
        if bound is not None:
            found[key] = bound
    if field.step and not int(field.minimum or 0) % field.step:
        found["multipleOf"] = field.step
    return found


def _replies() -> dict[str, JsonObject]:
    """What is answered. A reply may hold more than is named here."""
    span = _open({"credits": {"type": "number"}, "requests": _COUNT})
    file = _open({"uuid": _UUID, "url": {"type": "string", "format": "uri"}}, ["uuid", "url"])
    return {
        "Reply": {
            **_open({"data": {"type": "array", "items": _ref("Item")}, "errors": _ref("Errors")}, ["data"]),
            "description": "`errors` is there only with errors in it; both name the task that they belong to.",
        },
        "Failure": _open({"data": {"type": "array", "maxItems": 0}, "errors": _ref("Errors")}, ["errors"]),
        "Errors": {"type": "array", "minItems": 1, "items": _ref("Error")},
        "Error": _open(
            {
                "code": _TEXT,
                "message": {**_TEXT, "description": "One sentence: the fact, and what can be done."},
                "template": {**_TEXT, "description": "What the message is made of, to say it in another language."},
                "values": {"type": "object", "description": "What stands for the names in the template."},
                "parameter": {**_TEXT, "description": "The field that is wrong, such as settings.resolution."},
                "type": _TEXT,
                "allowedValues": {"type": "array"},
                "min": {"type": "number"},
                "max": {"type": "number"},
                "multiplier": {"type": "number"},
                "taskType": _TEXT,
                "taskUUID": _TEXT,
                "resultIndex": _COUNT,
                "status": {"const": "error"},
            },
            ["code", "message"],
        ),
        "Item": _open(
            {
                "taskType": _TEXT,
                "taskUUID": _TEXT,
                "status": {"enum": ["processing", "success"]},
                "progress": {**_COUNT, "maximum": 100},
                "stage": {**_TEXT, "description": "The engine's word for what it does just now."},
                "stageTemplate": {"type": "object", "description": "What that is made of, where it has values."},
                "preview": {
                    **_TEXT,
                    "description": "What it looks like by now: a small PNG as a data URI, once there is one.",
                },
                "resultIndex": {**_COUNT, "description": "Which of several results."},
                "seed": _COUNT,
                "cost": {"const": 0},
                "engine": {**_TEXT, "description": "The model that really made it."},
                "latents": {
                    **file,
                    "description": "What it was decoded from, for inputs.latents; not every engine has it.",
                },
                "performance": _open(
                    {
                        "seconds": {"type": "number", "minimum": 0},
                        "device": _TEXT,
                        "peakMemory": {**_COUNT, "description": "Bytes of the device."},
                        "resolution": {**_COUNT, "description": "That was really made."},
                    },
                    ["seconds"],
                ),
                "notes": {
                    "type": "array",
                    "items": _TEXT,
                    "description": "Sentences about what was done otherwise than asked.",
                },
                "noteTemplates": {
                    "type": "array",
                    "items": {"type": "object"},
                    "description": "The `template` and `values` of each note that has some.",
                },
                "outputs": _open({"files": {"type": "array", "items": file}}, ["files"]),
                "request": {"type": "array", "items": {"type": "object"}},
                "response": {"type": "object"},
                "cancelled": {"type": "boolean"},
                "operation": _TEXT,
                "imageUUID": _UUID,
                "imageURL": _TEXT,
                "mediaUUID": _UUID,
                "mediaURL": _TEXT,
                "cutout": {**_TEXT, "description": "How the subject was cut out: alpha, studio, marked, whole, later."},
                "width": _COUNT,
                "height": _COUNT,
                "warnings": {"type": "array", "items": _TEXT},
                "warningTemplates": {"type": "array", "items": {"type": "object"}},
                "problem": _TEXT,
                "connectionSessionUUID": _UUID,
                "pong": {"const": True},
                "organizationName": _TEXT,
                "balance": _open({"amount": {"const": 0}, "freeBalance": {"const": 0}, "currency": _TEXT}),
                "usage": {"type": "object", "additionalProperties": span},
                "note": _TEXT,
            },
            ["taskType"],
        ),
        "About": _open(
            {
                "name": _TEXT,
                "version": _TEXT,
                "pid": {**_COUNT, "description": "The number of its process, on its machine."},
                "protocol": {**_COUNT, "description": "The edition of what this service has beyond the protocol."},
                "engine": _TEXT,
                "models": {"type": "array", "items": _TEXT},
                "devices": {
                    "type": "array",
                    "items": _TEXT,
                    "description": "What TRELLIS.2 runs on; empty until the first task asks for it.",
                },
                "workers": {**_COUNT, "description": "Results that are made at the same time."},
                "unfinished": {**_COUNT, "description": "Tasks that are not done yet."},
                "person": {**_TEXT, "description": "Whose token was shown."},
                "role": {"enum": list(ROLES)},
                "maskModel": {
                    "type": "boolean",
                    "description": "Whether pictures without transparency or a plain background are cut out here.",
                },
            },
            ["name", "version", "protocol", "engine", "models"],
        ),
    }


def _post() -> JsonObject:
    codes: dict[int, list[str]] = {400: ["every other refusal"]}
    for code, status in STATUS.items():
        codes.setdefault(status, []).append(code)
    return {
        "operationId": "tasks",
        "summary": "Do tasks",
        "description": f"At most {BODY_LIMIT // 2**20} MB. The status is that of a refusal where nothing was accepted.",
        "parameters": [
            {
                "name": "X-Runware-Dry-Run",
                "in": "header",
                "description": "1: check the tasks, do nothing.",
                "schema": {"enum": ["0", "1"]},
            },
            {
                "name": CLIENT_HEADER,
                "in": "header",
                "description": "Names one of several programs of a person, which take turns.",
                "schema": {"type": "string", "maxLength": 64},
            },
            {
                "name": PRIORITY_HEADER,
                "in": "header",
                "description": "batch: these tasks wait until nobody waits for an interactive one.",
                "schema": {"enum": list(PRIORITIES)},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"anyOf": [{"type": "array", "minItems": 1, "items": _ref("Task")}, _ref("Task")]}
                }
            },
        },
        "responses": {
            "200": _response("What each task is answered with.", "Reply"),
            **{str(status): _response(", ".join(codes[status]), "Failure") for status in sorted(codes)},
        },
    }


def _about(name: str) -> JsonObject:
    return {
        "operationId": name,
        "summary": "Who answers here",
        "responses": {"200": _response("The service.", "About"), **_refused(401, 403)},
    }


def _probe(name: str, summary: str, *statuses: int) -> JsonObject:
    properties = {"status": {"type": "string"}, "reason": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["status"]}
    words = {200: "It can.", 503: "It cannot at this moment."}
    responses: JsonObject = {
        str(status): {"description": words[status], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }
    return {"operationId": name, "summary": summary, "security": [], "responses": {**responses, **_refused(403)}}


def _metrics() -> JsonObject:
    shown = {"description": "The numbers.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "operationId": "metrics",
        "summary": "What the service does in numbers, for Prometheus; an administrator's token is needed",
        "responses": {"200": shown, **_refused(401, 403, 501)},
    }


def _file() -> JsonObject:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in ("secret", "name")
    ]
    kinds = ("model/gltf-binary", "image/png", "image/jpeg", "image/webp", "application/vnd.safetensors")
    content: JsonObject = {kind: {} for kind in kinds}
    # The server's own words for a Range header that cannot be followed.
    plain = {"description": "The range is none of this file.", "content": {"text/plain": {}}}
    return {
        "operationId": "file",
        "summary": "A result or an upload, by the address that a reply gave",
        "security": [],
        "parameters": parameters,
        "responses": {
            "200": {"description": "The file.", "content": content},
            "206": {"description": "The part that the Range header asked for.", "content": content},
            "400": plain,
            "416": plain,
            **_refused(403, 404),
        },
    }


def _description() -> JsonObject:
    shown = {"description": "This description.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"operationId": "description", "security": [], "responses": {"200": shown, **_refused(403)}}


def _task(name: str, description: str, properties: JsonObject, required: list[str]) -> JsonObject:
    """A task that passes over what it does not know, as the platform's small ones do."""
    return {**_open({"taskType": {"const": name}, **properties}, ["taskType", *required]), "description": description}


def _object(description: str = "") -> JsonObject:
    found: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
    return {**found, "description": description} if description else found
