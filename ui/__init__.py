"""What the artist sees: properties, preferences and panels."""

from ..addon import preferences, properties, translations
from . import asset_panel, job_panels, local_setup, overlay, panels, picture, presets, thumbnails

_modules = (
    translations,
    thumbnails,
    properties,
    preferences,
    local_setup,
    presets,
    picture,
    panels,
    job_panels,
    asset_panel,
    overlay,
)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
