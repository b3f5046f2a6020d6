"""Reading replies: every shape the platform and its imitations have been seen to send."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from ..core.errors import (
    AccessError,
    ApiKeyError,
    BackendError,
    BalanceError,
    BusyError,
    Cancelled,
    ContentError,
    EngineError,
    ImageError,
    RefusedError,
    ServiceError,
    TrellisError,
)
from ..core.messages import Message, all_from_wire, from_wire, message, sentences, to_wire
from ..formats.early_picture import from_wire as picture_from_wire
from ..task.task import Result

_LONGEST_NAME = 200  # characters of a device's name
_MOST_NOTES = 8
_MOST_PICTURES = 16
HIGHEST_COST = 100.0  # US dollars for one result; what is told beyond it is a mistake


@dataclass(frozen=True)
class Reply:
    """What a reply says of one task.

    `progress` is in percent where told, of what is under way still: the mean of those results, with 0
    for one of several that says nothing; `stage` is that of the one furthest on. `pictures` are small PNGs of what
    these look like by now, by result, from our own service. `pending` is True when
    the reply says that something of the task is under way still. `is_history` marks what
    `getTaskDetails` told. `known` is False when the reply holds nothing about the task at all, which
    means neither lost nor failed: the platform answers so while it is busy.
    """

    results: tuple[Result, ...] = ()
    errors: tuple[Mapping[str, Any], ...] = ()
    progress: int | None = None
    stage: str = ""
    known: bool = False
    pending: bool = False
    pictures: Mapping[int, bytes] = field(default_factory=dict)
    is_history: bool = False


def read_reply(body: Any, task_uuid: str) -> Reply:
    """What `body` (decoded JSON) says of the task; what is addressed to other tasks is passed over."""
    if not isinstance(body, Mapping):
        return Reply()
    results: dict[str, Result] = {}
    errors = [e for e in _errors_of(body) if _is_for(e, task_uuid)]
    progress: list[int | None] = []
    stage: str = ""
    furthest = -1
    pictures: dict[int, bytes] = {}
    known = bool(errors)
    pending = False
    for item in _listed(body.get("data")):
        if not _is_for(item, task_uuid):
            continue
        known = True
        if item.get("status") == "error" or isinstance(item.get("error"), Mapping):
            errors.append(_flat_error(item))
            continue
        found = _results_of(item, task_uuid, len(results))
        for result in found:
            results.setdefault(result.key, result)
        if not found:
            pending = True  # whatever its status is called
            progress.append(_percent(item))
            if (png := picture_from_wire(item.get("preview"))) and len(pictures) < _MOST_PICTURES:
                index = item.get("resultIndex")
                pictures[index if _is_whole(index) else 0] = png
            if (told := item.get("stage")) and (progress[-1] or 0) > furthest:
                words = item.get("stageTemplate")
                stage = from_wire(str(told), words if isinstance(words, Mapping) else {})
                furthest = progress[-1] or 0
    ordered = tuple(sorted(results.values(), key=lambda r: r.index))
    is_told = any(percent is not None for percent in progress)
    mean = round(sum(percent or 0 for percent in progress) / len(progress)) if is_told else None
    return Reply(ordered, tuple(errors), mean, stage, known, pending, pictures)


def _percent(item: Mapping[str, Any]) -> int | None:
    told = as_number(item.get("progress"))
    return None if told is None else min(max(int(told), 0), 100)


def read_details(body: Any, task_uuid: str) -> Reply | None:
    """What a reply to `getTaskDetails` says: None when the service does not know the task."""
    if not isinstance(body, Mapping):
        return None
    for item in _listed(body.get("data")):
        response = item.get("response")
        if isinstance(response, list):
            response = {"data": response}
        if _is_for(item, task_uuid) and isinstance(response, Mapping):
            return replace(read_reply(response, task_uuid), known=True, is_history=True)
    return None


def requested_settings(body: Any, task_uuid: str) -> Mapping[str, Any]:
    """The request inside a reply to `getTaskDetails`; empty where there is none."""
    if isinstance(body, Mapping):
        for item in _listed(body.get("data")):
            for request in _listed(item.get("request")):
                if _is_for(request, task_uuid):
                    return request
    return {}


def is_unknown_task(error: Mapping[str, Any]) -> bool:
    """Whether an error says no more than that the service does not find the task (now)."""
    code = str(error.get("code") or "").lower()
    return code in ("tasknotfound", "taskfailedornotfound")


def is_of_service(error: Mapping[str, Any]) -> bool:
    """Whether an error is about the service, busy or ailing, and not about the task: it may get over it."""
    return error.get("status") != "error" and isinstance(error_from(error), (BusyError, ServiceError))


def error_from(error: Mapping[str, Any], status: int = 0) -> TrellisError:
    """The exception for an error object: by HTTP status first, then by the code's name.

    The platform calls its codes unstable, so its own message is always part of ours.
    """
    code = str(error.get("code") or "unknownError")
    said = _told(error) or _as_sentence(str(error.get("message") or code))
    parameter = error.get("parameter")
    field = ", ".join(map(str, parameter)) if isinstance(parameter, (list, tuple)) else str(parameter or "")
    raw = {key: value for key, value in error.items() if key not in ("apiKey", "Authorization")}
    kind, _, _, fact, cure = _kind_of(code.lower(), status)
    if kind is Cancelled:
        return Cancelled("The job was cancelled.")
    sentence = message(fact, reply=said) if fact else message(said)
    if cure:  # after words that are not ours a space stands in any language
        sentence = sentences(sentence, cure) if said.values else message("{reply} {cure}", reply=sentence, cure=cure)
    if not issubclass(kind, BackendError):
        told = kind(sentence)
        told.raw = raw
        return told
    return kind(sentence, code=code, field=field, raw=raw)


def _told(error: Mapping[str, Any]) -> Message | None:
    """What our own service says, as it can be translated; None for the words of any other."""
    found = from_wire(str(error.get("message") or ""), error)
    return found if found.values else None


_Kind = tuple[type[TrellisError], tuple[int, ...], tuple[str, ...], str, str]


def _kind_of(code: str, status: int) -> _Kind:
    by_status = next((kind for kind in _KINDS if status in kind[1]), None)
    by_name = next((kind for kind in _KINDS if any(word in code for word in kind[2])), _REFUSED)
    # 403 is also what a picture is refused with: there the name says more.
    if by_status is None or (status == 403 and by_name[0] is ContentError):
        return by_name
    return by_status


_REFUSED: _Kind = (RefusedError, (), (), message("The service does not take the task: {reply}"), "")
# (exception, HTTP statuses, parts of a code's name in lower case, the fact, the cure); the first that fits holds.
_KINDS: tuple[_Kind, ...] = (
    (Cancelled, (), ("cancel",), "", ""),
    (
        ApiKeyError,
        (401,),
        ("apikey", "authenticat", "unauthorized"),
        message("The API key is not accepted: {reply}"),
        message("Check the key in the preferences."),
    ),
    (
        BalanceError,
        (402,),
        ("credit", "balance", "payment", "quota"),
        message("There is not enough credit: {reply}"),
        message("Add credit to the account and try again."),
    ),
    (
        ContentError,
        (),
        ("content", "nsfw", "imageblocked", "safety", "moderat"),
        message("The service refuses the picture for what it shows: {reply}"),
        message("Use another picture."),
    ),
    (
        AccessError,
        (403,),
        ("forbidden", "permission"),
        message("The API key may not do this: {reply}"),
        message("Use a key with the right to it."),
    ),
    (
        BusyError,
        (429,),
        ("ratelimit", "queuefull", "toomany", "noavailableserver"),
        message("The service is busy: {reply}"),
        message("Try again in a minute."),
    ),
    (
        EngineError,
        (),
        ("inference", "processing", "taskfailed", "provider", "timeout"),
        message("The generation failed: {reply}"),
        "",
    ),
    (
        ServiceError,
        (500, 502, 503, 504),
        ("internal", "unavailable", "modelnotready"),
        message("The service is out of order: {reply}"),
        message("Try again later."),
    ),
    (ImageError, (), ("invalidimage", "downloadfailed"), "", ""),
)


def first_error(body: Any, status: int) -> TrellisError:
    """The exception for a whole reply that says no."""
    errors = _errors_of(body) if isinstance(body, Mapping) else []
    if errors:
        return error_from(errors[0], status)
    said = message("it answers with status {status}.", status=status)
    return error_from({"code": "httpStatus", "message": said, **to_wire(said)}, status)


def _as_sentence(text: str) -> Message:
    text = " ".join(text.split())
    text = text if len(text) <= 300 else text[:299] + "…"
    text = text if text.endswith((".", "!", "?")) else text + "."
    return message(text)


def as_number(value: Any) -> float | None:
    """The value as a number that can be counted with, or None: JSON's decoder lets NaN and Infinity through."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_cost(value: Any) -> float | None:
    """The value as the cost of one result in US dollars, or None where it can be none: totals are made of these."""
    cost = as_number(value)
    return cost if cost is not None and 0 <= cost <= HIGHEST_COST else None


def _results_of(item: Mapping[str, Any], task_uuid: str, before: int) -> list[Result]:
    """The item's results; where it has no index of its own, it comes after the `before` others of its reply."""
    outputs = item.get("outputs")
    files = outputs.get("files") if isinstance(outputs, Mapping) else None
    latents = item.get("latents")
    kept = latents.get("url") if isinstance(latents, Mapping) else ""
    found = []
    for position, file in enumerate(_listed(files)):
        url = file.get("url")
        if isinstance(url, str) and url:
            seed = item.get("seed")
            index = item.get("resultIndex")
            found.append(
                Result(
                    task_uuid=task_uuid,
                    index=index if _is_whole(index) else before + position,
                    seed=seed if _is_whole(seed) else None,
                    file_uuid=str(file.get("uuid") or ""),
                    url=url,
                    cost=as_cost(item.get("cost")),
                    engine=str(item.get("engine") or item.get("model") or ""),
                    latents_url=kept if isinstance(kept, str) else "",
                    performance=_performance_of(item),
                    notes=_notes_of(item),
                )
            )
    return found


def _performance_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a result's making, as far as it can be what it is said to be."""
    told = item.get("performance")
    told = told if isinstance(told, Mapping) else {}
    found: dict[str, Any] = {name: as_number(told.get(name)) for name in ("seconds", "peakMemory", "resolution")}
    device = told.get("device")
    found["device"] = device[:_LONGEST_NAME] if isinstance(device, str) else None
    return {name: value for name, value in found.items() if value is not None}


def _notes_of(item: Mapping[str, Any]) -> tuple[str, ...]:
    told = item.get("notes")
    notes = told[:_MOST_NOTES] if isinstance(told, list) else []
    return all_from_wire([_as_sentence(note) for note in notes if isinstance(note, str)], item.get("noteTemplates"))


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _errors_of(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = [dict(e) for e in _listed(body.get("errors"))]
    single = body.get("error")
    if isinstance(single, Mapping):
        # the singular form keeps the task's identity beside the error, not in it
        found.append({"taskUUID": body.get("taskUUID"), "taskType": body.get("taskType"), **single})
    elif isinstance(single, str):
        found.append({"code": "unknownError", "message": single, "taskUUID": body.get("taskUUID")})
    return found


def _flat_error(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item's failure as an error object; that it stands in an item means that this result is over."""
    nested = item.get("error")
    return {**item, **(nested if isinstance(nested, Mapping) else {}), "status": "error"}


def _is_for(item: Mapping[str, Any], task_uuid: str) -> bool:
    found = item.get("taskUUID")
    return not found or str(found).lower() == task_uuid.lower()


def _listed(value: Any) -> list[Mapping[str, Any]]:
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]
