"""What Blender's operators say when they could not do something, as part of a sentence of ours."""

from __future__ import annotations

from ...core.messages import message


def reason_of(error: Exception) -> str:
    """The cause in words: of the traceback of an add-on, which an artist has no use for, the last line alone."""
    lines = [line.strip() for line in str(error).splitlines()]
    # "Location:" says where in Blender's own code it was
    lines = [line.removeprefix("Error: ").strip() for line in lines if not line.startswith("Location:")]
    lines = [line.rstrip(".") for line in lines if line]
    if not lines:
        return message("it gives no reason")
    is_traceback = any("Traceback (most recent call last)" in line for line in lines)
    return lines[-1] if is_traceback else lines[0]
