"""Blender's buttons over the library: each operator is a few lines that call it."""

from . import assets, commands, generate, jobs, money, queue

_modules = (generate, queue, jobs, money, assets, commands)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
