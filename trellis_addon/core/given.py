"""What scripts hand in, as the library uses it: values of NumPy and of enumerations as Python's own, and paths."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .errors import FieldError
from .messages import message


def plain(value: Any) -> Any:
    """A single number, text or truth value of NumPy, or of an enumeration, as Python's own; anything else as it is."""
    if type(value).__module__.partition(".")[0] == "numpy" and getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind) and type(value) is not kind:
            return kind(value.value if hasattr(value, "value") else value)
    return value


def path_of(value: Any, field: str, *, of_home: bool = False) -> Path:
    """The path that somebody gave for a field; raises `FieldError` for what is none.

    With `of_home` a leading ~ is the user's folder, unless something here is called so.
    """
    is_path = isinstance(value, (str, os.PathLike)) and isinstance(os.fspath(value), str)
    if not is_path or not os.fspath(value).strip():
        raise FieldError(field, value, message("give a path"))
    path = os.fspath(value)
    return Path(os.path.expanduser(path) if of_home and not os.path.lexists(path) else path)


def whole(value: Any, field: str, least: int, most: int, rule: str) -> int:
    """The whole number that somebody gave; raises `FieldError` unless it is one from `least` to `most`."""
    found = plain(value)
    if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
        raise FieldError(field, value, rule)
    return found


def demand(value: Any, kind: type | tuple[type, ...], field: str, rule: str) -> None:
    """Raise `FieldError` for an argument of another kind."""
    if not isinstance(value, kind):
        raise FieldError(field, value, rule)
