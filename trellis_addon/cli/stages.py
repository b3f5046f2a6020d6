"""The commands that go on from what was kept of an asset: rework, export."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..task.settings import BY_NAME, FINISHING, Field

# What a rework can change; the rest the kept shape was made with.
_TEXTURE = ("seed", *(name for name in BY_NAME if name.startswith("tex_slat_")))


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to argparse's sub-parsers."""
    rework = commands.add_parser("rework", parents=[common], help="texture or finish an asset again, without sampling")
    rework.add_argument("asset", help="a GLB with its provenance beside it, or the taskUUID of a job")
    rework.add_argument("--output", type=Path, required=True, metavar="FILE.glb")
    rework.add_argument(
        "--texture-again", action="store_true", help="sample the texture again, on the shape that was kept"
    )
    rework.add_argument("--backend", default="", help="where it is done (default: where the asset was made)")
    for name in (*FINISHING, *_TEXTURE):
        rework.add_argument(
            "--" + name.replace("_", "-"), dest="set_" + name, metavar="VALUE", help=_help(BY_NAME[name])
        )
    rework.set_defaults(run=_rework)

    export = commands.add_parser("export", parents=[common], help="write an asset's voxels or its dense mesh")
    export.add_argument("asset", help="as for rework, or a file of latents")
    export.add_argument("--output", type=Path, required=True, metavar="FILE.vxz|npz|glb|ply")
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    export.set_defaults(run=_export)


def _help(field: Field) -> str:
    ending = "; with --texture-again only" if field.name in _TEXTURE else ""
    return f"{field.description} ({field.allowed}{ending})".replace("%", "%%")


def _rework(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    from ..core.progress import Progress
    from ..stages import rework
    from .telling import tell

    given = {name: getattr(options, "set_" + name) for name in (*FINISHING, *_TEXTURE)}
    made = rework(
        _asset(options.asset),
        texture_again=options.texture_again,
        backend=options.backend,
        output=options.output,
        key=key,
        allow_network=allow_network,
        progress=Progress(),
        settings={name: BY_NAME[name].parse(text) for name, text in given.items() if text is not None},
    )
    tell(made)
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
