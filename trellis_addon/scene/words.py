"""The library's sentences in the language of Blender's interface."""

from __future__ import annotations

from bpy.app.translations import pgettext_n, pgettext_rpt

from ..core.folders import EXTENSION
from ..core.messages import translated
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL

# What the extension gives to Blender (`addon/translations.py`); the library alone has none, and speaks English.
FOLDER = EXTENSION / "translations" / "sentences"
CONTEXT = "TRELLIS.2"  # so that they are never taken for Blender's own words

# The ids of engines -> words for people; another one is shown as it is.
REBUILT = "trellis2:rebuild@1"  # what Remesh and Rebake has made, as its provenance has it
ENGINES = {
    DRAFT_MODEL: pgettext_n("Draft (relief)"),
    TRELLIS2_MODEL: "TRELLIS.2",
    REBUILT: pgettext_n("Remeshed and Rebaked"),
}


def engine_name(engine: str) -> str:
    """Which engine has made something, in words."""
    return pgettext_rpt(ENGINES[engine]) if engine in ENGINES else engine


def translate(sentence: object) -> str:
    """A message of the library's, or an error, in the artist's language as far as it is known; main thread only.

    What the library keeps, logs and sends stays English: a sentence is said in other words where it is shown. A text
    that was kept without its template, as 0.1.0 did, is shown as it is.
    """
    return translated(sentence, _words)


def _words(template: str) -> str:
    return str(pgettext_rpt(template, CONTEXT))
