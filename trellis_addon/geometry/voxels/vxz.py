"""The .vxz file of sparse voxels: chunks, each with an octree and compressed streams of bytes; and plain .npz.

Layout: "VXZ", version 0, the binary part's offset (32 bits, big-endian), a JSON description, the binary part.
A file from elsewhere is not trusted: every length is checked before anything is unpacked.
"""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError
from ...core.messages import message, reason_of
from . import morton
from .vxz_filters import FILTERS, backward, forward, prediction
from .vxz_streams import COMPRESSIONS, LEVELS, compress, decompress

INTERLEAVES = ("none", "as_is", "all")
MAX_VOXELS = 2**27
MAX_CHANNELS = 64
MAX_JSON_BYTES = 2**26
MAX_FILE_BYTES = 2**33

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
_DEFAULTS = {"filter": "none", "attr_interleave": "as_is"}  # for files that leave them out
_RESERVED = ("idx", "ptr", "svo", "attr")

Attributes = Mapping[str, NDArray[np.uint8]]


def write_vxz(
    path: Path | str,
    coords: NDArray[Any],
    attributes: Attributes,
    *,
    chunk_size: int = 256,
    filter: str = "none",
    compression: str = "lzma",
    interleave: str = "as_is",
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write voxels (L, 3) with their attributes (L, C) of 8 bits; `extra` goes into the JSON as it is.

    `chunk_size` is a power of two up to 1024, `filter` none, parent or neighbor, `compression` none, deflate,
    lzma or zstd, `interleave` none (a stream per channel), as_is (one per attribute) or all (one for all).
    Raises `InputError` for what the format cannot hold.
    """
    places = _checked(coords, attributes)
    if chunk_size not in [1 << bits for bits in range(1, morton.MAX_BITS + 1)]:
        raise InputError("A chunk is 2, 4, 8 ... 1024 voxels wide, not {size}.", size=chunk_size)
    for value, allowed in ((filter, FILTERS), (compression, COMPRESSIONS), (interleave, INTERLEAVES)):
        if value not in allowed:
            raise InputError('"{value}" is none of {allowed}.', value=value, allowed=list(allowed))
    depth = chunk_size.bit_length() - 1
    chunk = places // chunk_size
    inner = places - chunk * chunk_size
    codes = morton.encode(inner)
    order = np.lexsort((codes, chunk[:, 2], chunk[:, 1], chunk[:, 0]))
    chunk, inner, codes = chunk[order], inner[order], codes[order]
    borders = np.flatnonzero(np.any(np.diff(chunk, axis=0, prepend=chunk[:1] - 1) != 0, axis=1))
    values = np.concatenate([array.reshape(len(places), -1)[order] for array in attributes.values()], axis=1)
    layout = [(name, array.reshape(len(places), -1).shape[1]) for name, array in attributes.items()]
    binary = bytearray()
    entries = []
    for start, stop in zip(borders, [*borders[1:], len(places)], strict=True):
        part = slice(int(start), int(stop))
        if bool((np.diff(codes[part]) == 0).any()):
            raise InputError("A voxel is listed twice.")
        differences = forward(values[part], prediction(filter, codes[part], inner[part], chunk_size))
        streams = [("svo", morton.octree(codes[part], depth).tobytes())]
        streams += [(name, differences[:, columns].tobytes()) for name, columns in _streams(layout, interleave)]
        entry: dict[str, Any] = {"idx": [int(v) for v in chunk[part.start]]}
        begin = len(binary)
        for name, raw in streams:
            packed = compress(raw, compression)
            entry[name] = [len(binary) - begin, len(packed)]
            binary += packed
        entry["ptr"] = [begin, len(binary) - begin]
        entries.append(entry)
    raw_size = len(places) * (12 + values.shape[1])
    description = {
        **(extra or {}),
        "num_voxel": len(places),
        "chunk_size": chunk_size,
        "filter": filter,
        "compression": compression,
        "compression_level": LEVELS[compression],
        "raw_size": raw_size,
        "compressed_size": len(binary),
        "compress_ratio": raw_size / max(len(binary), 1),
        "attr_interleave": interleave,
        "attr": [list(item) for item in layout],
        "chunks": entries,
    }
    text = json.dumps(description).encode()
    Path(path).write_bytes(b"VXZ\0" + struct.pack(">I", 8 + len(text)) + text + binary)


def read_vxz(path: Path | str) -> tuple[NDArray[np.int32], dict[str, NDArray[np.uint8]]]:
    """Coordinates (L, 3) and attributes (L, C) of 8 bits; `DamagedFileError` says what is wrong with the file."""
    description, binary = _split(Path(path))
    return _unpack(description, binary)


def read_vxz_description(path: Path | str) -> dict[str, Any]:
    """The JSON description of a file, as its writer made it."""
    return _split(Path(path))[0]


def write_npz(path: Path | str, coords: NDArray[Any], attributes: Mapping[str, NDArray[Any]]) -> None:
    """The same as a numpy archive: `coord` (L, 3) uint16 and one array for each attribute."""
    places = np.asarray(coords)
    if places.size and not 0 <= int(places.min()) <= int(places.max()) < 65536:
        raise InputError("An .npz of voxels takes coordinates from 0 to 65535.")
    if "coord" in attributes:
        raise InputError('No attribute can be called "coord".')
    with open(path, "wb") as file:  # numpy would add a suffix to a name without one
        np.savez_compressed(file, coord=places.astype(np.uint16), **dict(attributes))


def read_npz(path: Path | str) -> tuple[NDArray[np.int32], dict[str, NDArray[Any]]]:
    """What `write_npz` wrote; `DamagedFileError` for anything else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(message("it is no archive of numbers")) from error
    except MemoryError:
        raise _damaged(message("it asks for more memory than there is")) from None
    coords = arrays.pop("coord", None)
    if coords is None or coords.ndim != 2 or coords.shape[1] != 3 or coords.dtype.kind not in "iu":
        raise _damaged(message("it has no coordinates"))
    if any(array.ndim == 0 or len(array) != len(coords) for array in arrays.values()):
        raise _damaged(message("an attribute does not fit the voxels"))
    return coords.astype(np.int32), arrays


def _checked(coords: NDArray[Any], attributes: Attributes) -> NDArray[np.int64]:
    places = np.asarray(coords).astype(np.int64)
    if places.ndim != 2 or places.shape[1] != 3 or not len(places):
        raise InputError("A .vxz file needs voxels, as rows of x, y, z.")
    if len(places) > MAX_VOXELS or np.abs(places).max() >= 2**31:
        raise InputError("These are more voxels, or larger coordinates, than a .vxz file can hold.")
    if not attributes:
        raise InputError("A .vxz file needs at least one attribute.")
    channels = 0
    for name, array in attributes.items():
        if not _NAME.fullmatch(name) or name in _RESERVED:
            raise InputError("An attribute cannot be called {name}.", name=repr(name))
        if array.dtype != np.uint8 or array.ndim not in (1, 2) or len(array) != len(places):
            raise InputError("The attribute {name} must be (voxels, channels) of 8 bits.", name=name)
        channels += 1 if array.ndim == 1 else array.shape[1]
    if channels > MAX_CHANNELS:
        raise InputError(
            "A .vxz file holds up to {limit} channels, not {channels}.", limit=MAX_CHANNELS, channels=channels
        )
    return places


def _streams(layout: list[tuple[str, int]], interleave: str) -> list[tuple[str, slice]]:
    """(name, columns) of the streams of a chunk."""
    if interleave == "all":
        return [("attr", slice(0, sum(count for _, count in layout)))]
    out, start = [], 0
    for name, count in layout:
        if interleave == "as_is":
            out.append((name, slice(start, start + count)))
        else:
            out += [(f"{name}_{number}", slice(start + number, start + number + 1)) for number in range(count)]
        start += count
    return out


def _split(path: Path) -> tuple[dict[str, Any], memoryview]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _damaged(message("it is larger than 8 GB"))
        data = path.read_bytes()
    except OSError as error:
        raise DamagedFileError("{path} cannot be read: {reason}.", path=path, reason=reason_of(error)) from error
    if len(data) < 8 or data[:3] != b"VXZ":
        raise _damaged(message("it does not start as a .vxz file does"))
    if data[3] != 0:
        raise _damaged(message("it has version {version}, and only version 0 can be read", version=data[3]))
    offset = struct.unpack(">I", data[4:8])[0]
    if not 8 < offset <= len(data) or offset > MAX_JSON_BYTES:
        raise _damaged(message("its description is cut off"))
    try:
        description = json.loads(data[8:offset].decode("utf-8"))
    except (ValueError, RecursionError):
        raise _damaged(message("its description cannot be read")) from None
    if not isinstance(description, dict):
        raise _damaged(message("its description is not an object"))
    return description, memoryview(data)[offset:]


def _unpack(description: dict[str, Any], binary: memoryview) -> tuple[NDArray[np.int32], dict[str, NDArray[np.uint8]]]:
    total = _whole(description.get("num_voxel"), message("number of voxels"), MAX_VOXELS)
    size = _whole(description.get("chunk_size"), message("chunk size"), 1 << morton.MAX_BITS)
    if size < 2 or size & (size - 1):
        raise _damaged(message("its chunks are {size} voxels wide", size=size))
    kinds: dict[str, str] = {}
    for key, allowed in (("filter", FILTERS), ("compression", COMPRESSIONS), ("attr_interleave", INTERLEAVES)):
        kinds[key] = str(description.get(key, _DEFAULTS.get(key)))
        if kinds[key] not in allowed:
            raise _damaged(
                message("its {what} has the impossible value {value}", what=key, value=repr(kinds[key][:40]))
            )
    layout = _layout(description.get("attr"))
    streams = _streams(layout, kinds["attr_interleave"])
    chunks = description.get("chunks")
    if not isinstance(chunks, list) or len(chunks) > max(total, 1):
        raise _damaged(message("its chunks are not a list of chunks"))
    channels = sum(count for _, count in layout)
    depth = size.bit_length() - 1
    places, values, left = [], [], total
    for chunk in chunks:
        if not isinstance(chunk, dict):
            raise _damaged(message("a chunk is not an object"))
        corner = chunk.get("idx")
        if not (isinstance(corner, list) and len(corner) == 3 and all(_is_whole(v) and abs(v) < 2**20 for v in corner)):
            raise _damaged(message("a chunk has no place"))
        here = _slice(binary, chunk.get("ptr"), "chunk")
        octree = decompress(_slice(here, chunk.get("svo"), "octree"), kinds["compression"], left * depth)
        codes = morton.octree_codes(np.frombuffer(octree, np.uint8), depth)
        left -= len(codes)
        if left < 0:
            raise _damaged(message("it has more voxels than it says"))
        inner = morton.decode(codes)
        block = np.empty((len(codes), channels), np.uint8)
        for name, columns in streams:
            wide = columns.stop - columns.start
            raw = decompress(_slice(here, chunk.get(name), name), kinds["compression"], len(codes) * wide)
            if len(raw) != len(codes) * wide:
                raise _damaged(
                    message(
                        "a stream of {name} has {count} bytes in place of {expected}",
                        name=name,
                        count=len(raw),
                        expected=len(codes) * wide,
                    )
                )
            block[:, columns] = np.frombuffer(raw, np.uint8).reshape(len(codes), wide)
        values.append(backward(block, prediction(kinds["filter"], codes, inner, size)))
        places.append(inner.astype(np.int64) + np.array(corner, np.int64) * size)
    if left:
        raise _damaged(message("it has {found} voxels and says it has {total}", found=total - left, total=total))
    coords = np.concatenate(places).astype(np.int32) if places else np.zeros((0, 3), np.int32)
    table = np.concatenate(values) if values else np.zeros((0, channels), np.uint8)
    out, start = {}, 0
    for name, count in layout:
        out[name] = np.ascontiguousarray(table[:, start : start + count])
        start += count
    return coords, out


def _layout(value: Any) -> list[tuple[str, int]]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CHANNELS:
        raise _damaged(message("it does not say which attributes it has"))
    out = []
    for item in value:
        if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and _NAME.fullmatch(item[0])):
            raise _damaged(message("an attribute has no proper name"))
        out.append((item[0], _whole(item[1], message("number of channels"), MAX_CHANNELS)))
    names = [name for name, _ in out]
    if len(set(names)) < len(names) or set(names) & set(_RESERVED) or any(count < 1 for _, count in out):
        raise _damaged(message("its attributes have names that cannot be told apart"))
    if sum(count for _, count in out) > MAX_CHANNELS:
        raise _damaged(message("it has too many channels"))
    return out


def _slice(data: memoryview, place: Any, what: str) -> memoryview:
    if not (isinstance(place, list) and len(place) == 2 and all(_is_whole(v) and v >= 0 for v in place)):
        raise _damaged(message("a {what} has no place in it", what=what))
    if place[0] + place[1] > len(data):
        raise _damaged(message("a {what} reaches beyond its end: it was cut off", what=what))
    return data[place[0] : place[0] + place[1]]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _whole(value: Any, what: str, most: int) -> int:
    if not _is_whole(value) or not 0 <= value <= most:
        raise _damaged(message("its {what} has the impossible value {value}", what=what, value=str(value)[:40]))
    return int(value)


def _damaged(what: str) -> DamagedFileError:
    return DamagedFileError("The voxel file is damaged: {what}. Fetch or write it again.", what=what)
