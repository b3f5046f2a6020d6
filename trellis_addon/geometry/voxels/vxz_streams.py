"""Compressing the streams of a .vxz file, and unpacking them without trusting what they claim to be."""

from __future__ import annotations

import importlib
import lzma
import zlib
from typing import Any

from ...core.errors import DamagedFileError, InputError

COMPRESSIONS = ("none", "deflate", "lzma", "zstd")
LEVELS = {"none": 0, "deflate": 9, "lzma": 9, "zstd": 22}

_DICTIONARY = 2**26  # bytes, of LZMA's preset 9


def compress(raw: bytes, kind: str) -> bytes:
    if kind == "deflate":
        packer = zlib.compressobj(LEVELS[kind], zlib.DEFLATED, -15)
        return packer.compress(raw) + packer.flush()
    if kind == "lzma":
        return lzma.compress(raw, format=lzma.FORMAT_RAW, filters=_lzma2(len(raw)))
    if kind == "zstd":
        return bytes(_zstd().compress(raw, level=LEVELS[kind]))
    return raw


def decompress(data: memoryview, kind: str, most: int) -> bytes:
    """The stream's bytes; `DamagedFileError` where they are damaged or more than `most`."""
    try:
        if kind == "none":
            out, complete = bytes(data[: most + 1]), True
        elif kind == "deflate":
            inflater = zlib.decompressobj(-15)
            out = inflater.decompress(bytes(data), most + 1)
            complete = inflater.eof or len(out) > most
        elif kind == "lzma":
            unpacker = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_lzma2(most))
            out = unpacker.decompress(bytes(data), most + 1)
            complete = True  # raw LZMA2 of the right length is told by its length
        else:
            module = _zstd()
            reader = module.ZstdDecompressor()
            try:
                out = reader.decompress(bytes(data), most + 1)
            except module.ZstdError as error:
                raise _damaged() from error
            complete = reader.eof or len(out) > most
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise _damaged() from error
    if len(out) > most or not complete:
        raise _damaged()
    return out


def _lzma2(length: int) -> list[dict[str, Any]]:
    """Preset 9, with no more of a dictionary than a stream of that length can look back to."""
    return [{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": min(max(length, 4096), _DICTIONARY)}]


def _zstd() -> Any:
    try:
        return importlib.import_module("compression.zstd")
    except ImportError:
        raise InputError(
            "The voxel file is compressed by zstd, which Python has from 3.14 on; write it with lzma or deflate."
        ) from None


def _damaged() -> DamagedFileError:
    return DamagedFileError("The voxel file is damaged: a stream cannot be unpacked. Fetch or write it again.")
