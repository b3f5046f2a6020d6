"""The command that makes one clean asset of any GLB: rebake."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ..core.output import try_places
from ..core.streams import unheard
from ..geometry.finish import rebake

_BY_BLENDER = (".fbx", ".usd", ".usda", ".usdc", ".usdz")


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser("rebake", parents=[common], help="remesh and rebake any GLB into one clean asset")
    rebake.add_options(parser)
    parser.set_defaults(run=_rebake, go_on="Nothing was written.", wrong_input=1)


def _rebake(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    if options.output.suffix.lower() in _BY_BLENDER:
        return _through_blender(options)
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    """Here, or where its packages are: Blender's own Python has them in a folder beside it, if anywhere.

    Raises `EngineError` where nobody has got them yet.
    """
    from ..core.processes import end, wait
    from ..runtime.child import can_finish_here, finishing_packages, start_child

    if can_finish_here():
        return rebake.run(options)
    packages = finishing_packages()
    told = {"stdout": subprocess.DEVNULL} if options.shown else {}  # the name of a file that will not be there
    child = start_child(
        ".geometry.finish.rebake", rebake.arguments_of(options), is_local=True, packages=packages, **told
    )
    try:
        code = wait(child)
    except BaseException:
        end(child)
        raise
    if options.shown and code == 0:
        print(options.shown)
    return code


def _through_blender(options: argparse.Namespace) -> int:
    """To an OBJ, which keeps quads, and on from there by Blender's own exporter."""
    from ..scene import require_blender

    require_blender()
    target: Path = options.output
    try_places([target])
    with tempfile.TemporaryDirectory(prefix="trellis2-") as folder:
        options.output, options.shown = Path(folder, f"{target.stem}.obj"), target
        code = _run(options)
        if code == 0:
            from ..scene.delivery.exporting import convert_obj

            with unheard():  # what Blender's exporter tells of itself
                files = convert_obj(options.output, target)
            print("\n".join(map(str, files[1:])))
    return code
