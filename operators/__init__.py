"""Blender's buttons over the library: each operator is a few lines that call it."""

from . import asset_tools, assets, commands, folders, generate, jobs, mask, money, queue, rebake, seed, service, sources

_modules = (generate, queue, jobs, money, assets, asset_tools, sources, mask, seed, service, folders, rebake, commands)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
