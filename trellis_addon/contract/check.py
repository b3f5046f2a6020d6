"""Rules beside facts: what of a contract an asset does not keep, in a sentence each."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..core.messages import message
from .contract import Contract, Range
from .facts import AssetFacts
from .walls import thin_walls

# An origin is at the middle or the bottom where it is nearer than this share of the largest side.
_NEAR = 0.01
# Of the surface: every edge and tip is thin where it ends.
_THIN = 0.01


@dataclass(frozen=True)
class Finding:
    """A rule that is broken: its name in the contract, and a sentence with what is and what should be."""

    rule: str
    sentence: str


def check(facts: AssetFacts, contract: Contract) -> list[Finding]:
    """What the asset does not keep, in the contract's order; an empty list where it keeps all."""
    found = []
    for rule, look in _RULES.items():
        if getattr(contract, rule) not in (None, False):
            found += [Finding(rule, sentence) for sentence in look(facts, contract)]
    return found


def _height(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    allowed, height = _of(contract.height), facts.height
    if not allowed.holds(height):
        yield message(
            "It is {height} m tall; from {least} to {most} m are asked for.",
            height=f"{height:.4g}",
            least=f"{allowed.least:.4g}",
            most=f"{allowed.most:.4g}",
        )


def _front(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if not facts.front:
        yield message("Its front looks along no axis; {wanted} is asked for.", wanted=contract.front or "")
    elif facts.front != contract.front:
        yield message(
            "Its front looks along {front}; {wanted} is asked for.", front=facts.front, wanted=contract.front or ""
        )


def _origin(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    low, high = np.array(facts.low), np.array(facts.high)
    middle = (low + high) / 2
    if contract.origin == "bottom":
        middle[2] = low[2]
    off = float(np.abs(middle).max())
    if off > _NEAR * max(float((high - low).max()), 1e-9):
        words = {
            "bottom": message("Its origin is {off} m away from its bottom's centre.", off=f"{off:.3g}"),
            "centre": message("Its origin is {off} m away from its centre.", off=f"{off:.3g}"),
        }
        yield words[contract.origin or "bottom"]


def _names(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    patterns = contract.names or ()
    for name in facts.names:
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            yield message('The name "{name}" does not fit {patterns}.', name=name, patterns=list(patterns))


def _triangles(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    count, allowed = facts.surface.triangles, _of(contract.triangles)
    if count > allowed.most:
        yield message(
            "It has {count:,} triangles; at most {most:,} are asked for.", count=count, most=int(allowed.most)
        )
    elif count < allowed.least:
        yield message(
            "It has {count:,} triangles; at least {least:,} are asked for.", count=count, least=int(allowed.least)
        )


def _parts(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    count, allowed = facts.surface.components, _of(contract.parts)
    if not allowed.holds(count):
        yield message(
            "It has {count} loose parts; from {least} to {most} are asked for.",
            count=count,
            least=int(allowed.least),
            most=int(allowed.most),
        )


def _materials(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    count, allowed = len(facts.materials), _of(contract.materials)
    if not allowed.holds(count):
        yield message(
            "It has {count} materials; from {least} to {most} are asked for.",
            count=count,
            least=int(allowed.least),
            most=int(allowed.most),
        )


def _texture_size(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    most = contract.texture_size or 0
    for image in facts.images:
        if max(image.width, image.height) > most:
            yield message(
                'The texture "{name}" is {width} x {height} pixels; at most {most} are asked for.',
                name=image.name,
                width=image.width,
                height=image.height,
                most=most,
            )


def _power_of_two(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    for image in facts.images:
        if any(side & (side - 1) for side in (image.width, image.height)):
            yield message(
                'The texture "{name}" is {width} x {height} pixels; powers of two are asked for.',
                name=image.name,
                width=image.width,
                height=image.height,
            )


def _maps(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if missing := sorted((contract.maps or frozenset()) - facts.maps):
        yield message("It lacks maps: {missing}.", missing=[name.replace("_", " ") for name in missing])


def _watertight(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if facts.is_watertight:
        return
    surface = facts.surface
    yield message(
        "It is not watertight: {open} open, {many} non-manifold and {flipped} flipped edges.",
        open=surface.open_edges,
        many=surface.non_manifold_edges,
        flipped=surface.flipped_edges,
    )


def _wall(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if facts.mesh is None or not contract.wall:
        return
    found = thin_walls(facts.mesh, contract.wall)
    if found.share > _THIN:
        yield message(
            "Its walls are thinner than {wall} mm on {share} of its surface, at the thinnest {thinnest} mm; make it "
            "larger, or those walls thicker.",
            wall=f"{1000 * contract.wall:.3g}",
            share=f"{found.share:.1%}",
            thinnest=f"{1000 * found.thinnest:.2g}",
        )


def _uvs(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if not facts.surface.uv_area:
        yield message("It has no UV coordinates.")


def _applied(facts: AssetFacts, contract: Contract) -> Iterator[str]:
    if not np.allclose(facts.turns, np.eye(3), atol=1e-4):
        yield message("An object is still rotated: the rotation is to be applied.")
    if not np.allclose(facts.scales, 1.0, atol=1e-4):
        yield message("An object is still scaled: the scale is to be applied.")


def _of(rule: Range | None) -> Range:
    assert rule is not None  # only rules that are there are looked at
    return rule


_RULES: dict[str, Callable[[AssetFacts, Contract], Iterator[str]]] = {
    "names": _names,
    "height": _height,
    "front": _front,
    "origin": _origin,
    "applied": _applied,
    "triangles": _triangles,
    "parts": _parts,
    "watertight": _watertight,
    "wall": _wall,
    "uvs": _uvs,
    "materials": _materials,
    "maps": _maps,
    "texture_size": _texture_size,
    "power_of_two": _power_of_two,
}
