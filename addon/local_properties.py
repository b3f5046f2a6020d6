"""What the preferences keep about the local backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from . import handover
from .variables import LOCAL_FOLDER, LOCAL_PYTHON, WEIGHTS

if TYPE_CHECKING:
    from ..trellis_addon.scene.setup.local_setup import Choices


# Functions, and no lambdas: what Blender makes of an annotation has not this module's names.
def _use_folders(self: LocalProperties, context: bpy.types.Context) -> None:
    if handover.is_taking():
        return
    tell_library(self)
    handover.keep(self)
    _look_again(self, context)


def _look_again(self: LocalProperties, context: bpy.types.Context) -> None:
    if not bpy.app.background:
        from ..trellis_addon.scene.setup import local_setup

        local_setup.look_later(choices(self))


class LocalProperties:
    """Mixed into the extension's preferences."""

    local_folder: StringProperty(
        name="Folder",
        description="Everything that the local backend brings goes here, and nothing anywhere else",
        subtype="DIR_PATH",
        update=_use_folders,
    )
    local_resolutions: EnumProperty(
        name="Resolutions",
        description="What assets shall be made at; the weights for it are downloaded",
        items=[
            ("512", "512", "Fast, coarse", 1),
            ("1024", "1024", "What most assets are made at", 2),
            ("1536", "1536", "The finest; needs the weights of 1024 and more memory", 4),
        ],
        default={"512", "1024"},
        options={"ENUM_FLAG"},
        update=_look_again,
    )
    local_mask: BoolProperty(
        name="Cut Out Busy Backgrounds",
        description="Also download BiRefNet, for pictures without transparency whose background is not plain",
        update=_look_again,
    )
    local_source: EnumProperty(
        name="Weights From",
        description="Where the weights are downloaded from",
        items=[
            ("HUB", "Hugging Face", "The public hub that the weights are published on", 0),
            ("MIRROR", "Mirror", "A web address with a copy of them, such as a studio's own server", 1),
            ("FOLDER", "Folder", "A folder on this computer or in its network with a copy of them", 2),
        ],
        update=_look_again,
    )
    local_mirror: StringProperty(
        name="Address", description="Address of the mirror, such as http://files.studio/trellis2", update=_look_again
    )
    local_copy: StringProperty(
        name="Copy", description="The folder with the copy of the weights", subtype="DIR_PATH", update=_look_again
    )
    accept_dinov3: BoolProperty(
        name="I Accept the DINOv3 License",
        description="The part that looks at the picture, DINOv3 by Meta, comes under terms of its own",
    )
    show_local_expert: BoolProperty(
        name="Expert Options",
        description="Another build of PyTorch, packages from a folder, your own environment",
    )
    local_build: EnumProperty(
        name="PyTorch For",
        description="Which build of PyTorch is installed",
        items=[
            ("auto", "Automatic", "What fits the graphics card and its driver", 0),
            ("cuda", "NVIDIA (CUDA)", "For NVIDIA's cards", 1),
            ("cuda12", "NVIDIA (CUDA 12)", "For NVIDIA's older cards and drivers", 2),
            ("rocm", "AMD (ROCm)", "For AMD's cards, on Linux", 3),
            ("apple", "Apple (Metal)", "For the chips of newer Macs", 4),
            ("cpu", "Processor", "Runs everywhere, and takes many minutes for an asset", 5),
        ],
        update=_look_again,
    )
    local_wheels: StringProperty(
        name="Packages",
        description="A folder with the packages as wheel files: nothing is taken from the package index then",
        subtype="DIR_PATH",
        update=_look_again,
    )
    local_python: StringProperty(
        name="Own Python",
        description="The Python of an environment of your own, used in place of what is installed here",
        subtype="FILE_PATH",
        update=_use_folders,
    )
    weights: StringProperty(
        name="Own Weights",
        description="A folder with a copy of microsoft/TRELLIS.2-4B, used in place of the downloaded one",
        subtype="DIR_PATH",
        update=_use_folders,
    )


def tell_library(stored: LocalProperties) -> None:
    """What counts on this machine from now on: the folder, and what is used in place of what lies in it."""
    LOCAL_FOLDER.use(bpy.path.abspath(stored.local_folder))
    LOCAL_PYTHON.use(bpy.path.abspath(stored.local_python))
    WEIGHTS.use(bpy.path.abspath(stored.weights))


def choices(stored: LocalProperties) -> Choices:
    """The preferences' choices, for threads, which must not read Blender's properties."""
    from pathlib import Path

    from ..trellis_addon.scene.setup.local_setup import Choices

    source = {"HUB": "", "MIRROR": stored.local_mirror.strip(), "FOLDER": bpy.path.abspath(stored.local_copy.strip())}
    return Choices(
        build=stored.local_build,
        wheels=Path(bpy.path.abspath(stored.local_wheels)) if stored.local_wheels.strip() else None,
        resolutions=tuple(sorted(int(side) for side in stored.local_resolutions)),
        mask=stored.local_mask,
        source=source[stored.local_source],
        is_accepted=stored.accept_dinov3,
        allow_network=bpy.app.online_access,
    )
