"""O-Voxels as files: `.vxz`, small and in bytes, as TRELLIS.2 keeps them, or `.npz`, large and exact."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import DamagedFileError, InputError, TrellisError
from ..voxels.vxz import read_vxz, read_vxz_description, write_vxz
from .voxelise import OVoxel

_COLUMNS = {"base_color": slice(0, 3), "metallic": slice(3, 4), "roughness": slice(4, 5), "alpha": slice(5, 6)}
_BITS = np.array([1, 2, 4], np.uint8)


def save_ovoxel(path: Path | str, volume: OVoxel, **options: Any) -> None:
    """Write to NAME.vxz (`options` as for `write_vxz`) or NAME.npz.

    A .vxz keeps positions and attributes to 1/255, and no split weights. Raises `InputError` for other names.
    """
    path = Path(path)
    if path.suffix == ".vxz":
        attributes = {name: _bytes(volume.attributes[:, columns]) for name, columns in _COLUMNS.items()}
        attributes = {
            "dual_vertices": _bytes(volume.dual_vertices),
            "intersected": (volume.intersected @ _BITS)[:, None].astype(np.uint8),
            **attributes,
        }
        extra = {
            "resolution": volume.resolution,
            "transform": volume.transform.tolist(),
            "up": volume.up,
            "alpha_mode": volume.alpha_mode,
        }
        write_vxz(path, volume.coords, attributes, extra=extra, **options)
    elif path.suffix == ".npz":
        arrays: dict[str, NDArray[Any]] = {"coord": volume.coords.astype(np.uint16)}
        if volume.split_weight is not None:
            arrays["split_weight"] = volume.split_weight
        np.savez_compressed(
            path,
            **arrays,
            dual_vertices=volume.dual_vertices,
            intersected=volume.intersected,
            attributes=volume.attributes,
            resolution=np.array(volume.resolution),
            transform=volume.transform,
            up=np.array(volume.up),
            alpha_mode=np.array(volume.alpha_mode or ""),
        )
    else:
        raise InputError("An O-Voxel is kept as .vxz or .npz, not as {name}.", name=path.name)


def load_ovoxel(path: Path | str) -> OVoxel:
    """What `save_ovoxel` wrote; `DamagedFileError` for anything else."""
    path = Path(path)
    try:
        if path.suffix == ".vxz":
            return _from_vxz(path)
        with np.load(path, allow_pickle=False) as file:
            return _from_arrays({name: file[name] for name in file.files})
    except TrellisError:
        raise
    except (OSError, ValueError, TypeError, KeyError, EOFError, OverflowError, zipfile.BadZipFile) as error:
        raise DamagedFileError("{name} is not a sound O-Voxel file; write it again.", name=path.name) from error


def _from_vxz(path: Path) -> OVoxel:
    description = read_vxz_description(path)
    coords, attributes = read_vxz(path)
    flags = attributes["intersected"][:, :1] & _BITS != 0
    values = np.concatenate([attributes[name] for name in _COLUMNS], axis=1)
    return _made(coords, attributes["dual_vertices"] / np.float32(255), flags, values / np.float32(255), description)


def _from_arrays(arrays: Mapping[str, NDArray[Any]]) -> OVoxel:
    return _made(
        arrays["coord"].astype(np.int32),
        arrays["dual_vertices"],
        arrays["intersected"],
        arrays["attributes"],
        {key: arrays[key].tolist() for key in ("resolution", "transform", "up", "alpha_mode")},
        arrays.get("split_weight"),
    )


def _made(
    coords: NDArray[np.int32],
    vertices: NDArray[Any],
    flags: NDArray[Any],
    values: NDArray[Any],
    description: Mapping[str, Any],
    weight: NDArray[np.float32] | None = None,
) -> OVoxel:
    resolution, transform = description["resolution"], np.array(description["transform"], np.float64)
    up, alpha_mode = description["up"], description["alpha_mode"] or None
    if (
        not isinstance(resolution, int)
        or not 1 <= resolution <= 65536
        or (len(coords) and not 0 <= int(coords.min()) <= int(coords.max()) < resolution)
        or transform.shape != (4, 4)
        or not np.isfinite(transform).all()
        or up not in ("Y", "Z")
        or alpha_mode not in (None, "OPAQUE", "MASK", "BLEND")
    ):
        raise ValueError("the description does not fit the voxels")
    return OVoxel(
        coords,
        vertices.astype(np.float32),
        flags.astype(bool),
        values.astype(np.float32),
        resolution,
        weight,
        transform,
        up,
        alpha_mode,
    )


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(values, 0, 1) * 255), np.uint8)
