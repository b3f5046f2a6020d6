"""How much of a picture is taken, and how much can be used."""

from __future__ import annotations

MAX_BYTES = 64 * 2**20  # of a file
MAX_PIXELS = 120_000_000  # what a picture may claim in its header before anything is unpacked
# The model looks at 1024 x 1024 pixels of the subject; the platform stores no more than 2048.
# Everything above that is only transfer time.
MAX_SIDE = 2048
