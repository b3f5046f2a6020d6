"""Where an object came from, kept on the object itself."""

from __future__ import annotations

import json
from typing import Any

import bpy

from ...core.errors import TrellisError
from ...jobs.job import Asset
from ...task.former import kept_settings
from ...task.settings import Settings
from ..rules.guards import require_object

# One text, because Blender's own numbers have 32 bits and a seed has 63.
PROPERTY = "trellis2_provenance"


def write_provenance(obj: bpy.types.Object, asset: Asset) -> None:
    obj[PROPERTY] = json.dumps({"name": asset.name, **asset.provenance})


def read_provenance(obj: bpy.types.Object | None) -> dict[str, Any]:
    """What is known of an object's making; empty where it is not ours."""
    try:
        text = obj.get(PROPERTY) if obj is not None else None
    except ReferenceError:
        require_object(obj)
        raise
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def was_generated(obj: bpy.types.Object) -> bool:
    """Whether a task has made it of a picture: what was only imported, or remeshed and rebaked, has none."""
    return bool(read_provenance(obj).get("task_uuid"))


def fingerprints() -> set[str]:
    """The fingerprints of the pictures whose assets are in the open file."""
    return {str(read_provenance(obj).get("fingerprint", "")) for obj in bpy.data.objects} - {""}


def settings_of(obj: bpy.types.Object) -> Settings:
    """The settings that made the object, its very seed included: generating with them repeats it.

    What another version has set and this one does not know is left out; see `unknown_settings`.
    """
    provenance = read_provenance(obj)
    if not provenance:
        raise TrellisError('"{name}" was not made by this add-on: there are no settings to repeat.', name=obj.name)
    settings, _unknown = kept_settings(provenance.get("settings"))
    seed = provenance.get("seed")
    return settings.replace(seed=seed, number_results=None) if isinstance(seed, int) else settings


def unknown_settings(obj: bpy.types.Object) -> tuple[str, ...]:
    """What the object was made with that this version does not know, by the names of the version that made it."""
    return kept_settings(read_provenance(obj).get("settings"))[1]
