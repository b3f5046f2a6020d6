"""The command that gives a mesh the look of a picture: texture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..core.errors import FieldError
from ..core.output import try_places
from ..task.settings import BY_NAME, BY_PATH, OF_LATENTS
from .options import Bar, add_picture_options, add_settings, picture_of, settings_of, views_of

# What has no meaning for a mesh whose form is there.
_WITHOUT = (
    *("facing", "uvs", "texture", "project_picture", "remesh", "decimation_target", *OF_LATENTS),
    *(name for name in BY_NAME if name.startswith(("sparse_structure_", "shape_slat_"))),
)


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser("texture", parents=[common], help="a mesh that is there gets the look of a picture")
    parser.add_argument("mesh", metavar="MESH.glb", help="the mesh; the file stays as it is")
    parser.add_argument("image", metavar="PICTURE", help="path, URL, data URI or Base64 of a PNG, JPEG or WebP picture")
    parser.add_argument("--output", type=Path, required=True, metavar="OUT.glb", help="the GLB to write")
    parser.add_argument(
        "--backend", default="draft", help="draft (default), local, or the address of a service of your own"
    )
    parser.add_argument("--model", help=BY_PATH["model"].description + f" ({BY_PATH['model'].allowed})")
    parser.add_argument("--name", default="", help="the asset's name (default: the mesh's)")
    parser.add_argument("--facing", default="front", metavar="VIEW", help=BY_NAME["facing"].description)
    uvs = parser.add_mutually_exclusive_group()
    uvs.add_argument(
        "--keep-uvs",
        dest="uvs",
        action="store_const",
        const="keep",
        help="keep its texture coordinates, as they are",
    )
    uvs.add_argument("--new-uvs", dest="uvs", action="store_const", const="new", help="make new texture coordinates")
    parser.add_argument(
        "--view",
        action="append",
        default=[],
        metavar="VIEW=PICTURE",
        help="another picture of it: back=BACK.png, left=..., right=..., or degrees (135=OTHER.png); once for each",
    )
    add_picture_options(parser)
    add_settings(parser, without=_WITHOUT)
    parser.set_defaults(run=_texture, uvs="auto", wrong_input=1)


def _texture(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..meshes import texture
    from .telling import tell

    if options.output.suffix.lower() != ".glb":
        raise FieldError("output", str(options.output), "give a file name that ends in .glb")
    try_places([options.output])
    image, subject = picture_of(options, allow_network)
    bar = Bar()
    asset = texture(
        options.mesh,
        image,
        facing=options.facing,
        uvs=options.uvs,
        views=views_of(options.view),
        backend=options.backend,
        model=options.model,
        name=options.name,
        subject=subject,
        output=options.output,
        key=key,
        settings=settings_of(options),
        progress=bar.progress(options.name or Path(options.mesh[-80:]).stem),
        allow_network=allow_network,
    )
    bar.end()
    tell(asset, options.output)
    return 0
