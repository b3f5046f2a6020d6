"""Blender's presets are scripts: this writes ours. No `bpy` here, so that the shipped ones can be made anywhere."""

from __future__ import annotations

import json

from .settings import BY_NAME, Settings
from .task import presets as example_presets

SUBDIR = "trellis2"

# Our own: the quickest look, what the model's authors use, and all it has. What each is for is its name.
OWN = {
    "Quick Look (512)": Settings(resolution=512, texture_size=1024, decimation_target=100_000),
    "Everyday (1024)": Settings(resolution=1024, texture_size=2048),
    "Finest (1536)": Settings(resolution=1536, texture_size=4096, decimation_target=1_000_000),
}
_EXAMPLE = "Example - {name}"  # the settings of the published requests, found by those who look for these
# The names of 0.1.0, which scripts go on using.
FORMER = {"Draft": "Quick Look (512)", "Standard": "Everyday (1024)", "High": "Finest (1536)"}


def shipped() -> dict[str, Settings]:
    """Every preset that comes with the extension, by name. A seed belongs to a picture, not to a preset."""
    examples = {_EXAMPLE.format(name=name): settings.replace(seed=None) for name, settings in example_presets().items()}
    return {**OWN, **examples}


def preset(name: str) -> Settings | None:
    """The preset of this name, which may be its former one; None where there is none."""
    known = shipped()
    return known.get(FORMER.get(name, name)) or known.get(_EXAMPLE.format(name=name))


def preset_script(settings: Settings) -> str:
    """The script that sets exactly these settings in the scene, and unsets every other."""
    lines = [
        "import bpy",
        "",
        "settings = bpy.context.scene.trellis2.settings",
        'for name in set(settings.bl_rna.properties.keys()) - {"rna_type", "name"}:',
        "    settings.property_unset(name)",
    ]
    for name, value in settings.items():
        # JSON's texts are Python's as well
        text = json.dumps(str(value)) if BY_NAME[name].is_text_in_blender else repr(value)
        lines.append(f"settings.{name} = {text}")
    return "\n".join(lines) + "\n"
