"""`python -m trellis_addon.engines.export LATENTS FILE`: kept latents as voxels, or as the mesh before finishing.

FILE.vxz are the voxels with their material, small and in bytes; FILE.npz the same, large and exact; FILE.glb and
FILE.ply the dense mesh as it comes out of the voxels, of millions of triangles, with colours at its vertices.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FieldError, LatentsError, TrellisError
from ..core.files import discard, move
from ..core.messages import message, reason_of
from ..core.progress import Progress
from ..core.streams import prepare_streams
from ..formats.glb.write import GENERATOR
from ..formats.latents import FILE_LIMIT, check_latents, whole_only
from ..runtime.child import parent_progress
from ..task.settings import TRELLIS2_MODEL, Settings

if TYPE_CHECKING:
    from ..pipeline.result import PipelineResult

FORMATS = (".vxz", ".npz", ".glb", ".ply")
_DECODING = 0.9  # of the work; the rest is writing


def check_target(target: Path) -> Path:
    """The path unchanged; `FieldError` for the name of a kind that cannot be written."""
    if target.suffix.lower() not in FORMATS:
        raise FieldError(
            "target", str(target), message("give a file name that ends in {allowed}", allowed=list(FORMATS))
        )
    return target


def export_latents(source: Path, target: Path, progress: Progress | None = None) -> None:
    """Decode the latents in `source` and write `target`, whole or not at all; needs the local backend's packages.

    Raises `FieldError` for the target's name, `LatentsError`, `EngineError`, `Cancelled`, `TrellisError` where it
    cannot be written.
    """
    from .engine import Order
    from .registry import create_engine
    from .trellis2 import Trellis2Engine

    check_target(target)
    try:
        with source.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise LatentsError(
            "The latents in {source} cannot be read: {reason}.", source=source, reason=reason_of(error)
        ) from error
    if check_latents(data).is_rough:
        raise whole_only()
    engine = create_engine(TRELLIS2_MODEL)
    assert isinstance(engine, Trellis2Engine)
    progress = progress or Progress()
    result = engine.voxels(Order(None, Settings(), 0, data), progress.part(0.0, _DECODING))
    progress.update("Writing the file", _DECODING)
    part = target.with_name(f".{target.stem}.part{target.suffix.lower()}")
    try:
        _write(result, part)
        move(part, target)
    except OSError as error:
        raise TrellisError("{target} cannot be written: {reason}.", target=target, reason=reason_of(error)) from error
    finally:
        discard(part)


def _write(result: PipelineResult, path: Path) -> None:
    from ..geometry.voxelise.files import save_ovoxel
    from ..geometry.voxelise.voxelise import OVoxel

    if path.suffix in (".vxz", ".npz"):
        weights = None if path.suffix == ".vxz" else result.split_weight
        save_ovoxel(
            path,
            OVoxel(
                result.coords,
                result.dual_vertices,
                result.intersected,
                result.attributes,
                result.resolution,
                weights,
            ),
        )
    else:
        write = dense_glb if path.suffix == ".glb" else dense_ply
        path.write_bytes(write(result.vertices, result.faces, result.attributes))


def dense_glb(vertices: NDArray[Any], faces: NDArray[Any], attributes: NDArray[Any]) -> bytes:
    """A GLB, Y up, of `vertices` (V, 3) with Z up, `faces` (F, 3) in any winding, and their `attributes` (V, 6).

    The base colour and the alpha are vertex colours; metalness and roughness are the means of them all.
    """
    places = np.stack([vertices[:, 0], vertices[:, 2], -vertices[:, 1]], 1).astype("<f4")
    solid = np.clip(attributes, 0, 1)
    colours = np.round(np.concatenate([_linear(solid[:, :3]), solid[:, 5:6]], 1) * 65535).astype("<u2")
    parts = (places, colours, faces.astype("<u4"))
    starts = np.cumsum([0, *(part.nbytes for part in parts)]).tolist()
    binary = b"".join(part.tobytes() for part in parts)
    corner = {"componentType": 5126, "type": "VEC3", "min": places.min(0).tolist(), "max": places.max(0).tolist()}
    document = {
        "asset": {"version": "2.0", "generator": GENERATOR},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "Dense", "mesh": 0}],
        "meshes": [
            {
                "name": "Dense",
                "primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2, "material": 0}],
            }
        ],
        "materials": [
            {
                "name": "Dense",
                "doubleSided": True,
                "pbrMetallicRoughness": {
                    "metallicFactor": round(float(solid[:, 3].mean()), 4),
                    "roughnessFactor": round(float(solid[:, 4].mean()), 4),
                },
            }
        ],
        "accessors": [
            {"bufferView": 0, "count": len(places), **corner},
            {"bufferView": 1, "componentType": 5123, "normalized": True, "count": len(places), "type": "VEC4"},
            {"bufferView": 2, "componentType": 5125, "count": faces.size, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": part.nbytes, "target": 34963 if number == 2 else 34962}
            for number, (start, part) in enumerate(zip(starts, parts, strict=False))
        ],
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    return b"".join(
        (head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(binary), b"BIN\0"), binary)
    )


def dense_ply(vertices: NDArray[Any], faces: NDArray[Any], attributes: NDArray[Any]) -> bytes:
    """A binary PLY, Z up, with colour (sRGB), alpha, metalness and roughness at the vertices, in bytes."""
    names = ("red", "green", "blue", "metallic", "roughness", "alpha")
    corners = np.empty(len(vertices), [(axis, "<f4") for axis in "xyz"] + [(name, "u1") for name in names])
    for axis, column in zip("xyz", vertices.T, strict=True):
        corners[axis] = column
    for name, column in zip(names, np.round(np.clip(attributes, 0, 1) * 255).astype(np.uint8).T, strict=True):
        corners[name] = column
    triangles = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", (3,))])
    triangles["count"], triangles["corners"] = 3, faces
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {GENERATOR}",
        f"element vertex {len(vertices)}",
        *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {name}" for name in names),
        f"element face {len(faces)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    return ("\n".join(lines) + "\n").encode("ascii") + corners.tobytes() + triangles.tobytes()


def _linear(colour: NDArray[Any]) -> NDArray[Any]:
    """sRGB to linear light (IEC 61966-2-1), which is what glTF's vertex colours are in."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def main(arguments: Sequence[str] | None = None) -> int:
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m trellis_addon.engines.export", description=__doc__)
    parser.add_argument("source", type=Path, metavar="LATENTS", help="a latents.safetensors of a job's folder")
    parser.add_argument("target", type=Path, metavar="FILE", help=f"ends in {', '.join(FORMATS)}")
    parser.add_argument("--report", action="store_true", help="print how far it is, as lines of JSON")
    options = parser.parse_args(arguments)
    try:
        export_latents(options.source, options.target, parent_progress() if options.report else None)
    except TrellisError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
