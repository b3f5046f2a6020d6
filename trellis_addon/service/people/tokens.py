"""The file of named tokens in the service's folder: written by the command line, read by a service that runs.

A token is drawn here, 256 bits of chance, shown once and kept as its SHA-256 alone. What makes guessing slow (a salt,
many rounds) is for words that people think of: nobody searches 256 bits, however fast the hash.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from ...core.errors import FieldError, InputError
from ...core.files import move
from ...core.locks import lock_of
from ...core.messages import message
from .caller import HOUSE, PRIORITIES, ROLES, THE_HOUSE, Caller

log = logging.getLogger(__name__)

FILE = "tokens.json"
PREFIX = "tr2_"  # by which a token that got somewhere is known for one
TOKEN = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_VERSION = 1
_PATIENCE = 10.0  # seconds for another program that writes the file
_LONGEST_NAME = 64
_MOST_SHARE = 1000.0


class Tokens:
    """Whose token that is. The named ones are those of the file in `folder` as it is at this moment; `single` is the
    service's own, whose holder is an administrator. `clock()` gives seconds. May be used by all threads."""

    def __init__(self, folder: Path | None, single: str, clock: Callable[[], float] = time.time) -> None:
        """Raises `InputError` where the file is there and cannot be read."""
        self._path = folder / FILE if folder is not None else None
        self._single = single.encode()
        self._clock = clock
        self._lock = threading.Lock()
        self._callers: dict[str, Caller] = {}  # by the token's digest
        self._seen: tuple[int, ...] | None = None  # the file's marks when it was read
        self._refresh(strict=True)

    def find(self, token: Any) -> Caller | None:
        """Who shows this token; None for one that does not count (any more)."""
        if not isinstance(token, str):
            return None
        shown = token.encode("utf-8", "replace")
        is_single = hmac.compare_digest(shown, self._single)  # takes as long for a wrong one as for the right one
        return THE_HOUSE if is_single else self._of_digest(_digest(shown))

    def still(self, caller: Caller) -> Caller | None:
        """The same token's holder as of now; None where it was revoked meanwhile, or its time is over."""
        return self._of_digest(caller.digest) if caller.digest else caller

    def named(self, name: str) -> Caller | None:
        """The holder of a token by name, also of one whose time is over."""
        if name == HOUSE:
            return THE_HOUSE
        return next((caller for caller in self.all() if caller.name == name), None)

    def share(self, name: str) -> float:
        caller = self.named(name)
        return caller.share if caller is not None else 1.0

    def all(self) -> list[Caller]:
        """The named tokens, in the order in which they were added."""
        self._refresh()
        return list(self._callers.values())

    def revoke(self, name: str) -> None:
        """As `revoke`."""
        if self._path is None:
            raise _unknown(name)
        revoke(self._path.parent, name)

    def _of_digest(self, digest: str) -> Caller | None:
        self._refresh()
        caller = self._callers.get(digest)
        return None if caller is None or caller.has_ended(day(self._clock())) else caller

    def _refresh(self, strict: bool = False) -> None:
        if self._path is None or (marks := _marks(self._path)) == self._seen:
            return
        with self._lock:
            if marks == self._seen:
                return
            try:
                callers = read(self._path.parent)
            except InputError as error:
                if strict:
                    raise
                log.error("The tokens stay as they were: %s", error)
                callers = list(self._callers.values())
            self._callers = {caller.digest: caller for caller in callers}
            self._seen = marks


def day(seconds: float) -> str:
    """The day of this machine's calendar, such as "2027-03-31"."""
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def read(folder: Path) -> list[Caller]:
    """The holders of the named tokens; raises `InputError` for a file that cannot be used."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))  # as editors on Windows save it
        if content["version"] > _VERSION:
            raise InputError("The tokens in {path} were written by a newer version; update the service.", path=path)
        return [_checked(Caller(**entry)) for entry in content["tokens"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, FieldError) as error:
        raise InputError(
            "The tokens in {path} cannot be read ({reason}); mend the file, or delete it and add them anew.",
            path=path,
            reason=str(error) or type(error).__name__,
        ) from error


def add(folder: Path, caller: Caller) -> str:
    """Draw a token for somebody and write its digest down; the token, which nobody can tell any more after that.

    `folder` is there. Raises `FieldError` for a value that cannot be, or a name that has a token; `InputError`,
    `OSError`.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    added = _checked(replace(caller, name=unicodedata.normalize("NFC", caller.name.strip()), digest=_digest(token)))
    with lock_of(folder / FILE, _PATIENCE):
        there = read(folder)
        if any(one.name.casefold() == added.name.casefold() for one in there):
            rule = message("it has a token already; revoke that one first, or choose another name")
            raise FieldError("name", added.name, rule)
        _write(folder, [*there, added])
    return token


def revoke(folder: Path, name: str) -> None:
    """From now on the token with this name counts no more; raises `FieldError` where there is none."""
    wanted = unicodedata.normalize("NFC", name.strip()).casefold()
    with lock_of(folder / FILE, _PATIENCE):
        there = read(folder)
        left = [one for one in there if one.name.casefold() != wanted]
        if len(left) == len(there):
            raise _unknown(name)
        _write(folder, left)


def _unknown(name: str) -> FieldError:
    sentence = message('No token is named "{name}"; `tokens list` shows those that are there.', name=name)
    return FieldError("name", name, message=sentence)


def _checked(caller: Caller) -> Caller:
    """Raises `FieldError`."""
    name, limit = caller.name, caller.daily_limit
    if not (isinstance(name, str) and name and name.isprintable() and len(name) <= _LONGEST_NAME and "/" not in name):
        raise FieldError("name", name, message("give 1 to {most} letters, digits and signs", most=_LONGEST_NAME))
    if name.casefold() == HOUSE:
        raise FieldError("name", name, message("that is whoever has the service's single token; choose another name"))
    if caller.role not in ROLES:
        raise FieldError("role", caller.role, message("allowed: {choices}", choices=ROLES))
    if caller.priority not in PRIORITIES:
        raise FieldError("priority", caller.priority, message("allowed: {choices}", choices=PRIORITIES))
    if not (isinstance(caller.share, (int, float)) and 1 / _MOST_SHARE <= caller.share <= _MOST_SHARE):
        raise FieldError("share", caller.share, message("give a number such as 1, 2 or 0.5"))
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise FieldError("daily limit", limit, message("give how many results a day may have, from 1"))
    if caller.end is not None and not _is_day(caller.end):
        raise FieldError("end", caller.end, message("give the last day as YEAR-MONTH-DAY, such as 2027-03-31"))
    return caller


def _is_day(text: Any) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except (TypeError, ValueError):
        return False


def _write(folder: Path, callers: list[Caller]) -> None:
    """Whole or not at all, readable by the user of the service alone."""
    content = {"version": _VERSION, "tokens": [asdict(caller) for caller in callers]}
    part = folder / f"{FILE}.part"
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    move(part, folder / FILE)


def _digest(token: str | bytes) -> str:
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).hexdigest()


def _marks(path: Path) -> tuple[int, ...]:
    """What changes when the file does; nothing where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino
