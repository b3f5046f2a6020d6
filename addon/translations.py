"""The interface in other languages: JSON files in translations/, from the English words to the others.

One of each language has the interface's own words, one in sentences/ the library's, whose values are numbered.
"""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from ..trellis_addon.scene.words import CONTEXT, FOLDER
from .name import EXTENSION

# Blender looks words up by what they stand on: buttons of operators have a context of their own.
_CONTEXTS = ("*", "Operator")

Messages = dict[tuple[str, str], str]


def register() -> None:
    files = sorted(FOLDER.parent.glob("*.json"))
    bpy.app.translations.register(EXTENSION, {path.stem: _messages(path) for path in files})


def unregister() -> None:
    bpy.app.translations.unregister(EXTENSION)


def _messages(path: Path) -> Messages:
    found = {(context, english): other for english, other in _read(path).items() for context in _CONTEXTS}
    sentences = FOLDER / path.name
    if sentences.is_file():
        found.update(((CONTEXT, english), other) for english, other in _read(sentences).items())
    return found


def _read(path: Path) -> dict[str, str]:
    words = json.loads(path.read_text(encoding="utf-8"))
    return {english: other for english, other in words.items() if other}
