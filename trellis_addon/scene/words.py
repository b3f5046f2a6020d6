"""The library's sentences in the language of Blender's interface."""

from __future__ import annotations

import functools
import json

from bpy.app.translations import pgettext_n, pgettext_rpt

from ..core.folders import EXTENSION
from ..core.templates import Templates
from ..task.settings import DRAFT_MODEL, TRELLIS2_MODEL

# What the extension gives to Blender (`addon/translations.py`); the library alone has none, and speaks English.
FOLDER = EXTENSION / "translations" / "sentences"
CONTEXT = "TRELLIS.2"  # so that they are never taken for Blender's own words


# The ids of engines -> words for people; another one is shown as it is.
ENGINES = {DRAFT_MODEL: pgettext_n("Draft (relief)"), TRELLIS2_MODEL: "TRELLIS.2"}


def engine_name(engine: str) -> str:
    """Which engine has made something, in words."""
    return pgettext_rpt(ENGINES[engine]) if engine in ENGINES else engine


def said(sentence: object) -> str:
    """A sentence of the library's, or an error, in the artist's language as far as it is known; main thread only.

    What the library keeps, logs and sends stays English: a sentence is said in other words where it is shown.
    """
    text = str(sentence)
    templates, known = _templates()
    language = _words(known) if known else known
    return text if language == known else _said(templates, text, language)


@functools.lru_cache(maxsize=512)
def _said(templates: Templates, text: str, language: str) -> str:
    """The panels ask at every redraw; `language` is how one template reads, which tells languages from each other."""
    return templates.said(text, _words)


def _words(template: str) -> str:
    return str(pgettext_rpt(template, CONTEXT))


@functools.cache
def _templates() -> tuple[Templates, str]:
    """All templates, and one by which it shows whether Blender has other words for them."""
    path = next(iter(sorted(FOLDER.glob("*.json"))), None)
    found = list(json.loads(path.read_text(encoding="utf-8"))) if path is not None else []
    return Templates(found), found[0] if found else ""
