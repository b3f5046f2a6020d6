"""What a GLB keeps as text in its description (`data:` addresses), put into its binary part, where readers look."""

from __future__ import annotations

import base64
import binascii
from typing import Any
from urllib.parse import unquote_to_bytes

from .check import split_glb
from .write import container


def without_data_uris(data: bytes) -> bytes:
    """The same GLB with such images and buffers inside; the very bytes where there are none, or none that can be read.

    A checker says then what is wrong with them. Raises `DamagedFileError` for what is no GLB.
    """
    document, binary = split_glb(data)
    buffers, images = document.get("buffers") or [], document.get("images") or []
    try:
        if not any(_address(item) for item in (*buffers, *images)):
            return data
        return _packed(document, bytes(binary), buffers, images)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, binascii.Error):
        return data


def _packed(document: dict[str, Any], binary: bytes, buffers: list[Any], images: list[Any]) -> bytes:
    content, starts = bytearray(), []
    for number, buffer in enumerate(buffers):
        if "uri" in buffer and not _address(buffer):
            return container(document, binary)
        content += bytes(-len(content) % 4)
        starts.append(len(content))
        content += _decoded(buffer)[1] if "uri" in buffer else binary[: buffer["byteLength"]] if not number else b""
    views = document.setdefault("bufferViews", [])
    for view in views:
        view["byteOffset"] = view.get("byteOffset", 0) + starts[view["buffer"]]
        view["buffer"] = 0
    for image in images:
        if _address(image):
            kind, picture = _decoded(image)
            content += bytes(-len(content) % 4)
            del image["uri"]
            image |= {"bufferView": len(views), "mimeType": image.get("mimeType", kind)}
            views.append({"buffer": 0, "byteOffset": len(content), "byteLength": len(picture)})
            content += picture
    document["buffers"] = [{"byteLength": len(content)}]
    return container(document, bytes(content))


def _address(item: Any) -> str | None:
    address = item.get("uri") if isinstance(item, dict) else None
    return address if isinstance(address, str) and address[:5].lower() == "data:" else None


def _decoded(item: dict[str, Any]) -> tuple[str, bytes]:
    """The type and the content of a `data:` address (RFC 2397)."""
    head, _, text = item["uri"][5:].partition(",")
    kind, *further = head.split(";")
    content = unquote_to_bytes(text)
    return kind, base64.b64decode(content) if "base64" in further else content
