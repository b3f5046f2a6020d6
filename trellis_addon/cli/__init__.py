"""The command line: `python -m trellis_addon ...`, and in Blender `blender --command trellis2 ...`.

commands   the parser, and what makes assets: generate, batch, serve
farm       batches: by one process, in parts, by many on one shared folder, and what they say at the end
jobs       what is there already, and money: jobs, resume, fetch, price, account, limit
stages     going on from what was kept of an asset: go-on, rework, change, vary, export
telling    what they say of an asset
texture    a mesh that is there gets the look of a picture
rebake     any GLB to one clean asset
tokens     who may ask a service: add, list, revoke
agents     serving assistants: mcp
check      assets held against a contract
cluster    several machines behind one service: status, doctor, drain
options    what several commands have in common
local      the local backend: install, remove, weights, doctor
weights    the weights alone: list, fetch, remove, verify, manifest
"""

from __future__ import annotations

from typing import Any


def main(arguments: list[str] | None = None, **options: Any) -> int:
    """Run one command and return its exit code; see `commands.main`."""
    from . import commands

    return commands.main(arguments, **options)
