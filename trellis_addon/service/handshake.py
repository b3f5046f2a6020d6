"""What the two sides must agree on to understand each other, beyond Runware's own protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.messages import message
from ..core.version import VERSION

SERVICE_NAME = "trellis-addon-service"
PROTOCOL = 1
"""The edition of our additions to the protocol; a higher one where an old client or service would go wrong."""
CLIENT_HEADER = "X-Trellis-Client"
"""Names one of several programs that use a service: they take turns there."""
PRIORITY_HEADER = "X-Trellis-Priority"
"""`batch`: what this request asks for can wait until nobody waits for a picture."""


def mismatch(about: Mapping[str, Any], whose: str) -> str:
    """Why the service that says this of itself cannot be used from here; empty where it can, or is not one of ours.

    `whose` is how the sentence names it, such as "The service at http://gpu-box:8000".
    """
    if about.get("name") != SERVICE_NAME:
        return ""
    protocol = about.get("protocol")
    theirs = protocol if isinstance(protocol, int) else 0
    if theirs == PROTOCOL:
        return ""
    return message(
        "{whose} is version {version}, which is older than this one can talk to ({own_version}); update the add-on "
        "there."
        if theirs < PROTOCOL
        else "{whose} is version {version}, which is newer than this one can talk to ({own_version}); update the "
        "add-on here.",
        whose=whose,
        version=str(about["version"])[:40] if about.get("version") else message("an unknown version"),
        own_version=VERSION,
    )
