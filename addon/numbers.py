"""What Blender saves of a choice in a list: a number, and no name. Each entry has its own, and no number is used twice.

Where a list is written down its numbers stand in it; here are those of lists that are made of something else. Files of
0.1.0 hold places in lists, so the numbers begin with these. `tests/data/enumerations.json` has all that were ever
given.
"""

from __future__ import annotations

import zlib
from typing import Any

# The settings that are lists in Blender -> value -> number.
_SETTINGS: dict[str, dict[str, int]] = {
    "output_type": {"URL": 0},
    "output_format": {"GLB": 0},
    "delivery_method": {"sync": 0, "async": 1},
    "resolution": {"512": 0, "1024": 1, "1536": 2},
    "texture_size": {"1024": 0, "2048": 1, "3072": 2, "4096": 3},
}
_MOST_PLACES = 1 << 16  # numbers below are taken for places in a list, which is what 0.1.0 has saved


def items_of(name: str, values: tuple[object, ...]) -> list[tuple[str, str, str, int]]:
    """The entries of a setting's list; raises `KeyError` for one that has no number yet."""
    return [(str(value), str(value), "", _SETTINGS[name][str(value)]) for value in values]


def number_of(name: str) -> int:
    """The number of an entry that the user has named, such as an asset library: the same wherever it stands."""
    return _MOST_PLACES | (zlib.crc32(name.encode()) & 0x7FFFFFFF)


def saved_number(group: Any, name: str) -> int | None:
    """What Blender has saved of a choice, whether or not the list has an entry of that number; None where nothing."""
    # from Blender 5.0 on a property's own store is apart from what scripts keep with an object
    store = group.bl_system_properties_get() if hasattr(group, "bl_system_properties_get") else group
    found = store.get(name) if store is not None else None
    return found if isinstance(found, int) else None


def is_place(number: int | None) -> bool:
    """Whether what was saved is a place in a list, and not a number of ours; the first entry's, 0, is both."""
    return number is not None and 0 < number < _MOST_PLACES
