"""`python -m trellis_addon.geometry.finish.roundtrip IN.glb OUT.glb`: a textured mesh to one clean asset in its place.

The mesh becomes voxels, and the voxels are finished as a generation is: parts that lie inside of others,
doubled walls and piles of materials go, one surface with one material comes back.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import TrellisError
from ...core.progress import Progress
from ...formats.glb.read import read_glb
from ...formats.glb.textured_mesh import TexturedMesh
from ...runtime.child import parent_progress
from ..remesh.remesh import Solidity
from ..voxelise.voxelise import OVoxel, voxelise
from .finish import DenseAsset, FinishedAsset, Placement, finish


def round_trip(
    mesh: TexturedMesh,
    *,
    resolution: int = 512,
    texture_size: int = 2048,
    faces: int = 100_000,
    remesh: bool = True,
    solidity: Solidity = "automatic",
    normal_map: bool = True,
    texture_format: str = "webp",
    name: str = "Asset",
    provenance: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    device: str = "cpu",
) -> FinishedAsset:
    """The mesh through voxels of 1 / `resolution` of its extent, finished, at its own place and in its own size.

    The GLB is Y up, whichever way is up in the mesh. Raises what `voxelise` and `finish` raise.
    """
    progress = progress or Progress()
    volume = voxelise(mesh, resolution, progress=progress.part(0.0, 0.25))
    return finish(
        dense_asset(volume),
        decimation_target=faces,
        texture_size=texture_size,
        remesh=remesh,
        solidity=solidity,
        normal_map=normal_map,
        texture_format=texture_format,
        transparency=volume.alpha_mode,
        provenance=provenance,
        name=name,
        placement=placement_of(volume),
        progress=progress.part(0.25, 1.0),
        device=device,
    )


def dense_asset(volume: OVoxel) -> DenseAsset:
    """What finishing starts from."""
    vertices, faces = volume.mesh()
    return DenseAsset(
        vertices, faces, volume.coords, volume.attributes, volume.resolution, intersected=volume.intersected
    )


def placement_of(volume: OVoxel) -> Placement:
    """Out of the cube and back to where the voxels' input was."""
    x, y, z = (float(value) for value in volume.transform[:3, 3])
    centre = (x, -z, y) if volume.up == "Y" else (x, y, z)
    return Placement(float(np.linalg.norm(volume.transform[:3, 0])), centre)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trellis_addon.geometry.finish.roundtrip",
        description="Remesh and rebake a GLB into one clean asset.",
    )
    parser.add_argument("source", type=Path, help="the GLB to start from")
    parser.add_argument("target", type=Path, help="the GLB to write")
    parser.add_argument("--resolution", type=int, default=512, help="voxels along the longest side (default 512)")
    parser.add_argument("--texture-size", type=int, default=2048, help="texels a side (default 2048)")
    parser.add_argument("--faces", type=int, default=100_000, help="the most triangles of the result (default 100000)")
    parser.add_argument("--keep-topology", action="store_true", help="clean the surface, but do not remesh it")
    parser.add_argument("--format", choices=("webp", "png"), default="webp", help="of the textures (default webp)")
    parser.add_argument("--report", action="store_true", help="print how far it is, as lines of JSON")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        asset = round_trip(
            read_glb(options.source),
            resolution=options.resolution,
            texture_size=options.texture_size,
            faces=options.faces,
            remesh=not options.keep_topology,
            texture_format=options.format,
            name=options.source.stem,
            progress=parent_progress() if options.report else None,
        )
        options.target.write_bytes(asset.glb)
    except (TrellisError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.target}: {len(asset.mesh.faces)} triangles in {time.perf_counter() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
