"""Pictures, latents and meshes in: those that come with a task, and uploads that later tasks name by UUID."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...core.errors import DamagedFileError, FieldError, ImageError, LatentsError
from ...core.messages import all_to_wire, message
from ...task.settings import DRAFT_MODEL
from ...task.task import Task
from ..limits import Limits
from ..people.caller import THE_HOUSE, Caller
from ..protocol import JsonObject, RequestError, echo, quoted
from .addresses import AddressPolicy
from .files import LATENTS, MESH, PICTURE, FileStore, looks_like_latents

if TYPE_CHECKING:
    from ...formats.latents import Kept
    from ...images import PreparedImage

# A picture that is unpacked takes some hundred megabytes for a moment: not forty at a time, as there are threads.
_UNPACKING = threading.BoundedSemaphore(2)
_FETCHING = threading.BoundedSemaphore(Limits.fetches)
_DRAFT_LIMIT = 100 * 2**20  # bytes of a draft's GLB
_DATA_URI = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)


def task_image(
    text: str,
    files: FileStore,
    policy: AddressPolicy,
    caller: Caller = THE_HOUSE,
    *,
    may_leave: bool = False,
    field: str = "inputs.image",
) -> tuple[bytes, PreparedImage] | str:
    """The picture in `field` of a task of `caller`'s, as it came and prepared; for a web address that,
    which the worker fetches.

    `may_leave`: the worker has a mask model for what cannot be cut out here; see `images.prepare`. Raises
    `ImageError` for a picture that cannot be used, `RequestError` for an upload that is not there.
    """
    from ...images import image_kind, load_image, read_image_bytes

    text = text.strip()
    if image_kind(text) == "url":
        policy.check(text, field)
        return text
    data = _uploaded(text, files, caller, PICTURE, field)
    if data is None:
        data, _name = read_image_bytes(text, allow_network=False, allow_path=False)
    with _UNPACKING:
        return data, load_image(data, allow_path=False, may_leave=may_leave, max_pixels=Limits.pixels)


def task_views(
    views: Mapping[str, str],
    files: FileStore,
    policy: AddressPolicy,
    caller: Caller = THE_HOUSE,
    *,
    may_leave: bool = False,
) -> dict[str, tuple[bytes, PreparedImage] | str]:
    """The further pictures of a task by view, each as `task_image` has it; `RequestError` names the one at fault."""
    found: dict[str, tuple[bytes, PreparedImage] | str] = {}
    for name, text in views.items():
        field = f"inputs.views.{name}"
        try:
            found[name] = task_image(text, files, policy, caller, may_leave=may_leave, field=field)
        except ImageError as error:
            raise RequestError(error.code, of_view(name, error.message), parameter=field) from error
    return found


def of_view(name: str, problem: str) -> str:
    """What is wrong with a picture, and which one it is."""
    return message("The {view} view: {problem}", view=name, problem=problem)


def task_latents(text: str, files: FileStore, caller: Caller = THE_HOUSE) -> tuple[bytes, Kept | None]:
    """The latents of a task, as they came and what they say: None of a draft, whose GLB they are.

    Raises `LatentsError`, `RequestError`, `DamagedFileError`.
    """
    from ...formats.glb.check import check_glb
    from ...formats.latents import check_latents

    text = text.strip()
    data = _uploaded(text, files, caller, LATENTS, "inputs.latents")
    if data is None:
        data = _latents_in(text)
    if data.startswith(b"glTF"):
        check_glb(data)
        return data, None
    return data, check_latents(data)


def check_draft(model: str, task: Task) -> None:
    """Raise `RequestError` where a draft's GLB cannot be gone on from: a region of it is changed, or a variant is made,
    by the draft."""
    if task.region is None and task.variation is None:
        sentence = message(
            "A draft keeps no latents to go on from: of its GLB a region can be changed, or a variant be made."
        )
        raise RequestError("invalidLatents", sentence, parameter="inputs.latents")
    if model != DRAFT_MODEL:
        sentence = message("The asset is a draft, which {model} does not go on from; use the draft.", model=model)
        raise RequestError("engineNotAvailable", sentence, parameter="inputs.latents")


def task_mesh(text: str, files: FileStore, caller: Caller) -> bytes | None:
    """The mesh of a task, checked, or None where it has none; raises `RequestError`."""
    if not text:
        return None
    from ...formats.glb.check import check_glb

    text = text.strip()
    data = _uploaded(text, files, caller, MESH, "inputs.mesh")
    if data is None:
        data = _decoded(text)
    if data is None:
        sentence = message("The mesh is no UUID, data URI or Base64; send the GLB as one of these.")
        raise RequestError("invalidMesh", sentence, parameter="inputs.mesh")
    try:
        check_glb(data, with_skins=True)
    except DamagedFileError as error:
        raise RequestError("invalidMesh", error.message, parameter="inputs.mesh") from error
    return data


def _uploaded(text: str, files: FileStore, caller: Caller, media_type: str, field: str) -> bytes | None:
    """The upload that `text` names, or None where it is no UUID; `RequestError` where there is none such."""
    from ...images import image_kind

    if image_kind(text[:64]) != "uuid":
        return None
    data = files.use(text, caller, media_type=media_type)
    if data is None:
        raise _not_found(field, text)
    return data


def _latents_in(text: str) -> bytes:
    """The bytes of a data URI or of Base64, no longer than latents can be."""
    from ...formats.latents import FILE_LIMIT

    if len(text) > max(FILE_LIMIT, _DRAFT_LIMIT) * 4 // 3 + 256:
        raise LatentsError(
            "The latents are larger than the {limit} MB that latents can have.",
            limit=max(FILE_LIMIT, _DRAFT_LIMIT) // 2**20,
        )
    data = _decoded(text)
    if data is None:
        raise LatentsError("The latents are no UUID, data URI or Base64; send the file as one of these.")
    return data


def _decoded(text: str) -> bytes | None:
    """The bytes of a data URI or of Base64; None where it is neither."""
    start = _DATA_URI.match(text)
    try:
        return base64.b64decode(text[start.end() if start else 0 :], validate=True)
    except (binascii.Error, ValueError):
        return None


def answer_media(
    request: JsonObject,
    files: FileStore,
    base_url: str,
    policy: AddressPolicy,
    caller: Caller = THE_HOUSE,
    *,
    dry_run: bool = False,
) -> JsonObject:
    """Do a `mediaStorage` or `imageUpload` task; its item. A dry run refuses what is refused, and keeps nothing."""
    if request["taskType"] == "imageUpload":
        data = _sent(request, "image", policy)
        if dry_run:
            files.check_upload(len(data))
            return {}
        stored = files.put_upload(data, caller.name)
        return {**echo(request), "imageUUID": stored.uuid, "imageURL": base_url + stored.url_path}
    operation = request.get("operation")
    item = {**echo(request), "operation": operation}
    if operation == "upload":
        data = _sent(request, "media", policy)
        if dry_run:
            files.check_upload(len(data))
            return {}
        stored = files.put_upload(data, caller.name)
        return {**item, "mediaUUID": stored.uuid, "mediaURL": base_url + stored.url_path}
    if operation == "delete":
        uuid = request.get("mediaUUID")
        if not isinstance(uuid, str) or not (files.has(uuid, caller) if dry_run else files.delete(uuid, caller)):
            raise _not_found("mediaUUID", uuid)
        return {**item, "mediaUUID": uuid}
    allowed = {"allowedValues": ["upload", "delete"]}
    raise FieldError("operation", operation, "allowed: upload, delete", code="invalidOperation", constraint=allowed)


def answer_cutout(
    request: JsonObject,
    files: FileStore,
    base_url: str,
    policy: AddressPolicy,
    caller: Caller = THE_HOUSE,
    *,
    may_leave: bool = False,
    dry_run: bool = False,
) -> JsonObject:
    """Do a `cutOutSubject` task; its item: the picture with its subject cut out, kept as an upload.

    `subject` is a box (left, top, right, bottom) around the subject in pixels of the upright picture, "whole", or not
    there, where it is cut out as a task would. Raises `RequestError` as `answer_media` does, and for a picture whose
    subject nothing can be told of.
    """
    from ...images import LATER, load_image

    text = request.get("image")
    data = _uploaded(text.strip(), files, caller, PICTURE, "image") if isinstance(text, str) else None
    if data is None:
        data = _sent(request, "image", policy)
    try:
        with _UNPACKING:
            made = load_image(
                data,
                subject=request.get("subject"),
                allow_path=False,
                allow_network=False,
                may_leave=may_leave,
                max_pixels=Limits.pixels,
            )
            png = made.png()
    except ImageError as error:
        field = "subject" if error.message.startswith("subject:") else "image"
        raise RequestError(error.code, error.message, parameter=field) from error
    said = {"cutout": made.cutout, "width": made.rgba.width, "height": made.rgba.height}
    if made.warnings:
        warnings = [warning for warning in made.warnings if warning]
        said |= {"warnings": [str(warning) for warning in warnings], "warningTemplates": all_to_wire(warnings)}
    if made.cutout == LATER:
        said["problem"] = made.problem
    if dry_run:
        files.check_upload(len(png))
        return {**said, "cost": 0}
    stored = files.put_upload(png, caller.name)
    return {**said, "mediaUUID": stored.uuid, "mediaURL": base_url + stored.url_path}


def _sent(request: JsonObject, key: str, policy: AddressPolicy) -> bytes:
    """The picture, or the latents, under `key`: the file as it is, and sound. `RequestError` where it is not."""
    from ...formats.glb.check import check_glb
    from ...formats.latents import check_latents
    from ...images import decode, image_kind, read_image_bytes

    text = request.get(key)
    if not isinstance(text, str) or not text.strip():
        sentence = message("{parameter}: nothing was given; give a URL, a data URI or Base64.", parameter=key)
        raise RequestError("missing" + key.capitalize(), sentence, parameter=key)
    try:
        if image_kind(text.strip()) == "url":
            data = _fetched(text.strip(), policy, key)
        else:
            data, _name = read_image_bytes(text, allow_network=False, allow_path=False)
        if data.startswith(b"glTF"):
            check_glb(data, with_skins=True)
        elif looks_like_latents(data):
            check_latents(data)
        else:
            with _UNPACKING:
                decode(data, Limits.pixels)
    except (ImageError, LatentsError, DamagedFileError) as error:
        raise RequestError(error.code, error.message, parameter=key) from error
    return data


def _fetched(url: str, policy: AddressPolicy, key: str) -> bytes:
    """What is behind an address; `RequestError` while many others are being fetched, each of which takes a thread."""
    from ...images import fetch

    if not _FETCHING.acquire(blocking=False):
        sentence = message(
            "The service is fetching {limit} uploads already; send this one again later.", limit=Limits.fetches
        )
        raise RequestError("rateLimitExceeded", sentence, parameter=key)
    try:
        return fetch(url, policy.transport(key))
    finally:
        _FETCHING.release()


def _not_found(field: str, uuid: Any) -> RequestError:
    sentence = message(
        "{parameter}: there is no upload with the UUID {uuid} here (any more); upload the latents again."
        if field == "inputs.latents"
        else "{parameter}: there is no upload with the UUID {uuid} here (any more); upload the mesh again."
        if field == "inputs.mesh"
        else "{parameter}: there is no upload with the UUID {uuid} here (any more); upload the picture again.",
        parameter=field,
        uuid=quoted(uuid),
    )
    return RequestError("mediaNotFound", sentence, parameter=field)
