"""`blender --command trellis2 ...`: the command line, inside Blender."""

from __future__ import annotations

import bpy

_handle: object | None = None


def _run(arguments: list[str]) -> int:
    from ..addon.preferences import preferences
    from ..trellis_addon.cli import main

    stored = preferences()
    return main(
        arguments,
        program="blender --command trellis2",
        key=stored.api_key if stored else "",
        allow_network=bpy.app.online_access,
    )


def register() -> None:
    global _handle
    _handle = bpy.utils.register_cli_command("trellis2", _run)


def unregister() -> None:
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
        _handle = None
