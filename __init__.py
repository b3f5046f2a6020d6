"""TRELLIS.2 for Blender: one picture to a textured PBR asset, in the scene."""

from . import addon, operators, ui


def register() -> None:
    addon.register()
    ui.register()
    operators.register()


def unregister() -> None:
    operators.unregister()
    ui.unregister()
    addon.unregister()
