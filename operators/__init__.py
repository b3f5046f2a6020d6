"""Blender's buttons over the library: each operator is a few lines that call it.

generate        starting generations: the panel's button, a dropped file, a script's call
placing         where new assets come to stand
sources         pictures into the panel from everywhere
mask            how the picture is cut out, and a mask to paint on
subject         the subject of a picture, marked by hand
seed            the lock beside the seed
queue           the buttons beside a line of the queue
jobs            the history: place, repeat, fetch, remove
money           the key, and limits of what is spent
assets          import a GLB, repeat, open the right preferences
asset_tools     measure, height, levels of detail, textures, asset library, original
production      which way it stands, and the contract that it is to keep
texture_mesh    the selected meshes get the look of a picture
rework          texture the selected asset again, finish it again
rebake          remesh and rebake what is selected
export_stages   the voxels or the dense mesh of the selected asset
service         what can be asked of where the work is done
local           the local backend: install, weights, worker, test, remove
folders         the folder of the jobs
help            the manual, and a report of a fault
mixin           what the mixins of operators stand on
commands        the command line, inside Blender
"""

from . import (
    asset_tools,
    assets,
    commands,
    export_stages,
    folders,
    generate,
    help,
    jobs,
    local,
    mask,
    money,
    production,
    queue,
    rebake,
    rework,
    seed,
    service,
    sources,
    subject,
    texture_mesh,
)

_modules = (
    generate,
    queue,
    jobs,
    money,
    assets,
    asset_tools,
    production,
    sources,
    mask,
    subject,
    seed,
    service,
    local,
    folders,
    help,
    rebake,
    rework,
    texture_mesh,
    export_stages,
    commands,
)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
