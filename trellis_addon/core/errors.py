"""Every error this package raises on purpose, as one small tree.

TrellisError
├── InputError               what was asked for cannot be done as asked
│   ├── FieldError           one field of the task: its name, its value, what is allowed
│   ├── ImageError           the picture cannot be used
│   └── LatentsError         what was kept of a generation cannot be gone on from
├── DamagedFileError         a GLB that must not be handed to Blender
├── EngineError              a generation failed on the side that ran it
│   ├── DeviceMemoryError    ... because the device has too little memory
│   ├── MainMemoryError      ... because the machine has too little for what is the processor's work
│   └── LostWorkerError      ... because the process that made it is gone: another one may make it
├── JobError                 a job cannot be taken where it was meant to go
│   ├── StoreError           the jobs' folder cannot be read or written
│   ├── TakenError           another program works on it
│   └── UnsentError          it would have to be sent, and paid, and nobody has asked for that
├── OutputError              what was made cannot be put where it was asked for
├── BackendError             the service could not be asked, or refused
│   ├── ApiKeyError          no key, or the key is not accepted
│   ├── AccessError          the key may not do this
│   ├── BalanceError         not enough credit
│   │   └── LimitError       the user's own spending limit
│   ├── RefusedError         the service does not take the task: `field` names what it minds
│   │   └── ContentError     ... because of what the picture shows
│   ├── BusyError            rate limit, queue full
│   ├── ServiceError         the service itself is out of order
│   ├── NetworkError         no connection, or a reply that is not the protocol's
│   │   ├── TimedOutError    nothing came in the time allowed
│   │   └── NetworkSettingsError  what this machine says of proxies or certificates cannot be used: nothing has left
│   └── OfflineError         Blender's Allow Online Access is off
├── Interrupted              the program ends: the job stays where it is and goes on another time
└── Cancelled                the user asked to stop; never shown as a failure

`str(error)` is one sentence for the artist: the fact, the cause where known, and the cure. An error is raised with a
template and its values, by which the interface says it in another language (`messages.py`):

    raise ImageError("The image is {width} x {height} pixels; use a smaller one.", width=width, height=height)
"""

from __future__ import annotations

import logging
from typing import Any

from .messages import Message, message

_log = logging.getLogger(__name__)
# A library is silent until a program says where its log goes; everything of this package passes this module first.
logging.getLogger(__name__.removesuffix(".core.errors")).addHandler(logging.NullHandler())


class TrellisError(Exception):
    """Base of all errors raised on purpose.

    `message` is the sentence, with its `template` and `values`; `code` is the protocol's name for the case, `raw` the
    service's own reply where there was one (never the key). `unsent` says that not a byte of what was asked for can
    have left this machine: nothing came of it, nothing is paid.
    """

    code = "unknownError"
    raw: Any = None
    unsent = False

    def __init__(self, template: str = "", /, **values: Any) -> None:
        self.message: Message = message(template, **values)
        super().__init__(self.message)

    @property
    def template(self) -> str:
        return self.message.template

    @property
    def values(self) -> dict[str, Any]:
        return self.message.values

    def __reduce__(self) -> tuple[Any, ...]:
        # not by calling the class again: each has arguments of its own
        return _remade, (type(self), self.args), self.__dict__


def _remade(kind: type[TrellisError], args: tuple[Any, ...]) -> TrellisError:
    return kind.__new__(kind, *args)


class InputError(TrellisError):
    code = "invalidInput"


class FieldError(InputError):
    """A field of the task has a value that is not allowed.

    `field` is the protocol's dotted path (`settings.resolution`), `value` what was given, `rule` what
    is allowed in words (or `message` the whole sentence), and `constraint` the same for machines
    (`min`, `max`, `multiplier`, `allowedValues`, `type`).
    """

    def __init__(
        self,
        field: str,
        value: Any,
        rule: str = "",
        *,
        code: str = "invalidValue",
        constraint: dict[str, Any] | None = None,
        message: str = "",
    ) -> None:
        if message:
            super().__init__(message)
        else:
            given, allowed = _short(value), Message(rule, rule) if not isinstance(rule, Message) else rule
            super().__init__("{field}: {value} cannot be used; {rule}.", field=field, value=given, rule=allowed)
        self.field = field
        self.value = value
        self.rule = rule
        self.code = code
        self.constraint = constraint or {}


class ImageError(InputError):
    code = "invalidImage"


class BackgroundError(ImageError):
    """The subject cannot be told from the picture's background: to be marked, or the picture taken whole."""


class LatentsError(InputError):
    code = "invalidLatents"


class DamagedFileError(TrellisError):
    code = "damagedFile"


class EngineError(TrellisError):
    code = "inferenceError"


class DeviceMemoryError(EngineError):
    pass


class MainMemoryError(EngineError):
    pass


class LostWorkerError(EngineError):
    """The process that worked on it, or its machine, is gone; the text is the cause, a part of a sentence.

    `is_blamed`: whether the work may have been what ended it.
    """

    is_blamed = True


class JobError(TrellisError):
    code = "jobState"


class StoreError(JobError):
    code = "jobStore"


class TakenError(JobError):
    code = "jobTaken"


class UnsentError(JobError):
    code = "jobNotSent"


class OutputError(TrellisError):
    code = "outputFile"


class BackendError(TrellisError):
    """The service refused or could not be reached; `raw` holds its reply (never the key).

    `code`, `field` and `raw` are the error's own, and no values of the template.
    """

    code = "serviceUnavailable"

    def __init__(
        self, template: str, /, *, code: str | None = None, field: str = "", raw: Any = None, **values: Any
    ) -> None:
        super().__init__(template, **values)
        self.code = code or type(self).code
        self.field = field
        self.raw = raw


class ApiKeyError(BackendError):
    code = "invalidApiKey"


class AccessError(BackendError):
    code = "forbidden"


class BalanceError(BackendError):
    code = "insufficientCredits"


class LimitError(BalanceError):
    code = "spendingLimit"


class RefusedError(BackendError):
    code = "invalidRequest"


class ContentError(RefusedError):
    code = "contentPolicyViolation"


class BusyError(BackendError):
    code = "rateLimitExceeded"


class ServiceError(BackendError):
    code = "internalServerError"


class NetworkError(BackendError):
    code = "networkError"


class TimedOutError(NetworkError):
    code = "timeout"


class NetworkSettingsError(NetworkError):
    code = "networkSettings"


class OfflineError(BackendError):
    code = "offline"


class Interrupted(TrellisError):
    code = "interrupted"


class Cancelled(TrellisError):
    code = "taskCancelled"


def unforeseen(error: Exception) -> JobError:
    """A sentence for what nobody foresaw; to be called where it was caught, so that the log has the rest."""
    _log.error("Unexpected problem", exc_info=error)
    return JobError("Unexpected problem ({kind}); the console has the details.", kind=type(error).__name__)


def _short(value: Any, limit: int = 60) -> str:
    """The value as the user wrote it, cut so that a Base64 image does not fill the message."""
    try:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    except ValueError:  # Python does not write out numbers of more than 4300 digits
        return message("a number of thousands of digits")
    return text if len(text) <= limit else text[: limit - 1] + "…"
