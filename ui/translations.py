"""The interface in other languages: one JSON file each in translations/, from the English words to the others."""

from __future__ import annotations

import json
from pathlib import Path

import bpy

from .. import __package__ as base_package

_FOLDER = Path(__file__).resolve().parents[1] / "translations"
# Blender looks words up by what they stand on: buttons of operators have a context of their own.
_CONTEXTS = ("*", "Operator")


def register() -> None:
    messages = {path.stem: _messages(path) for path in sorted(_FOLDER.glob("*.json"))}
    bpy.app.translations.register(base_package, messages)


def unregister() -> None:
    bpy.app.translations.unregister(base_package)


def _messages(path: Path) -> dict[tuple[str, str], str]:
    words = json.loads(path.read_text(encoding="utf-8"))
    return {(context, english): other for english, other in words.items() for context in _CONTEXTS}
