"""How much anybody may ask of the service at once, and how slowly."""

from __future__ import annotations

import sys
from dataclasses import dataclass

_MIB = 2**20
BODY_LIMIT = 64 * _MIB


@dataclass(frozen=True)
class Limits:
    """What is refused, and who is let go. Sizes in bytes, times in seconds.

    A request's whole header has `header_seconds` to arrive. Its body must bring something every `pause_seconds`, and
    after `body_seconds` must have come at `slowest` bytes a second on the average. A client that takes nothing of its
    answer for `write_seconds` is let go.

    `connections` may be open in all, and `client_connections` of one address other than this machine's own, behind
    which a reverse proxy may stand. Where there are more, the one goes that has waited longest without a request.

    `body` is the largest body, `bodies` what all that are being read may take together, `unproven` what is kept of one
    before it has shown the token. `values` and `tasks` bound what is in it.

    `pixels` is the largest picture, unpacked. `uploads` and `upload_bytes` are what is kept of uploads, and
    `disk_reserve` is what is left free of the disk; `fetches` at a time are made for uploads by address.
    """

    header_seconds: float = 20.0
    pause_seconds: float = 30.0
    body_seconds: float = 60.0
    slowest: int = 16 * 2**10
    write_seconds: float = 60.0
    connections: int = 512
    client_connections: int = 128
    body: int = BODY_LIMIT
    bodies: int = 256 * _MIB
    unproven: int = 16 * 2**10
    values: int = 100_000
    tasks: int = 1000
    pixels: int = 40_000_000
    uploads: int = 2000
    upload_bytes: int = 4 * 2**30
    disk_reserve: int = 2**30
    fetches: int = 8


def most_connections(limits: Limits) -> int:
    """`limits.connections`, or half of what the system lets this process open, where that is less."""
    if sys.platform == "win32":
        return limits.connections
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limits.connections if soft == resource.RLIM_INFINITY else max(16, min(limits.connections, soft // 2))
