"""What a GLB shows: the nodes of one scene, as glTF 2.0 (3.5.1) has it, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...core.errors import DamagedFileError
from .check import split_glb
from .write import container

# Where a node stands; without the rest of it nothing is to be seen there.
_PLACE = ("children", "matrix", "translation", "rotation", "scale", "name")


SCALE_NODE = "Scale"  # the name of the node that `scaled` adds


def shown_roots(document: Mapping[str, Any]) -> list[int]:
    """The nodes that the shown scene of a sound file begins with.

    That is the scene which the file names, or where it names none, or one with nothing to see, the first that holds
    a mesh. Without any scene it is every node that hangs from no other.
    """
    nodes, scenes = document.get("nodes") or [], document.get("scenes") or []
    if not scenes:
        children = {child for node in nodes for child in node.get("children") or []}
        return [number for number in range(len(nodes)) if number not in children]
    named = document.get("scene")
    in_order = scenes if named is None else [scenes[named], *scenes]
    candidates = [list(dict.fromkeys(scene.get("nodes") or [])) for scene in in_order]
    with_mesh = (roots for roots in candidates if any("mesh" in nodes[n] for n in _below(nodes, roots)))
    return next(with_mesh, candidates[0])


def one_scene(data: bytes) -> bytes:
    """A sound GLB with what it shows alone, for readers that take whatever is in a file; often the same bytes.

    Nodes keep their numbers: those that are not shown are left empty. Raises `DamagedFileError` where the file's
    description holds what JSON cannot.
    """
    document, binary = split_glb(data)
    nodes, scenes = document.get("nodes") or [], document.get("scenes") or []
    roots = shown_roots(document)
    shown = _below(nodes, roots)
    if len(shown) == len(nodes) and (not scenes or [scene.get("nodes") for scene in scenes] == [roots]):
        return data
    document["nodes"] = [
        node if number in shown else {key: node[key] for key in _PLACE if key in node}
        for number, node in enumerate(nodes)
    ]
    document["scenes"], document["scene"] = [{"nodes": roots}], 0
    animations = [_of_nodes(animation, shown) for animation in document.pop("animations", None) or []]
    if animations := [animation for animation in animations if animation["channels"]]:
        document["animations"] = animations
    try:
        return container(document, bytes(binary))
    except ValueError as error:
        raise DamagedFileError("The GLB file is damaged: its description holds what JSON cannot.") from error


def roots_apart(data: bytes) -> list[bytes]:
    """A sound GLB for each node that its scene begins with, with what hangs on that node alone."""
    document, binary = split_glb(data)
    found = []
    for root in shown_roots(document):
        alone = {**document, "scenes": [{"nodes": [root]}], "scene": 0}
        found.append(one_scene(container(alone, bytes(binary))))
    return found


def scaled(data: bytes, factor: float) -> bytes:
    """A sound GLB of one scene whose everything is `factor` times as large about the origin."""
    document, binary = split_glb(data)
    (scene,) = document["scenes"]
    document["nodes"].append({"name": SCALE_NODE, "scale": [factor] * 3, "children": scene["nodes"]})
    scene["nodes"] = [len(document["nodes"]) - 1]
    return container(document, bytes(binary))


def moved(data: bytes, by: Sequence[float]) -> bytes:
    """A GLB of this project's own writer, its nodes `by` (x, y, z) further on; vertices keep their precision."""
    document, binary = split_glb(data)
    for node in document["nodes"]:
        node["translation"] = [float(value) for value in by]
    return container(document, bytes(binary))


def _below(nodes: Sequence[Mapping[str, Any]], roots: Iterable[int]) -> set[int]:
    """These nodes and all that hang from them."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        number = waiting.pop()
        if number not in found:
            found.add(number)
            waiting += nodes[number].get("children") or []
    return found


def _of_nodes(animation: Mapping[str, Any], shown: set[int]) -> dict[str, Any]:
    """An animation with the channels that move one of these nodes; pointers may lead anywhere, and are left out."""
    channels = animation.get("channels") or []
    return {**animation, "channels": [c for c in channels if (c.get("target") or {}).get("node") in shown]}
