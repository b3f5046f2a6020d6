"""The manual that the build puts beside the code, and what helps to find a fault, without what is nobody's business."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from pathlib import Path

import bpy

from ..trellis_addon.core.version import VERSION
from . import logs
from .loaded import loaded

_PAGE = Path(__file__).resolve().parents[1] / "manual" / "manual.html"
_JOBS = 5  # the last that failed


def manual_page() -> Path | None:
    """The page to open; None in a checkout, where docs/ is."""
    return _PAGE if _PAGE.is_file() else None


def fault_report() -> str:
    """Versions, system, the last failed jobs and warnings; keys, tokens and names of people are taken out."""
    from ..trellis_addon.local.doctor.redact import redacted

    return redacted("\n".join(_lines()) + "\n")


def _lines() -> Iterator[str]:
    from ..trellis_addon.core.errors import TrellisError
    from .preferences import preferences

    app = bpy.app
    built = app.build_hash.decode("ascii", "replace")
    yield f"TRELLIS.2 {VERSION}"
    yield f"Blender {app.version_string} ({built}), Python {platform.python_version()}, {platform.platform()}"
    yield f"Online access: {'on' if app.online_access else 'off'}; language: {app.translations.locale or 'en_US'}"
    if (state := getattr(bpy.context.scene, "trellis2", None)) is not None:
        yield f"Run On: {state.backend}"
    if (stored := preferences()) is not None and stored.service_url:
        yield f"Service: {stored.service_url}"
    yield from ("", "Failed last:")
    try:
        yield from _failed_jobs()
    except TrellisError as error:
        yield f"The jobs cannot be read: {error}"
    yield from ("", "Warnings since Blender started:", *logs.recent())
    setup = loaded("scene.setup.local_setup")
    if setup is not None and (report := setup.report()) is not None:
        yield from ("", "Local GPU:", str(report))


def _failed_jobs() -> Iterator[str]:
    from ..trellis_addon.jobs.store import JobStore

    for job in [job for job in JobStore().recent(200) if job.error][:_JOBS]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
        yield f"{when} {job.backend} {job.state} {job.uuid}: {job.error}"
