"""The API key: where it is found, and nothing else. It is never written to a file, a .blend or a log by us."""

from __future__ import annotations

import functools
import os
from typing import Any

KEY_VARIABLE = "RUNWARE_API_KEY"
_SERVICE, _USER = "trellis2-blender", "runware"


def find_key(given: str = "") -> tuple[str, str]:
    """(key, where it comes from): what was given, the environment, or the system's keyring; ("", "") if none."""
    if given.strip():
        return given.strip(), "given"
    if found := os.environ.get(KEY_VARIABLE, "").strip():
        return found, "environment"
    if found := _from_keyring():
        return found, "keyring"
    return "", ""


def has_keyring() -> bool:
    """Whether the system's keyring can be used: the `keyring` package is there, with something behind it."""
    keyring = _keyring()
    return keyring is not None and getattr(keyring.get_keyring(), "priority", 0) >= 1


def keep_in_keyring(key: str) -> None:
    """Keep the key in the system's keyring; an empty one removes it. Call only where `has_keyring`."""
    keyring = _keyring()
    if key.strip():
        keyring.set_password(_SERVICE, _USER, key.strip())
    elif _from_keyring():
        keyring.delete_password(_SERVICE, _USER)
    _from_keyring.cache_clear()


@functools.cache  # the panel asks at every redraw
def _from_keyring() -> str:
    keyring = _keyring()
    if keyring is None:
        return ""
    try:
        return keyring.get_password(_SERVICE, _USER) or ""
    except keyring.errors.KeyringError:
        return ""  # locked, or no backend: as good as none


def _keyring() -> Any:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        return None
    return keyring
