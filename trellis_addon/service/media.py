"""Pictures in: those that come with a task, and uploads that later tasks name by UUID."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import FieldError, ImageError
from .addresses import AddressPolicy
from .files import FileStore, StoredFile
from .protocol import JsonObject, RequestError, echo

if TYPE_CHECKING:
    from ..images import PreparedImage


def task_image(
    text: str, files: FileStore, policy: AddressPolicy, *, may_leave: bool = False
) -> tuple[bytes, PreparedImage] | str:
    """The picture of a task, as it came and prepared; for a web address the address, which the worker fetches.

    `may_leave`: the worker has a mask model for what cannot be cut out here; see `images.prepare`. Raises
    `ImageError` for a picture that cannot be used, `RequestError` for an upload that is not there.
    """
    from ..images import image_kind, load_image, read_image_bytes

    text = text.strip()
    kind = image_kind(text)
    if kind == "url":
        policy.check(text, "inputs.image")
        return text
    if kind == "uuid":
        data = files.use(text)
        if data is None:
            raise _not_found("inputs.image", text)
    else:
        data, _name = read_image_bytes(text, allow_network=False, allow_path=False)
    return data, load_image(data, allow_path=False, may_leave=may_leave)


def answer_media(request: JsonObject, files: FileStore, base_url: str, policy: AddressPolicy) -> JsonObject:
    """Do a `mediaStorage` or `imageUpload` task; its item."""
    if request["taskType"] == "imageUpload":
        stored = _upload(request, "image", files, policy)
        return {**echo(request), "imageUUID": stored.uuid, "imageURL": base_url + stored.url_path}
    operation = request.get("operation")
    item = {**echo(request), "operation": operation}
    if operation == "upload":
        stored = _upload(request, "media", files, policy)
        return {**item, "mediaUUID": stored.uuid, "mediaURL": base_url + stored.url_path}
    if operation == "delete":
        uuid = request.get("mediaUUID")
        if not isinstance(uuid, str) or not files.delete(uuid):
            raise _not_found("mediaUUID", uuid)
        return {**item, "mediaUUID": uuid}
    allowed = {"allowedValues": ["upload", "delete"]}
    raise FieldError("operation", operation, "allowed: upload, delete", code="invalidOperation", constraint=allowed)


def _upload(request: JsonObject, key: str, files: FileStore, policy: AddressPolicy) -> StoredFile:
    """Keep the picture under `key`: as the file it is, for at least a day after its last use."""
    from ..images import decode, fetch, image_kind, read_image_bytes

    text = request.get(key)
    if not isinstance(text, str) or not text.strip():
        sentence = f"{key}: nothing was given; give a URL, a data URI or Base64."
        raise RequestError("missing" + key.capitalize(), sentence, parameter=key)
    try:
        if image_kind(text.strip()) == "url":
            data = fetch(text.strip(), policy.transport(key))
        else:
            data, _name = read_image_bytes(text, allow_network=False, allow_path=False)
        decode(data)
    except ImageError as error:
        raise RequestError(error.code, str(error), parameter=key) from error
    return files.put(data)


def _not_found(field: str, uuid: Any) -> RequestError:
    sentence = f"{field}: there is no upload with the UUID {str(uuid)[:60]} here (any more); upload the picture again."
    return RequestError("mediaNotFound", sentence, parameter=field)
