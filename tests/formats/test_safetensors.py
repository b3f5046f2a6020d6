"""The header of a safetensors file, as everyone reads it who must not trust the file."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest

from trellis_addon.formats.safetensors import Entry, Fault, HeaderError, end_of, entry_of, read_header

TENSOR = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def file_of(header: Any, body: bytes = bytes(24), padded_to: int = 0) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (padded_to - len(text))
    return len(text).to_bytes(8, "little") + text + body


def read(data: bytes, limit: int = 4096) -> Any:
    return read_header(io.BytesIO(data), len(data), limit)


def test_what_it_says_is_found() -> None:
    header = read(file_of({"__metadata__": {"a": "b"}, "x": TENSOR}))
    assert header.metadata == {"a": "b"} and header.tensors == {"x": TENSOR}
    entry = entry_of(header.tensors["x"])
    assert entry == Entry("F32", (2, 3), 0, 24) and entry.fits and end_of([entry]) == 24
    assert len(file_of({"x": TENSOR})) - read(file_of({"x": TENSOR})).body == 24


@pytest.mark.parametrize("length", [0x180, 0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_begins_as_a_pickle_does_is_read(length: int) -> None:
    """Its first bytes are those of a pickle then: of one file in 32 the first, as headers are padded to eight bytes."""
    data = file_of({"x": TENSOR}, padded_to=length)
    assert data[:1] == b"\x80" and read(data).tensors == {"x": TENSOR}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.NOT_WHOLE),
        (b"1234567", Fault.NOT_WHOLE),
        ((1000).to_bytes(8, "little") + b"{}", Fault.NOT_WHOLE),
        (file_of({"x": TENSOR}, padded_to=5000), Fault.TOO_LARGE),
        ((4).to_bytes(8, "little") + b"{{{{", Fault.NO_JSON),
        ((9).to_bytes(8, "little") + b'{"a":NaN}', Fault.NO_JSON),
        (file_of([1]), Fault.NO_OBJECT),
        (pickle.dumps({"a": list(range(1000))}), Fault.PICKLE),
        (b"PK\x03\x04" + bytes(100), Fault.PICKLE),
        (b"\x80\x04", Fault.PICKLE),
    ],
)
def test_what_is_no_header_is_told(data: bytes, fault: Fault) -> None:
    with pytest.raises(HeaderError) as caught:
        read(data)
    assert caught.value.fault is fault


@pytest.mark.parametrize(
    "told",
    [
        7, None, {}, {**TENSOR, "shape": [-1]}, {**TENSOR, "shape": [True]}, {**TENSOR, "data_offsets": [0]},
        {**TENSOR, "data_offsets": [24, 0]}, {**TENSOR, "dtype": 3}, {**TENSOR, "shape": [1] * 9},
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_no_entry(told: Any) -> None:
    assert entry_of(told) is None


def test_tensors_lie_side_by_side() -> None:
    one, two = Entry("F32", (1,), 0, 4), Entry("F32", (1,), 4, 8)
    assert end_of([two, one]) == 8 and end_of([]) == 0
    assert end_of([one, one]) is None and end_of([two]) is None
    assert not Entry("F32", (2,), 0, 4).fits and Entry("F4", (2,), 0, 1).fits, "of a type of tomorrow nobody can say"
