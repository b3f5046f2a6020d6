"""The command that makes one clean asset of any GLB: rebake."""

from __future__ import annotations

import argparse
from typing import Any

from ..geometry.finish import rebake


def add_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to argparse's sub-parsers."""
    parser = commands.add_parser("rebake", parents=[common], help="remesh and rebake any GLB into one clean asset")
    rebake.add_options(parser)
    parser.set_defaults(run=_rebake, go_on="Nothing was written.")


def _rebake(options: argparse.Namespace, key: str, allow_network: bool) -> int:
    return rebake.run(options)
