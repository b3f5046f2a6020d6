"""What the descriptions are made of: short words for pieces of a JSON Schema, and for answers."""

from __future__ import annotations

from ..protocol import JsonObject

TEXT: JsonObject = {"type": "string"}
COUNT: JsonObject = {"type": "integer", "minimum": 0}


def ref(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def open_object(properties: JsonObject, required: list[str] | None = None) -> JsonObject:
    found: JsonObject = {"type": "object", "properties": properties}
    return {**found, "required": required} if required else found


def response(description: str, schema: str) -> JsonObject:
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def refused(*statuses: int) -> JsonObject:
    words = {401: "The token is missing or wrong.", 403: "Not with this token, or not with this Host header."}
    words |= {400: "It cannot be done as asked.", 404: "It is not here."}
    words[501] = "This service has not what it takes."
    return {str(status): response(words[status], "Failure") for status in statuses}
