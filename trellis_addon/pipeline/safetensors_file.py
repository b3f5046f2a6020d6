"""A safetensors file of weights: looked through first, then mapped into memory, each tensor to its device as it is.

The format: eight bytes with the length of a JSON header, the header, the tensors' bytes side by side. It holds numbers
only; a pickle, as PyTorch's own files are, can run programs as it is loaded, and is never opened as one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.errors import EngineError
from ..core.messages import message, message_of, reason_of

DTYPES = ("F16", "BF16", "F32")  # those that are read here
_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "F64": 8}
_SIZES |= {"F16": 2, "BF16": 2, "F32": 4, "F8_E5M2": 1, "F8_E4M3": 1}
_HEADER_LIMIT = 2**20  # bytes; the published ones have some hundred kilobytes
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class SafetensorsFile:
    """An open file whose tensors go to `device`.

    Raises `EngineError`, naming it, when it is missing, damaged, or no safetensors file at all.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        self.path = path
        with _open(path) as file:
            self._entries = _entries(path, file)
        try:
            self._mapped = safe_open(path, framework="pt", device=_named(device)).__enter__()
        except (SafetensorError, OSError) as error:
            raise _damaged(path, message_of(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mapped.__exit__(kind, error, trace)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: entry.shape for key, entry in self._entries.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        """The format's names of them: only those in `DTYPES` are read here."""
        return {key: entry.dtype for key, entry in self._entries.items()}

    def read(self, key: str, rows: slice | None = None) -> Tensor:
        """The tensor, or some rows of it; on the CPU it is a part of the mapped file."""
        try:
            return self._mapped.get_tensor(key) if rows is None else self._mapped.get_slice(key)[rows]
        except (SafetensorError, OSError) as error:
            raise _damaged(self.path, message_of(error)) from None


def _named(device: torch.device | None) -> str:
    """The device as safetensors names it; what it does not know is read to the CPU first."""
    return str(device) if device is not None and device.type in ("cuda", "mps") else "cpu"


def _open(path: Path) -> BinaryIO:
    try:
        if not path.is_file():  # a pipe would be waited for, a device would never end
            raise FileNotFoundError
        return path.open("rb", buffering=0)
    except FileNotFoundError:
        raise EngineError("The model's file {path} is missing; download the model again.", path=path) from None
    except OSError as error:
        raise _damaged(path, reason_of(error)) from None


def _entries(path: Path, file: BinaryIO) -> dict[str, _Entry]:
    """What the header says of each tensor, once it is certain that it can be so."""
    try:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if start.startswith(_PICKLES):
            raise EngineError(
                "The model's file {path} is a pickle or an archive, which may hold programs; only safetensors "
                "files are read: download the model again.",
                path=path,
            )
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= size - 8:
            raise _damaged(path, message("it has no header, or not a whole one"))
        if length > _HEADER_LIMIT:
            raise _damaged(path, message("its header claims {length} bytes", length=length))
        text = bytearray(length)
        _fill(file, memoryview(text))
    except (OSError, EOFError) as error:
        raise _damaged(path, getattr(error, "strerror", None) or message("it ends too early")) from None
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, message("its header is no JSON")) from None
    if not isinstance(header, dict):
        raise _damaged(path, message("its header is no JSON object"))
    header.pop("__metadata__", None)
    entries = {str(key): _entry(path, key, value) for key, value in header.items()}
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != end:
            raise _damaged(path, message("its tensors do not lie side by side"))
        end = entry.end
    if end != size - 8 - length:
        raise _damaged(
            path, message("it has {size} bytes of tensors instead of {expected}", size=size - 8 - length, expected=end)
        )
    return entries


def _entry(path: Path, key: str, value: Any) -> _Entry:
    entry = value if isinstance(value, Mapping) else {}
    dtype, shape, span = entry.get("dtype"), _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or shape is None or span is None or len(span) != 2:
        raise _damaged(path, message("what its header says of {key} makes no sense", key=key[:100]))
    size = math.prod(shape) * _SIZES.get(dtype, 0)
    if dtype in _SIZES and span[1] - span[0] != size:
        raise _damaged(path, message("{key} has another size than its shape", key=key[:100]))
    return _Entry(dtype[:20], shape, span[0], span[1])


def _counts(value: Any) -> tuple[int, ...] | None:
    """A list of sizes or places, as far as it can be one."""
    if not isinstance(value, list) or len(value) > 8:
        return None
    return tuple(value) if all(type(item) is int and 0 <= item < 2**48 for item in value) else None


def _fill(file: BinaryIO, target: memoryview) -> None:
    """Read until `target` is full; `EOFError` where the file ends before."""
    done = 0
    while done < len(target):
        count = file.readinto(target[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count


def _damaged(path: Path, why: str) -> EngineError:
    return EngineError(
        "The model's file {path} is damaged or incomplete ({why}); download it again.", path=path, why=why
    )
