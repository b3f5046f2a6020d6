"""Blender's buttons over the library: each operator is a few lines that call it."""

from . import (
    asset_tools,
    assets,
    commands,
    export_stages,
    folders,
    generate,
    jobs,
    local,
    mask,
    money,
    queue,
    rebake,
    rework,
    seed,
    service,
    sources,
)

_modules = (
    generate,
    queue,
    jobs,
    money,
    assets,
    asset_tools,
    sources,
    mask,
    seed,
    service,
    local,
    folders,
    rebake,
    rework,
    export_stages,
    commands,
)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
