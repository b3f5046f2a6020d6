"""Voxel files: what is written is read, and what is damaged or hostile is refused in one sentence."""

from __future__ import annotations

import json
import struct
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("array_api_compat")

from trellis_addon.core.errors import DamagedFileError, InputError
from trellis_addon.geometry.voxelise.files import load_ovoxel, save_ovoxel
from trellis_addon.geometry.voxelise.voxelise import OVoxel
from trellis_addon.geometry.voxels import morton
from trellis_addon.geometry.voxels.vxz import FILTERS, INTERLEAVES, read_npz, read_vxz, write_npz, write_vxz

COMPRESSIONS = ["none", "deflate", "lzma"] + (["zstd"] if sys.version_info >= (3, 14) else [])


def voxels(count: int = 900, side: int = 150, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    centre = random.integers(0, side, (6, 3))
    coords = np.unique((centre[random.integers(0, 6, count)] + random.integers(-4, 5, (count, 3))).clip(0), axis=0)
    random.shuffle(coords)
    values = {"color": random.integers(0, 256, (len(coords), 3)), "flag": random.integers(0, 8, (len(coords), 1))}
    return coords, {name: array.astype(np.uint8) for name, array in values.items()}


def in_order(coords: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    order = np.lexsort(coords.T)
    return [array[order] for array in (coords, *arrays)]


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("interleave", INTERLEAVES)
def test_what_is_written_is_read(tmp_path: Path, filter: str, compression: str, interleave: str) -> None:
    coords, values = voxels()
    path = tmp_path / "voxels.vxz"
    write_vxz(path, coords, values, chunk_size=32, filter=filter, compression=compression, interleave=interleave)
    found, read = read_vxz(path)
    assert list(read) == list(values)
    for ours, theirs in zip(in_order(coords, *values.values()), in_order(found, *read.values()), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("chunk_size", [2, 64, 1024])
def test_chunks_of_any_size(tmp_path: Path, chunk_size: int) -> None:
    coords, values = voxels(seed=4)
    write_vxz(tmp_path / "v.vxz", coords, values, chunk_size=chunk_size, filter="parent")
    found, read = read_vxz(tmp_path / "v.vxz")
    assert np.array_equal(in_order(coords)[0], in_order(found)[0]) and len(read["flag"]) == len(coords)


def test_smooth_values_are_smaller_when_predicted(tmp_path: Path) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), -1).reshape(-1, 3)
    values = {"v": (grid.sum(1, keepdims=True) * 3).astype(np.uint8)}
    sizes = {}
    for filter in FILTERS:
        write_vxz(tmp_path / filter, grid, values, filter=filter, compression="deflate")
        sizes[filter] = (tmp_path / filter).stat().st_size
    assert sizes["neighbor"] < sizes["none"]


def test_octrees_and_codes_go_both_ways() -> None:
    random = np.random.default_rng(2)
    coords = np.unique(random.integers(0, 1024, (500, 3)), axis=0)
    codes = np.sort(morton.encode(coords))
    assert np.array_equal(morton.octree_codes(morton.octree(codes, 10), 10), codes)
    assert np.array_equal(np.sort(morton.encode(morton.decode(codes))), codes)
    assert morton.encode(np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])).tolist() == [4, 2, 1]
    for wrong in (b"\x00", b"\x01", b"\xff" * 5, b"\x01\x00", b"\x01\x01\x01\x01"):
        with pytest.raises(DamagedFileError):
            morton.octree_codes(np.frombuffer(wrong, np.uint8), 3)


def test_what_the_format_cannot_hold_is_said(tmp_path: Path) -> None:
    coords, values = voxels()
    path = tmp_path / "v.vxz"
    wrong: list[tuple[Any, Any, dict[str, Any]]] = [
        (coords, values, {"chunk_size": 100}),
        (coords, values, {"filter": "wavelet"}),
        (coords, values, {"compression": "zip"}),
        (coords, {}, {}),
        (coords, {"../x": values["flag"]}, {}),
        (coords, {"svo": values["flag"]}, {}),
        (coords, {"f": values["flag"].astype(float)}, {}),
        (coords, {"f": values["flag"][:-1]}, {}),
        (np.concatenate([coords, coords]), {"f": np.zeros((2 * len(coords), 1), np.uint8)}, {}),
    ]
    for place, attributes, options in wrong:
        with pytest.raises(InputError):
            write_vxz(path, place, attributes, **options)
    if "zstd" not in COMPRESSIONS:
        with pytest.raises(InputError, match=r"3\.14"):
            write_vxz(path, coords, values, compression="zstd")
    assert not path.exists()


def sound(tmp_path: Path, **options: Any) -> tuple[dict[str, Any], bytes]:
    """The description and the binary part of a sound file."""
    coords, values = voxels(count=200)
    write_vxz(tmp_path / "sound.vxz", coords, values, chunk_size=64, **options)
    data = (tmp_path / "sound.vxz").read_bytes()
    offset = struct.unpack(">I", data[4:8])[0]
    return json.loads(data[8:offset]), data[offset:]


def packed(description: Any, binary: bytes) -> bytes:
    text = json.dumps(description).encode()
    return b"VXZ\0" + struct.pack(">I", 8 + len(text)) + text + binary


def _chunk(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(description: dict[str, Any]) -> None:
        description["chunks"][0][key] = value

    return change


def _top(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(description: dict[str, Any]) -> None:
        description[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _top("num_voxel", 10**18),
        _top("num_voxel", -1),
        _top("num_voxel", 2**27),
        _top("num_voxel", "many"),
        _top("num_voxel", 1.5),
        _top("chunk_size", 2**40),
        _top("chunk_size", 0),
        _top("chunk_size", 96),
        _top("filter", "../../etc/passwd"),
        _top("compression", "lzma" * 1000),
        _top("compression", None),
        _top("attr_interleave", "all"),
        _top("attr", [["../../x", 3], ["flag", 1]]),
        _top("attr", [["svo", 3], ["flag", 1]]),
        _top("attr", [["color", 10**9]]),
        _top("attr", [["color", 3], ["color", 1]]),
        _top("attr", {}),
        _top("chunks", None),
        _top("chunks", [[]]),
        _top("chunks", []),
        _chunk("idx", [10**30, 0, 0]),
        _chunk("idx", "000"),
        _chunk("ptr", [0, 10**18]),
        _chunk("ptr", [-5, 10]),
        _chunk("svo", [0, 10**12]),
        _chunk("svo", [0, 0]),
        _chunk("color", None),
        _chunk("color", [0, 5]),
        _chunk("flag", [True, False]),
    ],
)
def test_a_hostile_description_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    description, binary = sound(tmp_path)
    change(description)
    path = tmp_path / "hostile.vxz"
    path.write_bytes(packed(description, binary))
    with pytest.raises(DamagedFileError, match=r"\.$"):
        read_vxz(path)


@pytest.mark.parametrize("compression", ["none", "deflate", "lzma"])
def test_cut_or_altered_files_are_refused_or_read(tmp_path: Path, compression: str) -> None:
    sound(tmp_path, compression=compression, filter="parent")
    data = (tmp_path / "sound.vxz").read_bytes()
    path = tmp_path / "damaged.vxz"
    for length in range(0, len(data), max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with pytest.raises(DamagedFileError):
            read_vxz(path)
    random = np.random.default_rng(6)
    for place in random.integers(0, len(data), 200):
        altered = bytearray(data)
        altered[place] ^= 1 << random.integers(0, 8)
        path.write_bytes(bytes(altered))
        try:
            coords, values = read_vxz(path)
        except DamagedFileError:
            continue
        assert all(len(array) == len(coords) for array in values.values())


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    description, _ = sound(tmp_path, compression="deflate")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(300_000_000)) + packer.flush()
    chunk = description["chunks"][0]
    description["chunks"] = [{**chunk, "svo": [0, len(bomb)], "ptr": [0, len(bomb)]}]
    path = tmp_path / "bomb.vxz"
    path.write_bytes(packed(description, bomb))
    tracemalloc.start()
    with pytest.raises(DamagedFileError):
        read_vxz(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_numpy_archives(tmp_path: Path) -> None:
    coords, values = voxels()
    write_npz(tmp_path / "v.npz", coords, values)
    found, read = read_npz(tmp_path / "v.npz")
    assert np.array_equal(found, coords) and np.array_equal(read["color"], values["color"])
    data = (tmp_path / "v.npz").read_bytes()
    for wrong in (b"", b"PK", data[: len(data) // 2]):
        (tmp_path / "w.npz").write_bytes(wrong)
        with pytest.raises(DamagedFileError):
            read_npz(tmp_path / "w.npz")
    with pytest.raises(InputError):
        write_npz(tmp_path / "v.npz", coords - 1000, values)


def volume() -> OVoxel:
    coords, _ = voxels()
    random = np.random.default_rng(8)
    transform = np.eye(4)
    transform[:3, 3] = [4, 5, 6]
    return OVoxel(
        coords.astype(np.int32),
        random.random((len(coords), 3), np.float32),
        random.random((len(coords), 3)) < 0.5,
        random.random((len(coords), 6), np.float32),
        256,
        random.random((len(coords), 1), np.float32),
        transform,
        "Y",
        "MASK",
    )


@pytest.mark.parametrize(("name", "room"), [("v.vxz", 0.51 / 255), ("v.npz", 0)])
def test_an_ovoxel_is_kept(tmp_path: Path, name: str, room: float) -> None:
    kept = volume()
    save_ovoxel(tmp_path / name, kept)
    found = load_ovoxel(tmp_path / name)
    assert (found.resolution, found.up, found.alpha_mode) == (256, "Y", "MASK")
    assert np.array_equal(found.transform, kept.transform)
    ours = in_order(kept.coords, kept.dual_vertices, kept.intersected, kept.attributes)
    theirs = in_order(found.coords, found.dual_vertices, found.intersected, found.attributes)
    assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[2], theirs[2])
    assert np.abs(ours[1] - theirs[1]).max() <= room and np.abs(ours[3] - theirs[3]).max() <= room
    assert (found.split_weight is None) == (name == "v.vxz")


def test_what_is_no_ovoxel_is_refused(tmp_path: Path) -> None:
    coords, values = voxels()
    write_vxz(tmp_path / "v.vxz", coords, values)
    write_npz(tmp_path / "v.npz", coords, values)
    (tmp_path / "w.npz").write_bytes(b"not an archive")
    for name in ("v.vxz", "v.npz", "w.npz", "nowhere.vxz"):
        with pytest.raises(DamagedFileError):
            load_ovoxel(tmp_path / name)
    with pytest.raises(InputError):
        save_ovoxel(tmp_path / "v.obj", volume())
