"""What the artist sees: panels, the page in the preferences, and what is drawn over the viewport.

panels           the N-panel
picture          the picture in it, and how it will be cut out
frame            ... and how that is corrected
presets          settings under a name
job_panels       the queue of this session, and the history
asset_panel      the selected asset
rebake           Remesh and Rebake, and its packages
preferences      the page in the preferences
local_setup      the local backend in it
overlay          what is drawn over the cards in the viewport
marking_overlay  what is drawn over a picture while its subject is marked
mask_painting    the preview follows what is painted on a mask
layout           what panels and overlays share
views            the other views of the object, each in its place
thumbnails       small pictures of jobs as icons
"""

from . import (
    asset_panel,
    frame,
    job_panels,
    local_setup,
    marking_overlay,
    mask_painting,
    overlay,
    panels,
    picture,
    preferences,
    presets,
    rebake,
    thumbnails,
    views,
)

_modules = (
    thumbnails,
    preferences,
    local_setup,
    presets,
    picture,
    panels,
    frame,
    views,
    job_panels,
    asset_panel,
    rebake,
    overlay,
    marking_overlay,
    mask_painting,
)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
