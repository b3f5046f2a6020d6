"""What the artist sees: panels, the page in the preferences, and what is drawn over the viewport."""

from . import asset_panel, job_panels, local_setup, overlay, panels, picture, preferences, presets, thumbnails

_modules = (
    thumbnails,
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
