"""What the artist sees: properties, preferences and panels."""

from . import job_panels, overlay, panels, preferences, presets, properties, thumbnails

_modules = (thumbnails, properties, preferences, presets, panels, job_panels, overlay)


def register() -> None:
    for module in _modules:
        module.register()


def unregister() -> None:
    for module in reversed(_modules):
        module.unregister()
