"""The API key: where it is found, and nothing else. It is never written to a file, a .blend or a log by us."""

from __future__ import annotations

import functools
import string
from typing import Any

from .configuration import configuration
from .errors import ApiKeyError

_UNSEEN = "\u00a0\u200b\u200c\u200d\u2060\ufeff"

_SERVICE, _USER = "trellis2-blender", "runware"


def find_key(given: str = "") -> tuple[str, str]:
    """(key, where it comes from): what was given, the environment, or the system's keyring; ("", "") if none."""
    if found := _as_meant(given):
        return found, "given"
    if found := _as_meant(configuration().api_key):
        return found, "environment"
    if found := _from_keyring():
        return found, "keyring"
    return "", ""


def _as_meant(text: str) -> str:
    """Without what comes along from a web page or a file: blanks, ends of lines, marks that nobody sees."""
    return text.strip(f"{string.whitespace}{_UNSEEN}")


def demand_key(given: Any) -> None:
    """Raise `ApiKeyError` for a key that is no text; the sentence does not show it."""
    if not isinstance(given, str):
        raise ApiKeyError("key: it is no text; give the key as a string, or leave it out.")


def has_keyring() -> bool:
    """Whether the system's keyring can be used: the `keyring` package is there, with something behind it."""
    keyring = _keyring()
    return keyring is not None and getattr(keyring.get_keyring(), "priority", 0) >= 1


def keep_in_keyring(key: str) -> None:
    """Keep the key in the system's keyring; an empty one removes it. Call only where `has_keyring`.

    Raises `ApiKeyError` when the keyring does not take it.
    """
    keyring = _keyring()
    try:
        if found := _as_meant(key):
            keyring.set_password(_SERVICE, _USER, found)
        elif _from_keyring():
            keyring.delete_password(_SERVICE, _USER)
    except Exception as error:  # every system's keyring has errors of its own
        kind = type(error).__name__
        # Without the cause: nobody knows what a keyring quotes in its errors.
        raise ApiKeyError(
            "The system's keyring did not take the key ({kind}); unlock it and try again.", kind=kind
        ) from None
    finally:
        _from_keyring.cache_clear()


@functools.cache  # the panel asks at every redraw
def _from_keyring() -> str:
    keyring = _keyring()
    if keyring is None:
        return ""
    try:
        return keyring.get_password(_SERVICE, _USER) or ""
    except Exception:  # locked, no backend, a desktop that is not there: as good as none
        return ""


def _keyring() -> Any:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    return keyring
