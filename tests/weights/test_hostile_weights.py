"""Hostile weights: whatever lies where a model's files should be is refused with a sentence, memory flat."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from devtools.pipeline.make_small import FILES, make_small  # noqa: E402
from trellis_addon.core.errors import EngineError  # noqa: E402
from trellis_addon.pipeline.checkpoint.loading import read_json  # noqa: E402
from trellis_addon.pipeline.checkpoint.repository import Repository  # noqa: E402

CPU = torch.device("cpu")
NAME = "tex_slat_flow_model_512"
MIB = 2**20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_small(tmp_path_factory.mktemp("model") / "small")


@pytest.fixture
def model(small: Path, tmp_path: Path) -> Path:
    shutil.copytree(small, tmp_path / "model")
    return tmp_path / "model"


@contextmanager
def flat(most: int) -> Iterator[None]:
    """This process grows by at most so many megabytes meanwhile."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return

    def value(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024

    before = value("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    yield
    assert value("VmHWM") - before < most


def whole(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + body


def of(**tensors: Any) -> bytes:
    """A file of one entry a tensor, and four bytes of numbers."""
    return whole(json.dumps(tensors).encode(), b"1234")


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (os.mkdir, ("pwned",))


def pickled(path: Path) -> None:
    torch.save({"weight": Evil()}, path)


def legacy(path: Path) -> None:
    torch.save({"weight": Evil()}, path, _use_new_zipfile_serialization=False)


FLAT = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
BYTES: dict[str, bytes] = {
    "nothing": b"",
    "seven bytes": b"1234567",
    "a header of 2^60": whole(b"{}", length=2**60),
    "a header of 2^64": whole(b"{}", length=2**64 - 1),
    "a header larger than the file": whole(b"{}", length=3),
    "a header of no JSON": whole(b"\x00" * 100),
    "a deep header": whole(b'{"a":' * 100_000),
    "a list for a header": whole(b"[1]"),
    "a header of many megabytes": whole(b"{" + b" " * 20 * MIB + b"}"),
    "a header full of values": whole(b'{"a":[' + b"[]," * 340_000 + b"[]]}"),
    "an entry that is a number": of(a=7),
    "an entry without a place": of(a={"dtype": "F32", "shape": [1]}),
    "a negative place": of(a={**FLAT, "data_offsets": [-4, 0]}),
    "a place beyond the end": of(a={**FLAT, "shape": [2**40], "data_offsets": [0, 2**42]}),
    "a place of true and false": of(a={**FLAT, "data_offsets": [False, True]}),
    "a shape beyond all numbers": of(a={**FLAT, "shape": [2**47] * 8}),
    "a shape of another size": of(a={**FLAT, "shape": [2]}),
    "a shape of nothing times much": of(a={**FLAT, "shape": [0, 2**47], "data_offsets": [0, 0]}),
    "two tensors in one place": of(a=FLAT, b=FLAT),
    "a gap between tensors": whole(json.dumps({"a": FLAT, "b": {**FLAT, "data_offsets": [8, 12]}}).encode(), b"x" * 12),
    "bytes that belong to nothing": of(),
}


@pytest.mark.parametrize("what", BYTES)
def test_files_that_are_no_weights(what: str, model: Path) -> None:
    path = model / f"{FILES[NAME]}.safetensors"
    path.write_bytes(BYTES[what])
    with flat(64), pytest.raises(EngineError, match="damaged or incomplete") as caught:
        Repository(model).load(NAME, CPU)
    assert path.name in sentence(caught.value)


@pytest.mark.parametrize("save", [pickled, legacy])
def test_a_pickle_under_another_name_is_never_loaded(
    save: Callable[[Path], None], model: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(model)
    save(model / f"{FILES[NAME]}.safetensors")
    save(model / "pytorch_model.bin")
    with flat(64), pytest.raises(EngineError, match="damaged or incomplete|pickle") as caught:
        Repository(model).load(NAME, CPU)
    sentence(caught.value)
    assert not (model / "pwned").exists()
    if save is pickled:
        assert "a pickle or an archive" in str(caught.value)


def replace(path: Path, make: Callable[[Path], None]) -> None:
    path.unlink()
    make(path)


@pytest.mark.skipif(
    os.name == "nt",
    reason="links and pipes of POSIX; on Windows few may make links, and a folder is refused alike",
)
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(path.parent),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ],
    ids=["a device", "itself", "nowhere", "a folder", "a pipe", "a folder in its place"],
)
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], None], model: Path) -> None:
    for ending in (".safetensors", ".json"):
        path = model / f"{FILES[NAME]}{ending}"
        kept = path.read_bytes()
        replace(path, make)
        with flat(64), pytest.raises(EngineError) as caught:
            Repository(model).load(NAME, CPU)
        sentence(caught.value)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(kept)


@pytest.mark.skipif(
    os.name == "nt", reason="links of POSIX; on Windows the hub's downloads are copies, as in the other tests"
)
def test_a_link_to_a_good_file_is_followed(model: Path, tmp_path: Path) -> None:
    """The hub's own downloads are laid out like that."""
    path = model / f"{FILES[NAME]}.safetensors"
    path.rename(tmp_path / "blob")
    path.symlink_to(tmp_path / "blob")
    assert Repository(model).load(NAME, CPU).get_parameter("blocks.0.mlp.mlp.0.weight").isfinite().all()


@pytest.mark.parametrize(
    "text",
    [b"{" + b" " * 8 * MIB + b"}", b'{"a":' * 100_000, b"[" * 100_000, b"\xff\xfe{}", b"[]", b"7" * 5000, b""],
    ids=["large", "deep", "deep lists", "not UTF-8", "a list", "digits", "empty"],
)
def test_json_that_is_none(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.json"
    path.write_bytes(text)
    with flat(64), pytest.raises(EngineError) as caught:
        read_json(path)
    assert "pipeline.json" in sentence(caught.value)


@pytest.mark.parametrize(
    "place",
    ["../../etc/passwd", "/etc/passwd", "C:/Windows/x", "C:x", "..\\..\\x", "\\\\host\\share\\x", "a/../../x", "x\0y"],
)
def test_places_that_lead_out_of_the_folder(place: str, model: Path) -> None:
    path = model / "pipeline.json"
    data = json.loads(path.read_text())
    data["args"]["models"][NAME] = place
    path.write_text(json.dumps(data))
    with pytest.raises(EngineError, match="leads out of the folder") as caught:
        Repository(model).load(NAME, CPU)
    sentence(caught.value)
