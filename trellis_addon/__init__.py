"""TRELLIS.2 for Blender: from one picture to a textured PBR asset.

    import trellis_addon
    asset = trellis_addon.generate("helmet.webp", resolution=1024)
    trellis_addon.scene.import_asset(asset, height=1.8)      # where there is bpy

Importing this package costs nothing: each name is loaded when it is first used.

A picture becomes a task, a task a job, a job a GLB, and that an object in the scene. The floors, from the ground up;
each knows only those below it, which a linter checks:

core        errors, progress, folders, locks: what everything stands on
transfer    files from the web, gone on with after a break
task        what is asked for, each setting once
images      pictures in: upright, with their subject cut out
formats     GLB files, and what is kept to go on from
runtime     processes of ours, and the local backend's folder
contract    what a production asks of an asset, and whether it keeps it
weights     the weights of TRELLIS.2 on this machine
geometry    voxels to a clean, light, textured mesh, and back
pipeline    TRELLIS.2 in PyTorch: a picture to voxels
engines     a picture to a GLB: TRELLIS.2, or a draft without weights
cluster     several machines, joined by Ray, whose engines answer
service     answering: our own server of the task protocol
client      asking: the remote API, or a service of ours
jobs        a task from wanting it to having its files, whatever happens in between
local       the local backend: installing, estimates, doctor
api         the ways in: from a picture to an asset
stages      ... and on from what was kept of one
meshes      ... and from a mesh that is there to its texture
scene       the only one with `bpy`: a GLB becomes an object
batch       a folder of pictures to one .blend
agents      a door for assistants
cli         the command line

ovoxel      a developers' alias, in a checkout only
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .core.version import VERSION as __version__

if TYPE_CHECKING:
    from . import scene
    from .api import account, fetch, generate, prepare_task, price, resume
    from .core import errors
    from .core.errors import TrellisError
    from .core.progress import Progress
    from .images import load_image
    from .jobs.job import Asset
    from .meshes import texture
    from .stages import change, go_on, rework, vary
    from .task.settings import Settings
    from .task.task import Task

_HOMES = {
    "account": ".api",
    "fetch": ".api",
    "generate": ".api",
    "price": ".api",
    "resume": ".api",
    "change": ".stages",
    "go_on": ".stages",
    "rework": ".stages",
    "vary": ".stages",
    "prepare_task": ".api",
    "texture": ".meshes",
    "Asset": ".jobs.job",
    "Progress": ".core.progress",
    "Settings": ".task.settings",
    "Task": ".task.task",
    "TrellisError": ".core.errors",
    "load_image": ".images",
}
_MODULES = {"errors": ".core.errors", "scene": ".scene"}

__all__ = [
    "Asset",
    "Progress",
    "Settings",
    "Task",
    "TrellisError",
    "__version__",
    "account",
    "change",
    "errors",
    "fetch",
    "generate",
    "go_on",
    "load_image",
    "prepare_task",
    "price",
    "resume",
    "rework",
    "scene",
    "texture",
    "vary",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name], __package__), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name], __package__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
