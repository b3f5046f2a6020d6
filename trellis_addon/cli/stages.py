"""The commands that go on from what was kept of an asset: go-on, rework, change, vary, export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..task.settings import BY_NAME, FINISHING, Field
from .options import picture_given

# What a rework can change; the rest the kept shape was made with.
_FINISHING = (*FINISHING, "project_picture")
_TEXTURE = ("seed", *(name for name in BY_NAME if name.startswith("tex_slat_")))
_REST = ("resolution", *FINISHING, "seed", *(name for name in BY_NAME if name.startswith(("shape_slat_", "tex_slat_"))))


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to argparse's sub-parsers."""
    rework = commands.add_parser("rework", parents=[common], help="texture or finish an asset again, without sampling")
    rework.add_argument("asset", help="a GLB with its provenance beside it, or the taskUUID of a job")
    rework.add_argument("--output", type=Path, required=True, metavar="FILE.glb")
    rework.add_argument(
        "--texture-again", action="store_true", help="sample the texture again, on the shape that was kept"
    )
    rework.add_argument("--backend", default="", help="where it is done (default: where the asset was made)")
    for name in (*_FINISHING, *_TEXTURE):
        rework.add_argument(
            "--" + name.replace("_", "-"), dest="set_" + name, metavar="VALUE", help=_help(BY_NAME[name])
        )
    rework.set_defaults(run=_rework)

    go_on = commands.add_parser(
        "go-on", parents=[common], help="make the whole assets of rough shapes that were chosen"
    )
    go_on.add_argument("assets", nargs="+", help="GLBs that `generate --rough true` has made, with their provenance")
    go_on.add_argument("--output", type=Path, required=True, metavar="FILE.glb", help="or a folder, of several")
    go_on.add_argument("--backend", default="", help="where it is done (default: where the rough shape was made)")
    for name in _REST:
        words = _help(BY_NAME[name], "")
        go_on.add_argument("--" + name.replace("_", "-"), dest="set_" + name, metavar="VALUE", help=words)
    go_on.set_defaults(run=_go_on)

    change = commands.add_parser("change", parents=[common], help="make a part of an asset anew, and leave the rest")
    change.add_argument("asset", help="as for rework; a draft needs no more than its GLB")
    where = change.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--box",
        nargs=6,
        type=float,
        metavar=("X0", "Y0", "Z0", "X1", "Y1", "Z1"),
        help="two corners, in the asset's own units (x right, y up, z to the front)",
    )
    where.add_argument("--sphere", nargs=4, type=float, metavar=("X", "Y", "Z", "RADIUS"), help="the same of a ball")
    change.add_argument(
        "--image", metavar="PICTURE", help="what it is made of (default: the asset's own, another seed)"
    )
    change.add_argument("--seed", metavar="VALUE", help=_help(BY_NAME["seed"]).partition(";")[0])
    change.add_argument("--rim", type=float, metavar="UNITS", help="how wide the soft edge is (default: 0.04)")
    change.add_argument("--texture-only", action="store_true", help="leave the shape as it is (not of a draft)")
    change.add_argument("--output", type=Path, required=True, metavar="FILE.glb")
    change.add_argument("--backend", default="", help="where it is done (default: where the asset was made)")
    change.set_defaults(run=_change, wrong_input=1)

    vary = commands.add_parser("vary", parents=[common], help="make variants of an asset, near to it or far")
    vary.add_argument("asset", help="as for change")
    vary.add_argument(
        "--strength", required=True, metavar="X", help="how far from it: 0 the asset itself, 1 as free as another seed"
    )
    vary.add_argument("--count", default="1", metavar="N", help="how many (1 to 4; default: 1)")
    vary.add_argument("--image", metavar="PICTURE", help="what they are made of (default: the asset's own)")
    vary.add_argument("--seed", metavar="VALUE", help=_help(BY_NAME["seed"]).partition(";")[0])
    vary.add_argument("--output", type=Path, required=True, metavar="FILE.glb", help="FILE-2.glb, ... for further ones")
    vary.add_argument("--backend", default="", help="where it is done (default: where the asset was made)")
    vary.set_defaults(run=_vary)

    export = commands.add_parser("export", parents=[common], help="write an asset's voxels or its dense mesh")
    export.add_argument("asset", help="as for rework, or a file of latents")
    export.add_argument("--output", type=Path, required=True, metavar="FILE.vxz|npz|glb|ply")
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    export.set_defaults(run=_export)


def _help(field: Field, of_texture: str = "; with --texture-again only") -> str:
    ending = of_texture if field.name in _TEXTURE else ""
    return f"{field.description} ({field.allowed}{ending})".replace("%", "%%")


def _given(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Those of the settings that were given, by their names."""
    given = {name: getattr(options, "set_" + name) for name in names}
    return {name: BY_NAME[name].parse(text) for name, text in given.items() if text is not None}


def _rework(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.progress import Progress
    from ..stages import rework
    from .telling import tell

    made = rework(
        _asset(options.asset),
        texture_again=options.texture_again,
        backend=options.backend,
        output=options.output,
        key=key,
        allow_network=allow_network,
        progress=Progress(),
        settings=_given(options, (*_FINISHING, *_TEXTURE)),
    )
    tell(made)
    return 0


def _go_on(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.errors import FieldError
    from ..core.progress import Progress
    from ..stages import go_on
    from .telling import tell

    if len(options.assets) > 1 and not options.output.is_dir():
        raise FieldError("output", str(options.output), "give a folder for several assets")
    settings = _given(options, _REST)
    for text in options.assets:
        # in a folder each is called as its rough shape was, so that none takes another's place
        output = options.output / f"{Path(text).stem}.glb" if len(options.assets) > 1 else options.output
        made = go_on(
            _asset(text),
            backend=options.backend,
            output=output,
            key=key,
            allow_network=allow_network,
            progress=Progress(),
            settings=settings,
        )
        tell(made)
    return 0


def _change(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.progress import Progress
    from ..stages import change

    region: dict[str, Any] = {"box": options.box} if options.box else {"sphere": options.sphere}
    if options.rim is not None:
        region["rim"] = options.rim
    if options.texture_only:
        region["only"] = "texture"
    made = change(
        _asset(options.asset),
        region,
        image=picture_given(options.image),
        seed=None if options.seed is None else BY_NAME["seed"].parse(options.seed),
        backend=options.backend,
        output=options.output,
        key=key,
        allow_network=allow_network,
        progress=Progress(),
    )
    print(f"{made.path}: {made.name}, engine: {made.engine}, seed {made.seed}")
    return 0


def _vary(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.progress import Progress
    from ..stages import COUNT, STRENGTH, vary

    made = vary(
        _asset(options.asset),
        STRENGTH.parse(options.strength),
        count=COUNT.parse(options.count),
        image=picture_given(options.image),
        seed=None if options.seed is None else BY_NAME["seed"].parse(options.seed),
        backend=options.backend,
        output=options.output,
        key=key,
        allow_network=allow_network,
        progress=Progress(),
    )
    for variant in made.variations or (made,):
        print(f"{variant.path}: {variant.name}, engine: {variant.engine}, seed {variant.seed}")
    return 0


def _export(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..stages import export_stages

    print(f"Decoding {options.asset} ...", file=sys.stderr)
    print(export_stages(_asset(options.asset), options.output, overwrite=options.overwrite))
    return 0


def _asset(text: str) -> Any:
    """What is named: the first result of a job, or a file."""
    from ..core.errors import JobError
    from ..images import image_kind
    from ..jobs.store import JobStore

    if image_kind(text) != "uuid":
        return Path(text)
    job = JobStore().get(text.lower())
    if job is None or not job.assets:
        raise JobError("There is no finished job {text} in the list; `jobs` shows the newest.", text=text)
    return job.assets[0]
