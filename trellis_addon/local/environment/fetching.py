"""The wheels of a plan: found, checked for room, and fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import EngineError
from ...core.messages import reason_of
from ...core.progress import Progress
from ...core.sizes import size_words
from ...runtime.layout import LocalFolder
from ...transfer.download import Remote, fetch_all
from ..machine.hardware import free_disk
from .index import Finder, FoundWheel
from .lock import Wanted
from .pip_settings import pip_settings
from .plan import Plan, downloaded_bytes, unpacked_bytes

if TYPE_CHECKING:
    import httpx


@contextlib.contextmanager
def open_finder(plan: Plan) -> Iterator[Finder]:
    """What finds the wheels where the plan takes them from."""
    settings = pip_settings()
    if plan.wheels is not None:
        yield Finder(settings, None, plan.wheels)
        return
    from ...transfer.client import make_client

    with make_client(settings.certificate, settings.proxy) as client:
        yield Finder(settings, client)


def fetch(
    found: Sequence[FoundWheel], folder: LocalFolder, client: httpx.Client | None, progress: Progress
) -> list[Path]:
    """The wheels' paths: of those on this machine where they lie, of the others in `downloads`."""
    from ...transfer.part import fits, hash_file

    paths: list[Path] = []
    remotes: list[tuple[Remote, Path]] = []
    for one in found:
        if one.path is None:
            target = folder.downloads / one.wheel.file
            remotes.append((Remote(one.url, one.wheel.size or None, one.wheel.sha256), target))
            paths.append(target)
            continue
        progress.update("Checking the packages", 0.0)
        try:
            digest = hash_file(one.path, lambda done: progress.check())
        except OSError as error:
            raise EngineError("{path} cannot be read ({reason}).", path=one.path, reason=reason_of(error)) from error
        if not fits(digest, one.wheel.sha256):
            raise EngineError(
                "{path} is not the file that this version is made for: its checksum is another. Take it away, or "
                "replace it.",
                path=one.path,
            )
        paths.append(one.path)
    if remotes:
        fetch_all(remotes, progress, client=client, stage="Downloading")
    return paths


def demand_room(plan: Plan, wanted: Sequence[Wanted], found: Sequence[FoundWheel]) -> None:
    """Raise `EngineError` where the disk cannot hold it, before anything is downloaded."""
    to_come = sum(
        max(one.wheel.size - downloaded_bytes(plan.folder, one.wheel), 0) for one in found if one.path is None
    )
    needed = to_come + unpacked_bytes(wanted, plan.build)
    free = free_disk(plan.folder.root)
    if free and needed > free:
        raise EngineError(
            "The installation needs {needed} and {free} are free on the disk of {folder}; free some space, or "
            "choose another folder.",
            needed=size_words(needed),
            free=size_words(free),
            folder=plan.folder.root,
        )
