"""The settings by name, as the page's fields: made of the one table that everything else is made of."""

from __future__ import annotations

import math

from ...core.messages import to_wire
from ...task.presets import shipped
from ...task.settings import (
    DRAFT_FIELDS,
    FINISHING,
    OF_A_MESH,
    OF_LATENTS,
    OWN_SETTINGS,
    SAMPLERS,
    SETTABLE,
    TRELLIS2_MODEL,
    Field,
)
from ..protocol import JsonObject

# How a result is delivered is the page's own affair.
_NOT_ASKED = ("output_type", "output_format", "webhook_url", "delivery_method", "upload_endpoint", "include_cost")


def settings_table() -> JsonObject:
    """The fields in their order, the headings of their groups, and the presets with what they set."""
    fields = [field for field in (*SETTABLE, *OWN_SETTINGS) if field.name not in _NOT_ASKED]
    return {
        "model": TRELLIS2_MODEL,
        "fields": [_told(field) for field in fields],
        "groups": dict(SAMPLERS),
        "presets": [{"name": name, "settings": dict(settings)} for name, settings in shipped().items()],
    }


def _told(field: Field) -> JsonObject:
    kind = {int: "integer", float: "number", bool: "boolean", str: "text"}[field.type]
    if field.values:
        kind = "choice"
    found: JsonObject = {
        "name": field.name,
        "path": field.path,
        "group": field.group if field.group in SAMPLERS else "",
        "kind": kind,
        "label": field.label,
        "description": field.description,
        "default": field.effective_default,
        "unit": str(field.unit),
        "isForDraft": field.name in DRAFT_FIELDS,
        "isFinishing": field.name in FINISHING,
        "isOfMesh": field.name in OF_A_MESH,
        "isOfLatents": field.name in OF_LATENTS,
    }
    if field.values:
        found["choices"] = list(field.values)
    for name, bound in (("minimum", field.minimum), ("maximum", field.maximum)):
        if bound is not None:
            # a seed goes beyond what JavaScript's numbers hold
            found[name] = bound if math.fabs(bound) < 2**53 else 2**53 - 1
    allowed = to_wire(field.allowed)
    return {**found, "allowed": str(field.allowed), "allowedTemplate": allowed}
