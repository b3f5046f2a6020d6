"""The protocol as data: a body becomes a list of tasks, answers and errors become a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import FieldError, ImageError, InputError, LatentsError, TrellisError
from ..core.messages import message, to_wire
from .limits import BODY_LIMIT as BODY_LIMIT
from .limits import Limits

JsonObject = dict[str, Any]

_LONG_TEXT = 200  # characters of an image payload that are worth keeping
_LARGE = 8 * 2**20  # bytes from where on a body is pictures

# The HTTP status of a refusal by its code; everything else that is refused is 400.
STATUS = {
    "invalidApiKey": 401,
    "missingApiKey": 401,
    "forbidden": 403,
    "dailyLimitExceeded": 403,
    "requestTooSlow": 408,
    "bodyTooLarge": 413,
    "unsupportedMediaType": 415,
    "rateLimitExceeded": 429,
    "internalServerError": 500,
    "notImplemented": 501,
    "serviceUnavailable": 503,
    "storageLimitExceeded": 507,
}


class RequestError(InputError):
    """A request that this service refuses; `fields` go into the error object."""

    def __init__(self, code: str, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields


def disk_full() -> RequestError:
    """The refusal of what cannot be kept."""
    return RequestError("storageLimitExceeded", "The service's disk is full; make room on it, and send again.")


@dataclass
class ServiceReply:
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


def parse_tasks(body: bytes | bytearray, limits: Limits | None = None) -> list[Any]:
    """The tasks in a request's body; `RequestError` when there are none to be found, or too many."""
    limits = limits or Limits()
    _check_size_in_memory(body, limits)
    try:
        tasks = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise RequestError("invalidJSON", "The request's JSON is nested too deeply to be a list of tasks.") from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError):
            sentence = message(
                "The request's body is not valid JSON (line {line}, column {column}); send an array of tasks.",
                line=error.lineno,
                column=error.colno,
            )
        else:
            sentence = message("The request's body is not valid JSON; send an array of tasks.")
        raise RequestError("invalidJSON", sentence) from None
    if isinstance(tasks, dict):
        return [tasks]
    if not isinstance(tasks, list):
        raise RequestError("invalidRequest", "The request's body is not an array; send a JSON array of tasks.")
    if not tasks:
        raise RequestError("emptyRequest", "The request's array is empty; send at least one task.")
    if len(tasks) > limits.tasks:
        sentence = message(
            "The request holds {tasks} tasks; send at most {limit} at a time.", tasks=len(tasks), limit=limits.tasks
        )
        raise RequestError("taskLimitExceeded", sentence)
    return tasks


def first_task(start: bytes | bytearray) -> Any:
    """The first task of a body of which only the start is there; None where it does not end in that start."""
    text = start.decode("utf-8", "ignore").lstrip("\ufeff \t\r\n")
    try:
        found, _ = json.JSONDecoder().raw_decode(text[1:].lstrip() if text.startswith("[") else text)
    except (ValueError, RecursionError):
        return None
    return found


def _check_size_in_memory(body: bytes | bytearray, limits: Limits) -> None:
    """Refuse what would become many times larger by being read: values by the million, text of four bytes a letter."""
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > limits.values:
        sentence = message(
            "The request's JSON has more than {limit} values; send fewer tasks at a time.", limit=limits.values
        )
        raise RequestError("taskLimitExceeded", sentence)
    if len(body) > _LARGE and not body.isascii():
        sentence = message(
            "A request of more than {limit} MB must be ASCII throughout; send pictures as Base64.",
            limit=_LARGE // 2**20,
        )
        raise RequestError("invalidJSON", sentence)


def error_object(error: TrellisError, request: Any = None, **more: Any) -> JsonObject:
    """An error as the protocol has it, with the task's type and UUID echoed.

    `template` and `values` are ours alone: our client translates by them, everybody else has the `message`.
    """
    said = error.message
    if isinstance(error, FieldError) and error.rule:
        said = message(said.template, **{**said.values, "value": quoted(error.value)})
    found: JsonObject = {"code": error.code, "message": said, **to_wire(said)}
    if isinstance(error, FieldError):
        found |= {"parameter": error.field, **error.constraint}
    if isinstance(error, ImageError):
        found["parameter"] = "inputs.image"
    if isinstance(error, LatentsError):
        found["parameter"] = "inputs.latents"
    if isinstance(error, RequestError):
        found |= error.fields
    return found | {key: value for key, value in echo(request).items() if key not in found} | more


def quoted(value: Any, most: int = 60) -> str:
    """A value as it was sent, which is JSON; cut, so that a picture does not fill the sentence."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:  # Python does not write out numbers of more than 4300 digits
        text = message("a number of thousands of digits")
    return text if len(text) <= most else text[: most - 1] + "…"


def echo(request: Any) -> JsonObject:
    """The `taskType` and `taskUUID` of a request, as far as it has some."""
    if not isinstance(request, Mapping):
        return {}
    values = {key: request.get(key) for key in ("taskType", "taskUUID")}
    return {key: value for key, value in values.items() if isinstance(value, str) and len(value) <= _LONG_TEXT}


def without_payload(request: Mapping[str, Any]) -> JsonObject:
    """The request with the pictures, and the latents, cut short: what is kept of it once it was accepted."""

    def shortened(given: Any) -> Any:
        if isinstance(given, Mapping):
            return {name: shortened(text) for name, text in given.items()}
        if not isinstance(given, str):
            return given
        return given if len(given) <= _LONG_TEXT else f"{given[:60]}… ({len(given)} characters)"

    return {**request, "inputs": shortened(request["inputs"])}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
