"""The one way from a picture to an asset, for the panel, for scripts and for the command line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .client.backends import Backend, connect
from .errors import FieldError, ImageError
from .images import PreparedImage, clean_name, image_kind, load_image
from .jobs.job import Asset, Job
from .jobs.runner import run_job
from .jobs.store import JobStore
from .progress import Progress
from .settings import Settings
from .task import Task

log = logging.getLogger(__name__)

Source = str | bytes | os.PathLike[str] | PreparedImage


def generate(
    image: Source,
    *,
    backend: str = "draft",
    model: str | None = None,
    name: str = "",
    output: str | os.PathLike[str] | None = None,
    key: str = "",
    settings: Settings | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    allow_network: bool = True,
    store: JobStore | None = None,
    **named_settings: Any,
) -> Asset:
    """Make an asset of a picture; blocks until it is there.

    `image`: a path, URL, data URI, Base64, bytes, or what `load_image` returned. `backend`:
    "draft" (the default: this machine, no weights), "local" (this machine's GPU, or the draft where no
    weights are installed), "remote" (Runware; the key from `key` or RUNWARE_API_KEY), or the address of
    a service. Settings are keywords (`resolution=1024, texture_size=4096, seed=7,
    tex_slat_steps=20`) or a `Settings`; what is not given is not sent. With `number_results` above 1
    the first result is returned and `asset.variations` has them all. `output` is a path that the GLB is
    copied to (with -2, -3, ... for further results).

    Raises `FieldError`, `ImageError` before anything is sent; `BackendError`, `EngineError`,
    `NetworkError`, `DamagedFileError` after; `Cancelled` when `progress` says so. All are `TrellisError`s.
    """
    wished = Settings(settings or {}).replace(**named_settings)
    where = Backend(backend, key, allow_network)
    if output is not None:
        _check_output(Path(output))
    task, label, sha256 = prepare_task(image, where, wished, model=model, name=name)
    store = store or JobStore()
    job = store.add(task, name=label, backend=where.name, image_sha256=sha256)
    asset = finish(job, where, store, progress)
    return copy_out(asset, Path(output)) if output is not None else asset


def prepare_task(
    image: Source, backend: Backend, settings: Settings, *, model: str | None = None, name: str = ""
) -> tuple[Task, str, str]:
    """(task, the asset's name, SHA-256 of the picture's file): everything checked, nothing sent."""
    model = backend.check_model(model or backend.default_model)
    if isinstance(image, str) and backend.is_remote and image_kind(image.strip()) in ("uuid", "url"):
        # The platform fetches these itself; what it is given is what identifies the picture.
        text = image.strip()
        label = clean_name(name or Path(text.partition("?")[0]).stem)
        return Task(text, settings, model), label, hashlib.sha256(text.encode()).hexdigest()
    prepared = image if isinstance(image, PreparedImage) else load_image(image, allow_network=backend.allow_network)
    for warning in prepared.warnings:
        log.warning("%s: %s", name or prepared.name, warning)
    if name:
        prepared = replace(prepared, name=clean_name(name))
    return Task(prepared.data_uri(), settings, model), prepared.name, prepared.sha256


def finish(job: Job, backend: Backend, store: JobStore, progress: Progress | None = None) -> Asset:
    """Take a stored job to its end and return its first asset; see `run_job` for what is raised."""
    with connect(backend) as client:
        return run_job(job, store, client, progress).assets[0]


def copy_out(asset: Asset, target: Path) -> Asset:
    """Copy the asset, its variations and their provenance to `target`; returns the asset there."""
    if target.is_dir():
        target = target / f"{asset.name}.glb"
    _check_output(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    copies = []
    for position, variation in enumerate(asset.variations or (asset,)):
        path = target if position == 0 else target.with_stem(f"{target.stem}-{position + 1}")
        shutil.copyfile(variation.path, path)
        copy = replace(variation, path=path)
        copy.save_provenance()
        copies.append(copy)
    return replace(copies[0], variations=tuple(copies))


def _check_output(target: Path) -> None:
    if target.suffix.lower() != ".glb" and not target.is_dir():
        raise FieldError("output", str(target), "give a file name that ends in .glb")


def fingerprint(image: Path, settings: Settings, model: str) -> str:
    """What makes two jobs the same work: the picture's bytes, the settings, the model."""
    try:
        digest = hashlib.sha256(image.read_bytes())
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror or error}.") from error
    digest.update(json.dumps([settings.to_request(), model], sort_keys=True).encode())
    return digest.hexdigest()
