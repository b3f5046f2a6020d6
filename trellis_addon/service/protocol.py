"""The protocol as data: a body becomes a list of tasks, answers and errors become a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import FieldError, ImageError, InputError, TrellisError

JsonObject = dict[str, Any]

BODY_LIMIT = 64 * 2**20  # bytes
_LONG_TEXT = 200  # characters of an image payload that are worth keeping

# The HTTP status of a refusal by its code; everything else that is refused is 400.
STATUS = {
    "invalidApiKey": 401,
    "missingApiKey": 401,
    "forbidden": 403,
    "bodyTooLarge": 413,
    "unsupportedMediaType": 415,
    "rateLimitExceeded": 429,
    "internalServerError": 500,
    "serviceUnavailable": 503,
}


class RequestError(InputError):
    """A request that this service refuses; `fields` go into the error object."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields


@dataclass
class Reply:
    """What one request is answered with.

    `errors` of tasks that were refused count for the HTTP status (`refuse`); errors that are the
    news asked for, such as a failed generation in `getResponse`, do not (`report`).
    """

    data: list[JsonObject] = field(default_factory=list)
    errors: list[JsonObject] = field(default_factory=list)
    _refused: str = ""
    _accepted: bool = False

    def add(self, *items: JsonObject) -> None:
        self._accepted = True
        self.data.extend(items)

    def report(self, errors: list[JsonObject]) -> None:
        self._accepted = True
        self.errors.extend(errors)

    def refuse(self, error: JsonObject) -> None:
        self._refused = self._refused or str(error["code"])
        self.errors.append(error)

    @property
    def status(self) -> int:
        """200 unless everything in the request was refused; then the first refusal decides."""
        return STATUS.get(self._refused, 400) if self._refused and not self._accepted else 200

    @property
    def body(self) -> JsonObject:
        # Two published clients take `errors: []` for a failure: the key is there only with errors in it.
        return {"data": self.data} if not self.errors else {"data": self.data, "errors": self.errors}


def encode(body: JsonObject) -> bytes:
    # ASCII with escapes: a lone surrogate that came in as an escape can be echoed back, UTF-8 could not.
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def parse_tasks(body: bytes) -> list[Any]:
    """The tasks in a request's body; `RequestError` when there are none to be found."""
    try:
        tasks = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise RequestError("invalidJSON", "The request's JSON is nested too deeply to be a list of tasks.") from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        sentence = f"The request's body is not valid JSON{where}; send an array of tasks."
        raise RequestError("invalidJSON", sentence) from None
    if isinstance(tasks, dict):
        return [tasks]
    if not isinstance(tasks, list):
        raise RequestError("invalidRequest", "The request's body is not an array; send a JSON array of tasks.")
    if not tasks:
        raise RequestError("emptyRequest", "The request's array is empty; send at least one task.")
    return tasks


def error_object(error: TrellisError, request: Any = None, **more: Any) -> JsonObject:
    """An error as the protocol has it, with the task's type and UUID echoed."""
    found: JsonObject = {"code": error.code, "message": str(error)}
    if isinstance(error, FieldError):
        found |= {"parameter": error.field, **error.constraint}
    if isinstance(error, ImageError):
        found["parameter"] = "inputs.image"
    if isinstance(error, RequestError):
        found |= error.fields
    return found | {key: value for key, value in echo(request).items() if key not in found} | more


def echo(request: Any) -> JsonObject:
    """The `taskType` and `taskUUID` of a request, as far as it has some."""
    if not isinstance(request, Mapping):
        return {}
    values = {key: request.get(key) for key in ("taskType", "taskUUID")}
    return {key: value for key, value in values.items() if isinstance(value, str) and len(value) <= _LONG_TEXT}


def without_payload(request: Mapping[str, Any]) -> JsonObject:
    """The request with the picture cut short: what is kept of it once it was accepted."""
    inputs = dict(request["inputs"])
    image = inputs["image"]
    if len(image) > _LONG_TEXT:
        inputs["image"] = f"{image[:60]}… ({len(image)} characters)"
    return {**request, "inputs": inputs}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
