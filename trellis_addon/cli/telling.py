"""What a command says of an asset that it has made or fetched."""

from __future__ import annotations

import os
import sys

from ..core.streams import printable
from ..images import readable
from ..jobs.job import Asset, notes_in


def tell(asset: Asset, path: str | os.PathLike[str] | None = None) -> None:
    """A line to go on with, `path` being where it lies for whoever asked; what was done otherwise than asked beside it.

    The latter goes to stderr, so that what reads the lines need not know of it.
    """
    made = asset.variations or (asset,)
    seeds = ", ".join(str(variation.seed) for variation in made)
    print(f"{printable(readable(str(path or asset.path)))}: {asset.name}, engine: {asset.engine}, seed {seeds}")
    for note in dict.fromkeys(note for variation in made for note in notes_in(variation.provenance)):
        print(note, file=sys.stderr)
