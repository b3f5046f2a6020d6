"""A scene for Godot beside a GLB with levels of detail: each mesh with the range of distances that it is seen in.

Godot's importer knows neither `_LOD` names nor extras; ranges are properties of its nodes. So a scene that inherits the
GLB's sets them: `NAME.tscn`, to be used in the GLB's place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

_INVALID = '.:@/"%'  # in the name of a node, which Godot then has with _
_MARGIN = 0.05  # of the distance, by which a level stays on, so that it does not flicker there


def godot_scene(file: str, chains: Mapping[str, Sequence[tuple[str, float]]], parent: str = ".") -> str:
    """The text of the scene that inherits the GLB named `file`, which lies beside it.

    `chains`: of each object its levels, the finest first: the name of the node, and from which distance in metres on it
    is seen. `parent` is the path of the node that they hang on.
    """
    root = _name(file.rsplit(".", 1)[0])
    lines = [
        "[gd_scene load_steps=2 format=3]",
        "",
        f'[ext_resource type="PackedScene" path={json.dumps(file, ensure_ascii=False)} id="1"]',
        "",
        f'[node name="{root}" instance=ExtResource("1")]',
    ]
    for levels in chains.values():
        for number, (name, begin) in enumerate(levels):
            lines += ["", f'[node name="{_name(name)}" parent="{parent}"]']
            if begin:
                lines += _edge("begin", begin)
            if number + 1 < len(levels):
                lines += _edge("end", levels[number + 1][1])
    return "\n".join(lines) + "\n"


def _edge(which: str, distance: float) -> list[str]:
    return [
        f"visibility_range_{which} = {distance:.4g}",
        f"visibility_range_{which}_margin = {_MARGIN * distance:.4g}",
    ]


def _name(text: str) -> str:
    return "".join("_" if letter in _INVALID else letter for letter in text)
