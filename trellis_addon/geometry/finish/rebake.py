"""`python -m trellis_addon rebake IN.glb --output OUT.glb`: the options, and the way from a file to a file.

Nothing heavy is imported until the work begins, so that a command line can be built of it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...contract.budgets import BUDGETS, Budget, level_budgets
from ...core.errors import FieldError, InputError, TrellisError
from ...core.messages import message, reason_of
from ...core.output import demand_other, put_in_place, try_places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .finish import FinishedAsset

_MOST_LEVELS = 6


def main(arguments: Sequence[str]) -> int:
    """The command without the rest of the command line: what a parent starts as its child."""
    parser = argparse.ArgumentParser(prog="rebake", description="Remesh and rebake a GLB into one clean asset.")
    add_options(parser)
    return run(parser.parse_args(arguments))


def _budgets(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no number of triangles, nor several with commas between") from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """The two files, and what can be chosen."""
    parser.add_argument("source", type=Path, metavar="IN.glb", help="the GLB to start from")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.glb", help="the GLB to write")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="N", help="voxels along the longest side (default 256)"
    )
    parser.add_argument("--texture-size", type=int, metavar="N", help="texels a side (default 2048)")
    parser.add_argument(
        "--faces",
        type=_budgets,
        metavar="N",
        help="the most triangles of the result (default 50000); with commas between them those of each level of detail",
    )
    budgets = ", ".join(f"{name} ({each.faces} triangles, {each.texture_size})" for name, each in BUDGETS.items())
    parser.add_argument("--preset", choices=tuple(BUDGETS), help=f"triangles and texels for: {budgets}")
    parser.add_argument("--quads", type=int, metavar="N", help="about N quads, which OUT.obj keeps")
    parser.add_argument(
        "--lods",
        type=int,
        default=1,
        metavar="N",
        help="levels of detail in the file, NAME_LOD0 and on, each with a quarter of the triangles of the one before",
    )
    shell = parser.add_mutually_exclusive_group()
    shell.add_argument(
        "--solid", dest="solidity", action="store_const", const="solid", help="close every part, whatever it lacks"
    )
    shell.add_argument(
        "--sheets", dest="solidity", action="store_const", const="sheets", help="keep open parts as sheets"
    )
    parser.add_argument("--keep-topology", action="store_true", help="clean the surface, but do not remesh it")
    parser.add_argument(
        "--normal-map",
        action=argparse.BooleanOptionalAction,
        help="bake a normal map (default: where it brings the shading nearer to the source's)",
    )
    parser.add_argument(
        "--texture-format", "--format", dest="format", choices=("webp", "png"), default="webp", help="default webp"
    )
    parser.add_argument("--report", action="store_true", help="print how far it is, as lines of JSON: [stage, share]")
    parser.set_defaults(solidity="automatic", shown=None)


def arguments_of(options: argparse.Namespace) -> list[str]:
    """What `main` takes, for a child that is to do what was asked of this process."""
    numbers = {"resolution": options.resolution, "texture-size": options.texture_size, "preset": options.preset}
    numbers |= {"quads": options.quads, "lods": options.lods, "format": options.format}
    numbers["faces"] = ",".join(map(str, options.faces)) if options.faces else None
    found = [f"--{name}={value}" for name, value in numbers.items() if value is not None]
    found += [] if options.solidity == "automatic" else [f"--{options.solidity}"]
    found += [] if options.normal_map is None else ["--normal-map" if options.normal_map else "--no-normal-map"]
    found += [f"--{name}" for name in ("keep-topology", "report") if getattr(options, name.replace("-", "_"))]
    return [*found, f"--output={options.output}", "--", str(options.source)]


def run(options: argparse.Namespace) -> int:
    """Do it: 0, or 1 with one sentence on standard error."""
    start = time.perf_counter()
    try:
        made = _rebake(options)
    except (TrellisError, OSError) as error:
        print(error if isinstance(error, TrellisError) else reason_of(error), file=sys.stderr)
        return 1
    except MemoryError:
        print("There is not enough memory; take a lower resolution or smaller textures.", file=sys.stderr)
        return 1
    print(f"{options.shown or options.output}: {made} in {time.perf_counter() - start:.1f} s")
    return 0


def _rebake(options: argparse.Namespace) -> str:
    """What the file that was written is made of."""
    suffix = options.output.suffix.lower()
    if suffix not in (".glb", ".obj"):
        raise FieldError("output", str(options.output), "give a file name that ends in .glb, .obj, .fbx or .usd")
    levels = max(options.lods, len(options.faces or ()))
    if levels > 1 and (suffix == ".obj" or options.quads is not None):
        raise FieldError("lods", levels, "levels of detail are of triangles, and in a .glb")
    if options.faces and any(a <= b for a, b in itertools.pairwise(options.faces)):
        raise FieldError(
            "faces", options.faces, "give the levels' triangles from the finest on, each fewer than before"
        )
    if not options.source.is_file():
        raise InputError("There is no file {path}; give the GLB to start from.", path=options.source)
    if options.lods < 1 or levels > _MOST_LEVELS:
        raise FieldError("lods", levels, message("give 1 to {most} levels", most=_MOST_LEVELS))
    if options.quads is not None:
        from ..quads.quads import demand_quads

        demand_quads(options.quads)
    try_places([options.output])
    demand_other(options.source, options.output)
    from ...formats.glb.join import join_glbs
    from ...formats.glb.read import read_glb_near
    from ...formats.glb.scenes import moved
    from ...runtime.child import parent_progress
    from .roundtrip import round_trip_levels

    name = options.source.stem
    preset = BUDGETS.get(options.preset or "", Budget(50_000, 2048))
    faces = [preset.faces] if options.faces is None else options.faces
    mesh, origin = read_glb_near(options.source)
    made = round_trip_levels(
        mesh,
        level_budgets(faces[0], options.lods) if len(faces) == 1 else faces,
        resolution=options.resolution,
        texture_size=preset.texture_size if options.texture_size is None else options.texture_size,
        remesh=not options.keep_topology,
        quads=options.quads,
        solidity=options.solidity,
        normal_map=options.normal_map,
        texture_format="png" if suffix == ".obj" else options.format,
        name=name,
        progress=parent_progress() if options.report else None,
    )
    if suffix == ".obj":
        put_in_place(
            {options.output.with_name(file): content for file, content in _obj(made[0], options, origin).items()}
        )
        return _told(made, options.quads is not None)
    # what is as simple as it can be has no coarser level
    made = [asset for n, asset in enumerate(made) if not n or len(asset.mesh.faces) < len(made[n - 1].mesh.faces)]
    if len(made) > 1:
        glb = join_glbs({f"{name}_LOD{number}": asset.glb for number, asset in enumerate(made)})
    else:
        glb = made[0].glb
    put_in_place({options.output: moved(glb, tuple(origin)) if origin.any() else glb})
    return _told(made, options.quads is not None)


def _obj(asset: FinishedAsset, options: argparse.Namespace, origin: NDArray[np.float64]) -> dict[str, bytes]:
    """The files, quads as quads."""
    import numpy as np

    from ...formats.obj import write_obj
    from ..bake.maps import encode
    from ..quads.pairs import polygons_of
    from .mesh import y_up

    mesh, textures = asset.mesh, asset.mesh.textures
    colour, surface = np.asarray(textures.base_colour), np.asarray(textures.metallic_roughness)
    maps = {"base_colour": encode(colour[..., :3], "png", exact=True)}
    if textures.normal is not None:
        maps["normal"] = encode(textures.normal, "png", exact=True)
    for kind, channel in (("roughness", 1), ("metallic", 2)):
        maps[kind] = encode(surface[..., [channel] * 3], "png", exact=True)
    polygons = polygons_of(mesh.faces) if options.quads is not None else (mesh.faces,)
    places = (y_up(mesh.vertices) + origin).astype(np.float32)
    return write_obj(options.output.stem, places, mesh.uvs, y_up(mesh.normals), polygons, maps)


def _told(made: Sequence[FinishedAsset], is_quads: bool) -> str:
    from ..quads.pairs import polygons_of

    if is_quads:
        quads, triangles = map(len, polygons_of(made[0].mesh.faces))
        return f"{quads + triangles} faces, {quads / max(quads + triangles, 1):.0%} of them quads,"
    return " + ".join(str(len(asset.mesh.faces)) for asset in made) + " triangles"
