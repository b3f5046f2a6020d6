"""Taking out of a text what a support thread must not show: keys, tokens, names, the queries of addresses."""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.configuration import configuration
from ...core.messages import Message, message

HIDDEN = "***"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|AUTH|COOKIE|CREDENTIAL", re.IGNORECASE)
_COMMON = {"root", "user", "admin", "administrator", "ubuntu", "localhost", "blender", "python"}
_PATTERNS = (
    # an address: who asks (user:password@), and what for (?...)
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"']*@", re.IGNORECASE), r"\1" + HIDDEN + "@"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s\"'?#]*)[?#][^\s\"']*", re.IGNORECASE), r"\1?" + HIDDEN),
    (re.compile(r"(/files/)[0-9a-zA-Z]{16,}"), r"\1" + HIDDEN),
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE), r"\1 " + HIDDEN),
    # name = value, name: value, --name value, "name": "value"
    (
        re.compile(
            r"([\w-]*(?:api[_-]?key|token|secret|passw(?:or)?d|pwd|cookie|authorization|credential)s?[\"']?\s*"
            r"(?:[=:]\s*|\s+(?=[\"']?[^\s]*[0-9_-]))[\"']?)(?!\*)[^\s\"',;]+",
            re.IGNORECASE,
        ),
        r"\1" + HIDDEN,
    ),
    (re.compile(r"\b(?:hf|sk|pk|ghp|gho|ghs|github_pat|xox[abp])[_-][A-Za-z0-9_-]{6,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_.-]+"), HIDDEN),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+"), "<mail>"),
    # what looks drawn at random: long, of digits and letters
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), HIDDEN),
    (re.compile(r"(?<![\w/.-])(?=[\w-]*[a-z])(?=[\w-]*[A-Z])(?=[\w-]*\d)[\w-]{24,}(?![\w/.-])"), HIDDEN),
    # somebody's folder, also of another user or another machine
    (re.compile(r"(?:[A-Za-z]:)?[\\/]+(?:home|Users)[\\/]+[^\\/\s:\"',;]+"), "~"),
)


def redacted_message(said: str) -> Message:
    """The same of a message, which keeps its template where that says no more than the text may."""
    text = redacted(said)
    made = _without_secrets(said)
    return made if isinstance(made, Message) and made == text else message(text)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Message) and value.values:
        return message(value.template, **{name: _without_secrets(each) for name, each in value.values.items()})
    if isinstance(value, tuple):
        return tuple(map(_without_secrets, value))
    return value if isinstance(value, Message) or not isinstance(value, str) else redacted(value)


def redacted(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without secrets and without who and where the user is."""
    variables = configuration().variables if environment is None else environment
    secrets = {value for name, value in variables.items() if _SECRET_NAME.search(name) and len(value.strip()) >= 6}
    for secret in sorted(secrets, key=len, reverse=True):
        if not os.path.isabs(secret):  # SSH_AUTH_SOCK and the like say where, not what
            text = text.replace(secret, HIDDEN)
    for home in _homes(variables):
        for form in {home, home.replace("\\", "/"), home.replace("\\", "\\\\")}:
            text = re.sub(re.escape(form) + r"(?![\w-])", "~", text, flags=re.IGNORECASE if os.name == "nt" else 0)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    for name, stands_for in ((_user(), "<user>"), (platform.node(), "<host>")):
        if len(name) >= 3 and name.lower() not in _COMMON:
            text = re.sub(rf"(?<![\w]){re.escape(name)}(?![\w])", stands_for, text, flags=re.IGNORECASE)
    return text


def _homes(variables: Mapping[str, str]) -> list[str]:
    found = {variables.get(name, "") for name in ("HOME", "USERPROFILE")}
    with contextlib.suppress(RuntimeError):  # nobody says where it is
        found.add(str(Path.home()))
    return sorted((home for home in found if len(home) > 4), key=len, reverse=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
