"""The one way from a picture to an asset, for the panel, for scripts and for the command line."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .client.backends import BACKENDS, Backend, connect
from .client.client import Account
from .core.errors import (
    ApiKeyError,
    BackgroundError,
    Cancelled,
    FieldError,
    ImageError,
    Interrupted,
    JobError,
    NetworkSettingsError,
    OfflineError,
    OutputError,
    TrellisError,
)
from .core.given import demand, path_of
from .core.machine.parallel import IN_FLIGHT, as_ready
from .core.messages import message
from .core.output import demand_other, put_in_place, reason_of, shortened, try_places
from .core.progress import Progress, ProgressLike, as_progress
from .images import LATER, PreparedImage, clean_name, image_kind, load_image, meant
from .jobs.job import NOT_KEPT, Asset, Job, State, kind_of
from .jobs.money import Price, expected_price
from .jobs.runner import give_up_unsent, run_job
from .jobs.store import JobStore
from .task.settings import OF_LATENTS, Settings
from .task.task import (
    Task,
    check_meaning,
    check_own_settings,
    check_own_views,
    check_uuid,
    new_uuid,
    no_mesh_there,
)
from .task.views import FRONT, name_of_object, named_views

if TYPE_CHECKING:
    from .images.preparing import Picture, Subject

log = logging.getLogger(__name__)

Source: TypeAlias = "Picture | PreparedImage"

THUMBNAIL = 384  # pixels: enough for the card that stands where the asset will be


@dataclass(frozen=True)
class PreparedTask:
    """A task that is checked and ready to be written down, and what the job needs to know beside it.

    `source`, `picture` and `views` are for one that is derived from another job's result; see `Job`, and for `chosen`
    and `uncorrected`.
    """

    task: Task
    name: str
    sha256: str
    thumbnail: bytes = b""
    source: Mapping[str, Any] = field(default_factory=dict)
    picture: str = ""
    views: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    uncorrected: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """As `Job.kind`."""
        return kind_of(bool(self.task.mesh), self.source)

    def write_down(
        self, store: JobStore, backend: Backend, *, batch: str = "", fingerprint: str = "", target: str = ""
    ) -> Job:
        return store.add(
            self.task,
            name=self.name,
            backend=backend.name,
            image_sha256=self.sha256,
            batch=batch,
            fingerprint=fingerprint,
            thumbnail=self.thumbnail,
            target=target,
            source=self.source,
            picture=self.picture,
            views=self.views,
            chosen=self.chosen,
            uncorrected=self.uncorrected,
        )


def generate(
    image: Source,
    *,
    views: Mapping[Any, Source] | None = None,
    backend: str | Backend = "draft",
    model: str | None = None,
    name: str = "",
    subject: Subject | None = None,
    output: str | os.PathLike[str] | None = None,
    key: str = "",
    settings: Settings | Mapping[str, Any] | None = None,
    progress: ProgressLike | None = None,
    allow_network: bool = True,
    store: JobStore | None = None,
    **named_settings: Any,
) -> Asset:
    """Make an asset of a picture; blocks until it is there.

    `image`: a path, URL, data URI, Base64, bytes, or what `load_image` returned. `subject`: a box around the subject,
    in pixels of the upright picture, or "whole"; see `load_image`. `views`: further pictures of the same object, whose
    front the image is, by where they were taken from: `{"back": "back.png", "left": ..., 135: ...}`; names as in
    Blender (right is what its Right view shows), degrees counter-clockwise from above; not for the remote API.
    `backend`:
    "draft" (the default: this machine, no weights), "local" (this machine's GPU, or the draft where no
    weights are installed), "remote" (Runware; the key from `key`, RUNWARE_API_KEY or the keyring), or
    the address of a service. Settings are keywords (`resolution=1024, texture_size=4096, seed=7,
    tex_slat_steps=20`) or a `Settings`; what is not given is not sent, but for `include_cost` to the paid API. With
    `number_results` above 1 the first result is returned and `asset.variations` has them all. `output` is a path that
    the GLB is copied to (with -2, -3, ... for further results), or a folder; it is tried before anything is sent.

    Raises `FieldError`, `ImageError` before anything is sent; `BackendError`, `EngineError`,
    `NetworkError`, `DamagedFileError` after; `OutputError` where `output` could not be written all the same, and says
    where the asset is; `Cancelled` when `progress` says so. All are `TrellisError`s. A job that broke off is in the
    store and goes on with `resume`; one of which nothing was sent is over, and costs nothing.
    """
    wished = Settings(settings or {}).replace(**named_settings)
    where = Backend.of(backend, key, allow_network)

    def prepare(store: JobStore) -> tuple[PreparedTask, Backend]:
        return prepare_task(image, where, wished, model=model, name=name, subject=subject, views=views), where

    return make(prepare, store, progress, output, results=wished.value("number_results"))


def make(
    prepare: Callable[[JobStore], tuple[PreparedTask, Backend]],
    store: JobStore | None,
    progress: ProgressLike | None,
    output: str | os.PathLike[str] | None,
    *,
    results: int = 1,
    source: Path | None = None,
) -> Asset:
    """The end of everything that makes an asset: have a task prepared, write it down, have it made, and copy the asset
    to `output` where there is one; blocks until then.

    `output` is tried before any of it, for so many `results`; it must not be the file `source` that it is made from.
    Raises as `generate` does.
    """
    progress = as_progress(progress)
    target = None if output is None else path_of(output, "output", of_home=True)
    if target is not None:
        check_output(target, results=results)
    store = JobStore() if store is None else store
    demand(store, JobStore, "store", message("give a trellis_addon.jobs.JobStore, or leave it out"))
    prepared, backend = prepare(store)
    if target is not None:
        is_folder = target.is_dir()
        if is_folder:
            check_output(target, prepared.name, results)
        if source is not None:
            demand_other(source, target / f"{prepared.name}.glb" if is_folder else target)
    asset = finish(prepared.write_down(store, backend), backend, store, progress)
    return copy_out(asset, target) if target is not None else asset


def prepare_task(
    image: Source,
    backend: Backend,
    settings: Settings,
    *,
    model: str | None = None,
    name: str = "",
    uuid: str = "",
    subject: Subject | None = None,
    views: Mapping[Any, Source] | None = None,
    mesh: bytes | None = None,
) -> PreparedTask:
    """Everything checked, nothing sent. `uuid`: the taskUUID, where the caller has chosen one. `mesh`: the GLB of one
    that is textured in place of making an asset.

    A picture whose subject cannot be told here goes as it is to the remote API, which cuts subjects out itself, and to
    a service of ours that has a mask model. `subject` as in `load_image`.
    """
    uuid = uuid or new_uuid()
    demand(name, (str, type(None)), "name", message("give a text"))
    further = named_views(views or {})
    if backend.is_remote:
        if mesh is not None:
            raise no_mesh_there()
        check_own_views(further)
        check_own_settings(settings)
        settings = _with_cost(settings)
    model = backend.check_model(model or backend.default_model)
    text = meant(image) if isinstance(image, str) else ""
    if text and subject is None and backend.is_remote and image_kind(text) in ("uuid", "url"):
        # The platform fetches these itself; what it is given is what identifies the picture.
        label = clean_name(name or Path(text.partition("?")[0]).stem)
        return PreparedTask(Task(text, settings, model, uuid), label, hashlib.sha256(text.encode()).hexdigest())
    if not isinstance(image, PreparedImage):
        prepared = load_image(image, subject=subject, allow_network=backend.allow_network, may_leave=True)
    elif subject is None:
        prepared = image
    else:
        raise ImageError("The image was prepared already; give the subject to load_image.")
    pictures = {FRONT: prepared, **{view: _load_view(view, given, backend) for view, given in further.items()}}
    for view, picture in pictures.items():
        if picture.cutout == LATER and not _cuts_out(backend):
            if view == FRONT:
                raise BackgroundError(picture.problem)
            raise ImageError("The {view} view: {problem}", view=view, problem=picture.problem)
    label = clean_name(name) if name else prepared.name
    if further and not name:
        label = clean_name(name_of_object(label))
    for warning in [warning for picture in pictures.values() for warning in picture.warnings]:
        log.warning("%s: %s", label, warning)
    for difference in differences_of(pictures):
        log.warning("%s: %s", label, difference)
    task = Task(
        prepared.data_uri(),
        settings,
        model,
        uuid,
        views={view: picture.data_uri() for view, picture in pictures.items() if view != FRONT},
        mesh=_as_text(mesh),
    )
    check_meaning(task)
    chosen = {view: picture.facts() for view, picture in pictures.items() if picture.was_chosen}
    before = {view: picture.uncorrected for view, picture in pictures.items()}
    uncorrected = {view: picture.data_uri() for view, picture in before.items() if picture is not None}
    return PreparedTask(task, label, prepared.sha256, _thumbnail(prepared), chosen=chosen, uncorrected=uncorrected)


def _as_text(mesh: bytes | None) -> str:
    """A mesh as a task sends it."""
    return "" if mesh is None else "data:model/gltf-binary;base64," + base64.b64encode(mesh).decode("ascii")


def differences_of(pictures: Mapping[str, PreparedImage]) -> tuple[str, ...]:
    """What speaks against these being of one object, as far as they are cut out."""
    cut = {view: picture.comparable for view, picture in pictures.items() if picture.cutout != LATER}
    if len(cut) < 2:
        return ()
    from .images.consistency import differences

    return differences(cut)


def _load_view(view: str, picture: Source, backend: Backend) -> PreparedImage:
    if isinstance(picture, PreparedImage):
        return picture
    try:
        return load_image(picture, allow_network=backend.allow_network, may_leave=True)
    except ImageError as error:
        raise ImageError("The {view} view: {problem}", view=view, problem=error.message) from error


def _cuts_out(backend: Backend) -> bool:
    """Whether the backend cuts subjects out: the remote API does, and a service of ours that has a mask model."""
    if backend.is_remote:
        return True
    with connect(backend) as client:
        return client.about().get("maskModel") is True


def _with_cost(settings: Settings) -> Settings:
    """The settings with the cost asked for, unless the user has switched that off: totals and limits are of it."""
    return settings if "include_cost" in settings else settings.replace(include_cost=True)


def finish(
    job: Job, backend: Backend, store: JobStore, progress: Progress | None = None, *, may_send: bool = True
) -> Asset:
    """Take a stored job to its end and return its first asset; see `run_job` for what is raised.

    Without `may_send` a paid job is not sent for the first time: nobody has asked for that now.
    """
    if job.is_paid and not may_send and job.state is State.WAITING:
        give_up_unsent(job, store)
    try:
        with connect(backend, progress) as client:
            return run_job(job, store, client, progress, may_send=may_send).assets[0]
    except (JobError, Interrupted):
        raise
    except Exception as error:
        # No key, no network, a proxy that is none: it must not be sent, and paid, on the day when there is one.
        if job.is_paid or isinstance(error, (ApiKeyError, OfflineError, NetworkSettingsError, Cancelled)):
            _give_up(job, store, error)
        raise


def _give_up(job: Job, store: JobStore, error: Exception) -> None:
    """End the job if it was not sent; what is raised on the way must not hide why it could not be."""
    told = (
        error
        if isinstance(error, TrellisError)
        else TrellisError("Unexpected problem ({kind}).", kind=type(error).__name__)
    )
    try:
        give_up_unsent(job, store, told)
    except TrellisError as problem:
        if problem is not told:
            log.warning("It cannot be written down that the job %s was not sent: %s", job.uuid, problem)


def resume(
    *,
    key: str = "",
    allow_network: bool = True,
    store: JobStore | None = None,
    progress: Callable[[Job], Progress] = lambda job: Progress(),
) -> Iterator[tuple[Job, Asset | Exception]]:
    """Go on with everything that was begun and is not over: (job, asset or what went wrong), as each gets ready.

    What another program works on is passed over (`TakenError`). Nothing is paid twice, and a paid job that was never
    sent is not sent now: it ends with an `UnsentError`, for Retry or another `generate`.
    """
    store = store or JobStore()

    def work(job: Job) -> Asset:
        return finish(job, backend_of(job, key, allow_network), store, progress(job), may_send=False)

    yield from as_ready(store.unfinished(), work, IN_FLIGHT)


def fetch(task_uuid: str, *, backend: str | Backend = "remote", key: str = "", store: JobStore | None = None) -> Asset:
    """The asset of a task by its taskUUID, whoever sent it: from the store, or else from the service.

    It is asked for and never sent, so nothing is paid.
    """
    check_uuid(task_uuid)
    store = JobStore() if store is None else store
    job = store.get(task_uuid)
    where = backend_of(job, key) if job else Backend.of(backend, key)
    if job is None:
        with connect(where) as client:
            reply, request = client.details(task_uuid)
            if reply is None and not client.poll(task_uuid).known:
                raise JobError(
                    "The service knows no task {task_uuid}; check the UUID and the account.", task_uuid=task_uuid
                )
        known = Settings.from_request(request) if request else Settings()
        job = store.adopt(task_uuid, name=f"task {task_uuid[:8]}", backend=where.name, settings=known)
    return finish(job, where, store, may_send=False)


def retry(
    job: Job,
    store: JobStore,
    *,
    target: str = "",
    uuid: str = "",
    settings: Settings | None = None,
    from_picture: bool = False,
) -> Job:
    """A new job, with a new taskUUID, for the same picture and settings (or these). It is paid like any other.

    A job that went on from what was kept of another one does so again, or with `from_picture` begins anew.
    """
    task = job.task
    if from_picture:
        picture = job.picture
        task = replace(
            task,
            image=picture or NOT_KEPT,
            latents="",
            region=None,
            views=job.views if picture else {},
            settings=task.settings.replace(**dict.fromkeys(OF_LATENTS)),
        )
    if task.image == NOT_KEPT:
        raise JobError('"{name}" cannot be made again from here: its picture was not kept.', name=job.name)
    settings = job.settings if settings is None else settings
    settings = _with_cost(settings) if job.is_paid else settings
    if not task.latents:
        settings = settings.replace(**dict.fromkeys(OF_LATENTS))
    task = replace(task, uuid=uuid or new_uuid(), settings=settings)
    source = {} if from_picture else job.source
    prepared = PreparedTask(
        task, job.name, job.image_sha256, source=source, picture=job.picture, views=job.views, chosen=job.chosen,
        uncorrected=job.uncorrected,
    )  # fmt: skip
    if job.thumbnail.exists():
        prepared = replace(prepared, thumbnail=job.thumbnail.read_bytes())
    return prepared.write_down(store, backend_of(job), target=target or job.target)


def price(
    image: Source,
    *,
    backend: str | Backend = "remote",
    key: str = "",
    subject: Subject | None = None,
    views: Mapping[Any, Source] | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    **named_settings: Any,
) -> Price:
    """What an asset would cost, in US dollars: as the service says in a dry run, or else the range of the examples.

    The picture is sent, because the service checks it; nothing is made. Raises as `generate` does.
    """
    where = Backend.of(backend, key)
    wished = Settings(settings or {}).replace(**named_settings)
    prepared = prepare_task(image, where, wished, subject=subject, views=views)
    with connect(where) as client:
        told = client.price(prepared.task)
    return expected_price(prepared.task.settings.value("number_results")) if told is None else Price(told, told)


def account(backend: str | Backend = "remote", *, key: str = "") -> Account:
    """The balance of the account that the key belongs to; raises `ApiKeyError` for a wrong key."""
    with connect(Backend.of(backend, key)) as client:
        return client.account()


def backend_of(job: Job, key: str = "", allow_network: bool = True) -> Backend:
    """Where a job belongs: it is asked for where it was sent."""
    return Backend(job.backend, key if job.is_paid or job.backend not in BACKENDS else "", allow_network)


def copy_out(asset: Asset, target: Path) -> Asset:
    """Copy the asset, its variations and their provenance to `target`, a GLB or a folder; returns the asset there.

    All of them, whole, or none. Raises `OutputError`, which says where the asset is.
    """
    variations = asset.variations or (asset,)
    try:
        _check_ending(target)
        paths = _names_of_results(target, asset.name, len(variations))
        copies = [replace(made, path=path) for made, path in zip(variations, paths, strict=True)]
        files: dict[Path, Path | bytes] = {}
        for made, copy in zip(variations, copies, strict=True):
            files[copy.path] = made.path
            files[copy.sidecar] = copy.provenance_text.encode()
        put_in_place(files)
    except (OSError, ValueError, RuntimeError, FieldError) as error:
        raise OutputError(
            '"{name}" is made, but cannot be written to "{target}"; it is "{path}".'
            if isinstance(error, FieldError)
            else '"{name}" is made, but cannot be written to "{target}" ({reason}); it is "{path}".',
            name=asset.name,
            target=shortened(target),
            reason=reason_of(error),
            path=asset.path,
        ) from error
    return replace(copies[0], variations=tuple(copies))


def check_output(target: Path, name: str = "", results: int = 1) -> None:
    """Raise `FieldError` unless GLBs can be written there; `target` is the name of one, or a folder.

    `name` is the asset's, where it is known: in a folder the file is called so.
    """
    _check_ending(target)
    paths = _names_of_results(target, name or "asset", results)
    try_places(file for path in paths for file in (path, path.with_suffix(".json")))


def _check_ending(target: Path) -> None:
    if target.suffix.lower() != ".glb" and not os.path.isdir(target):
        raise FieldError("output", str(target), "give a file name that ends in .glb")


def _names_of_results(target: Path, name: str, results: int) -> list[Path]:
    """Where the results of a task go: a.glb, a-2.glb, a-3.glb, ..."""
    first = target / f"{name}.glb" if os.path.isdir(target) else target
    return [first if n == 0 else first.with_stem(f"{first.stem}-{n + 1}") for n in range(results)]


def fingerprint(
    image: Path, settings: Settings, model: str, subject: str = "", views: Mapping[str, Path] | None = None
) -> str:
    """What makes two jobs the same work: the pictures' bytes and what is used of them, the settings, the model."""
    digest = hashlib.sha256(_bytes_of(image))
    work: list[Any] = [settings.to_request(), model, *([subject] if subject else [])]
    if views:
        work.append({view: hashlib.sha256(_bytes_of(path)).hexdigest() for view, path in views.items()})
    digest.update(json.dumps(work, sort_keys=True).encode())
    return digest.hexdigest()


def _bytes_of(image: Path) -> bytes:
    try:
        return image.read_bytes()
    except OSError as error:
        raise ImageError("{image} cannot be read: {reason}.", image=image, reason=reason_of(error)) from error


def _thumbnail(prepared: PreparedImage) -> bytes:
    small = prepared.rgba.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
