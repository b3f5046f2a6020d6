"""Every error this package raises on purpose, as one small tree.

TrellisError
├── InputError             what was asked for cannot be done as asked
│   ├── FieldError         one field of the task: its name, its value, what is allowed
│   └── ImageError         the picture cannot be used
├── DamagedFileError       a GLB that must not be handed to Blender
├── EngineError            a generation failed on the side that ran it
├── BackendError           the service could not be asked, or refused
│   ├── KeyMissingError    no key, or the key is not accepted
│   ├── BalanceError       not enough credit
│   ├── BusyError          rate limit, queue full, temporarily unavailable
│   ├── NetworkError       no connection, time-out, a reply that is not the protocol's
│   └── OfflineError       Blender's Allow Online Access is off
└── Cancelled              the user asked to stop; never shown as a failure

`str(error)` is one sentence for the artist: the fact, the cause where known, and the cure.
"""

from __future__ import annotations

from typing import Any


class TrellisError(Exception):
    """Base of all errors raised on purpose; `code` is the protocol's name for the case."""

    code = "unknownError"


class InputError(TrellisError):
    code = "invalidInput"


class FieldError(InputError):
    """A field of the task has a value that is not allowed.

    `field` is the protocol's dotted path (`settings.resolution`), `value` what was given, and
    `constraint` the machine-readable rule (`min`, `max`, `multiplier`, `allowedValues`, `type`).
    """

    def __init__(
        self,
        field: str,
        value: Any,
        rule: str,
        *,
        code: str = "invalidValue",
        constraint: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{field}: {_short(value)} cannot be used; {rule}.")
        self.field = field
        self.value = value
        self.code = code
        self.constraint = constraint or {}


class ImageError(InputError):
    code = "invalidImage"


class DamagedFileError(TrellisError):
    code = "damagedFile"


class EngineError(TrellisError):
    code = "inferenceError"


class BackendError(TrellisError):
    """The service refused or could not be reached; `raw` holds its reply (never the key)."""

    code = "serviceUnavailable"

    def __init__(self, message: str, *, code: str | None = None, field: str = "", raw: Any = None) -> None:
        super().__init__(message)
        self.code = code or type(self).code
        self.field = field
        self.raw = raw


class KeyMissingError(BackendError):
    code = "invalidApiKey"


class BalanceError(BackendError):
    code = "insufficientCredits"


class BusyError(BackendError):
    code = "rateLimitExceeded"


class NetworkError(BackendError):
    code = "networkError"


class OfflineError(BackendError):
    code = "offline"


class Cancelled(TrellisError):
    code = "taskCancelled"


def _short(value: Any, limit: int = 60) -> str:
    """The value as the user wrote it, cut so that a Base64 image does not fill the message."""
    try:
        text = f'"{value}"' if isinstance(value, str) else repr(value)
    except ValueError:  # Python does not write out numbers of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= limit else text[: limit - 1] + "…"
