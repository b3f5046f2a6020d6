"""Blender's buttons over the library: each operator is a few lines that call it."""

from . import assets, commands, generate, jobs, mask, money, queue, seed, service, sources

_modules = (generate, queue, jobs, money, assets, sources, mask, seed, service, commands)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
