"""What other versions have written: their names for today's settings, and settings that only they know.

What was kept (a job's row, an asset's provenance, a preset) is read through here, and nothing that comes over the wire.
A setting that gets another name, or goes, has a line in `RENAMED` from then on, and a value that does in `VALUES`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..core.errors import FieldError
from ..core.messages import message
from .settings import BY_NAME, BY_PATH, IDENTITY, OF_LATENTS, Field, Settings

# A former path in the request -> today's; "" for what is there no more.
RENAMED: Mapping[str, str] = {}
# Today's path -> a former value -> today's.
VALUES: Mapping[str, Mapping[Any, Any]] = {}


def todays(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request, or the settings of one, with today's names and values; what nobody knows is left as it is."""
    found: dict[str, Any] = {}
    for path, value in _leaves(request):
        path, value = _todays_leaf(path, value)
        *parents, last = path.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        if path:
            place[last] = value
    return found


def kept_settings(request: Any) -> tuple[Settings, tuple[str, ...]]:
    """The settings of a request that was kept, and the paths of what this version does not know or allow.

    What says how far that task went from another asset says nothing of the next one, and is left out.
    """
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for path, value in _leaves(request if isinstance(request, Mapping) else {}):
        path, value = _todays_leaf(path, value)
        if path and path not in IDENTITY:
            _take(BY_PATH.get(path), path, value, known, unknown)
    return Settings(known).replace(**dict.fromkeys(OF_LATENTS)), tuple(unknown)


def preset_settings(script: str) -> tuple[Settings, tuple[str, ...]] | None:
    """The settings of a preset that `presets.preset_script` has written, in whichever version, and the names of what
    this one does not know or allow; None for a script that does anything else."""
    try:
        lines = ast.parse(script).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    known: dict[str, Any] = {}
    unknown: list[str] = []
    names = {_name_of(former): today for former, today in RENAMED.items()}
    for line in lines:
        found = _assignment(line)
        if found is None:
            if not _is_frame(line):
                return None
            continue
        name, value = found
        field = BY_PATH.get(names[name]) if name in names else BY_NAME.get(name)
        if names.get(name) == "":
            continue
        if field is not None:
            value = VALUES.get(field.path, {}).get(value, value)
            if isinstance(value, str) and not value.strip():  # an emptied text is as good as none
                continue
        _take(field, name, value, known, unknown)
    return Settings(known), tuple(unknown)


def passed_over(names: Iterable[str]) -> str:
    """What to say of settings that this version does not know."""
    return message(
        "Another version has set {names}, which this one does not know; everything else is set.", names=list(names)
    )


def _take(field: Field | None, name: str, value: Any, known: dict[str, Any], unknown: list[str]) -> None:
    if field is None:
        unknown.append(name)
        return
    try:
        known[field.name] = field.parse(value) if isinstance(value, str) else field.check(value)
    except FieldError:
        unknown.append(name)


def _todays_leaf(path: str, value: Any) -> tuple[str, Any]:
    path = RENAMED.get(path, path)
    former = VALUES.get(path, {})
    return path, former.get(value, value) if former and not isinstance(value, (list, dict)) else value


def _leaves(request: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in request.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in BY_PATH and value:
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value


def _name_of(path: str) -> str:
    return Field(path, str, "", "").name


def _assignment(line: ast.stmt) -> tuple[str, Any] | None:
    """Name and value of `settings.name = value`; None for any other line."""
    if not (isinstance(line, ast.Assign) and len(line.targets) == 1 and isinstance(line.targets[0], ast.Attribute)):
        return None
    target = line.targets[0]
    if not (isinstance(target.value, ast.Name) and target.value.id == "settings"):
        return None
    try:
        return target.attr, ast.literal_eval(line.value)
    except (ValueError, TypeError):
        return None


# What stands around the settings in every preset, as it was written from 0.1.0 on.
_FRAME = (
    "import bpy",
    "settings = bpy.context.scene.trellis2.settings",
    "for name in set(settings.bl_rna.properties.keys()) - {'rna_type', 'name'}:\n    settings.property_unset(name)",
)


def _is_frame(line: ast.stmt) -> bool:
    return ast.unparse(line) in _FRAME
