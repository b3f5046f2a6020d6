"""The header of a safetensors file, read by hand: what the file claims to hold, before anything else sees it.

The format: eight bytes with the length of a JSON header, little-endian; the header, which gives each tensor's type,
shape and place; the tensors' bytes, side by side. It holds numbers only; a pickle, as PyTorch's own files are, can run
programs as it is loaded, and is never opened as one. How large a header may be, and in which words a fault is told, is
up to whoever reads.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "F64": 8}
SIZES |= {"F16": 2, "BF16": 2, "F32": 4, "F8_E5M2": 1, "F8_E4M3": 1}  # bytes of a number, by the format's names
_PICKLES = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
_MOST_DIMENSIONS = 8
_LARGEST = 2**48  # of a count, or a place: far beyond any file


class Fault(enum.Enum):
    """What is wrong with a header."""

    PICKLE = "a pickle or an archive"
    NOT_WHOLE = "no header, or not a whole one"
    TOO_LARGE = "a header larger than may be"
    NO_JSON = "a header that is no JSON"
    NO_OBJECT = "a header that is no JSON object"


class HeaderError(ValueError):
    """`fault` says what is wrong; `length` is how many bytes the header claims to have."""

    def __init__(self, fault: Fault, length: int = 0) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.length = length


@dataclass(frozen=True)
class Header:
    """`tensors` are what is said of each, unchecked (`entry_of`); `body` is where the tensors' bytes begin."""

    tensors: dict[str, Any]
    metadata: Any
    body: int


@dataclass(frozen=True)
class Entry:
    """One tensor: its type by the format's name, its shape, and from where to where its bytes lie in the body."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def fits(self) -> bool:
        """Whether its place is as large as its shape; of a type that is not known nobody can say."""
        size = SIZES.get(self.dtype)
        return size is None or self.end - self.begin == math.prod(self.shape) * size


def read_header(file: BinaryIO, size: int, limit: int) -> Header:
    """The header of a file of `size` bytes, open at its start; `limit` is the most bytes it may have.

    Raises `HeaderError`, and `OSError` as the file does.
    """
    start = _read(file, 8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or not 2 <= length <= size - 8:
        raise HeaderError(_unless_pickle(start, Fault.NOT_WHOLE), length)
    if length > limit:
        raise HeaderError(_unless_pickle(start, Fault.TOO_LARGE), length)
    text = _read(file, length)
    if len(text) < length:
        raise HeaderError(Fault.NOT_WHOLE, length)
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise HeaderError(_unless_pickle(start, Fault.NO_JSON), length) from None
    if not isinstance(found, dict):
        raise HeaderError(Fault.NO_OBJECT, length)
    metadata = found.pop("__metadata__", {})
    return Header(found, metadata, 8 + length)


def entry_of(told: Any) -> Entry | None:
    """What the header says of one tensor; None where that makes no sense."""
    entry = told if isinstance(told, Mapping) else {}
    dtype, shape, span = entry.get("dtype"), _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or span is None or len(span) != 2 or span[0] > span[1]:
        return None
    return Entry(dtype, shape, *span)


def end_of(entries: Iterable[Entry]) -> int | None:
    """Where the last tensor ends in the body; None where they overlap, or leave room between them."""
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != end:
            return None
        end = entry.end
    return end


def _unless_pickle(start: bytes, fault: Fault) -> Fault:
    """Only of what is no safetensors file its first bytes tell: the length of a header may begin as a pickle does."""
    return Fault.PICKLE if start.startswith(_PICKLES) else fault


def _read(file: BinaryIO, count: int) -> bytes:
    """As many bytes as the file has of these; one without a buffer may give fewer at a time."""
    pieces, left = [], count
    while left and (piece := file.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _counts(value: Any) -> tuple[int, ...] | None:
    """A list of sizes or places, as far as it can be one."""
    if not isinstance(value, list) or len(value) > _MOST_DIMENSIONS:
        return None
    return tuple(value) if all(type(item) is int and 0 <= item < _LARGEST for item in value) else None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
