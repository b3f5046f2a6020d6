"""A safetensors file of weights: looked through first, then mapped into memory, each tensor to its device as it is."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...core.errors import EngineError
from ...core.messages import message, message_of, reason_of
from ...formats.safetensors import Entry, Fault, HeaderError, end_of, entry_of, read_header

DTYPES = ("F16", "BF16", "F32")  # those that are read here
_HEADER_LIMIT = 2**20  # bytes; the published ones have some hundred kilobytes
_FAULTS = {
    Fault.NOT_WHOLE: message("it has no header, or not a whole one"),
    Fault.NO_JSON: message("its header is no JSON"),
    Fault.NO_OBJECT: message("its header is no JSON object"),
}


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
    def metadata(self) -> dict[str, str]:
        """What its writer has said of it."""
        return self._mapped.metadata() or {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: entry.shape for key, entry in self._entries.items()}

    @property
    def dtypes(self) -> dict[str, str]:
        """The format's names of them: only those in `DTYPES` are read here."""
        return {key: entry.dtype[:20] for key, entry in self._entries.items()}

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


def _entries(path: Path, file: BinaryIO) -> dict[str, Entry]:
    """What the header says of each tensor, once it is certain that it can be so."""
    try:
        size = os.fstat(file.fileno()).st_size
        header = read_header(file, size, _HEADER_LIMIT)
    except OSError as error:
        raise _damaged(path, reason_of(error)) from None
    except HeaderError as error:
        if error.fault is Fault.PICKLE:
            raise EngineError(
                "The model's file {path} is a pickle or an archive, which may hold programs; only safetensors "
                "files are read: download the model again.",
                path=path,
            ) from None
        if error.fault is Fault.TOO_LARGE:
            raise _damaged(path, message("its header claims {length} bytes", length=error.length)) from None
        raise _damaged(path, _FAULTS[error.fault]) from None
    entries = {}
    for key, told in header.tensors.items():
        entry = entry_of(told)
        if entry is None:
            raise _damaged(path, message("what its header says of {key} makes no sense", key=key[:100]))
        if not entry.fits:
            raise _damaged(path, message("{key} has another size than its shape", key=key[:100]))
        entries[key] = entry
    end = end_of(entries.values())
    if end is None:
        raise _damaged(path, message("its tensors do not lie side by side"))
    if end != size - header.body:
        raise _damaged(
            path, message("it has {size} bytes of tensors instead of {expected}", size=size - header.body, expected=end)
        )
    return entries


def _damaged(path: Path, why: str) -> EngineError:
    return EngineError(
        "The model's file {path} is damaged or incomplete ({why}); download it again.", path=path, why=why
    )
