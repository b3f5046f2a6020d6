"""What game engines, printing and film usually ask of an asset: a place to start from, not the law."""

from __future__ import annotations

from typing import Any

_GAME: dict[str, Any] = {
    "origin": "bottom",
    "applied": True,
    "uvs": True,
    "power_of_two": True,
    "texture_size": 2048,
    "triangles": 20_000,
    "materials": 2,
    "maps": ["base_colour", "metallic_roughness"],
    "height": [0.01, 100],
    "front": "-Y",
}

PRESETS: dict[str, dict[str, Any]] = {
    # Epic's naming convention begins a static mesh with SM_; Nanite takes any count, this is the prop without it
    "unreal": {"name": "Unreal Engine, prop", **_GAME, "names": "SM_*"},
    "unity": {"name": "Unity, prop", **_GAME},
    "godot": {"name": "Godot, prop", **_GAME, "materials": 1},
    "print": {
        "name": "3D print",
        "watertight": True,
        "wall": 0.0008,  # two lines of the usual nozzle
        "origin": "bottom",
        "applied": True,
        "triangles": 1_000_000,
        "height": [0.005, 0.5],
    },
    "film": {
        "name": "Film, hero",
        "origin": "bottom",
        "applied": True,
        "uvs": True,
        "triangles": [1_000, 2_000_000],
        "texture_size": 8192,
        "maps": ["base_colour", "metallic_roughness"],
    },
}
