"""The library's sentences in the language of Blender's interface."""

from __future__ import annotations

from bpy.app.translations import pgettext_rpt

# The words of an enumeration, where it is one of a picture's edges.
_SIDES = {"left": "Left", "right": "Right", "top": "Top", "bottom": "Bottom"}


def said(sentence: str) -> str:
    """The sentence in another language where it can be looked up, else as it is; main thread only."""
    template = getattr(sentence, "template", sentence)
    words = pgettext_rpt(template) if template else ""
    if words == template:
        return sentence
    values = getattr(sentence, "values", {})
    sides = ", ".join(pgettext_rpt(_SIDES[side]) for side in values.get("sides", ()))
    return words.format(**{**values, "sides": sides})
