"""A session's queue with everybody who hears of what happens in it.

    from .session import queue

`queue` itself knows none of them. `arrival` imports what is ready, `history` reads the store again and says how long
things usually take, `device` learns what a run took.
"""

from __future__ import annotations

from . import arrival, device, history, queue

__all__ = ["arrival", "device", "history", "queue"]
