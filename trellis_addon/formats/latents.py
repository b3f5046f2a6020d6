"""Kept latents as a file: what it must look like, checked byte by byte before any engine sees it.

The file is a safetensors one (`formats.safetensors`). It holds the sparse coordinates of the latents, the shape's and
the texture's values, and in the header's metadata what they were made with. Of a rough shape, which is yet to be gone
on from, it holds the coordinates and the structure's latent. A file from elsewhere is not trusted; nothing here needs
PyTorch.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import FieldError, LatentsError, TrellisError
from ..core.messages import all_from_wire, all_to_wire, message
from ..task.former import todays
from ..task.settings import BY_NAME, OF_LATENTS, SEED_MAX, Settings
from .safetensors import Entry, Fault, Header, HeaderError, end_of, entry_of, read_header

MOST_TOKENS = 49152  # as many as the model takes
MOST_CHANNELS = 64
HEADER_LIMIT = 2**16  # bytes
FILE_LIMIT = 8 + HEADER_LIMIT + MOST_TOKENS * (4 * 4 + 3 * 4 * MOST_CHANNELS)  # bytes
SHRINK = 16  # voxels of the finest grid along one cell of the latents'

# The resolutions that each way through the model can come to; a cascade falls by steps where memory is short.
RESOLUTIONS: Mapping[str, tuple[int, ...]] = {
    "512": (512,),
    "1024": (1024,),
    "1024_cascade": (1024,),
    "1536_cascade": (1024, 1152, 1280, 1408, 1536),
    "rough": (512,),
}
ROUGH = "rough"  # in place of a way through the model: no more than where the object is, on a grid of 32 a side
_TYPES = {"I32": np.dtype("<i4"), "F32": np.dtype("<f4")}
_TENSORS = {"coords": "I32", "shape": "F32", "texture": "F32"}
_FURTHER = {"structure": "F32"}  # the latent of the rough shape, (side^3, channels): not in every file
_KINDS = {**_TENSORS, **_FURTHER}
_OF_ROUGH = ("coords", "structure")
_FAULTS = {
    Fault.PICKLE: message("it is a pickle or an archive, and only a safetensors file is read"),
    Fault.NOT_WHOLE: message("it is no safetensors file, or not a whole one"),
    Fault.TOO_LARGE: message("it is no safetensors file, or not a whole one"),
    Fault.NO_JSON: message("its header is no JSON"),
    Fault.NO_OBJECT: message("its header is no JSON object"),
}
_MOST_NOTES = 8
_LONGEST_NOTE = 500  # characters


@dataclass(frozen=True)
class Kept:
    """What a file of latents says: `tokens` cells of a grid of `resolution` / 16, and what they were made with.

    `seed` is that of the texture, `shape_seed` that of the shape where it was another one; None where nobody wrote
    it down. `settings` are those of the generation that the service was asked for. `notes` are what the user was told.
    """

    resolution: int
    pipeline_type: str
    tokens: int
    seed: int | None = None
    shape_seed: int | None = None
    settings: Settings = field(default_factory=Settings)
    notes: tuple[str, ...] = ()

    @property
    def is_rough(self) -> bool:
        """Whether it is a rough shape: all that comes after it is yet to be sampled."""
        return self.pipeline_type == ROUGH


def describe_making(seed: int, settings: Settings, notes: tuple[str, ...], shape_seed: int | None = None) -> str:
    """What `check_latents` finds again, as the text that goes into the file's metadata under "made"."""
    found: dict[str, Any] = {"seed": seed, "settings": _own(settings).to_request(), "notes": list(notes)}
    if notes:
        found["noteTemplates"] = all_to_wire(notes)
    if shape_seed is not None and shape_seed != seed:
        found["shapeSeed"] = shape_seed
    return json.dumps(found)


def check_latents(data: bytes) -> Kept:
    """What the file says, once it is certain that it is a sound one; `LatentsError` says what is wrong with it."""
    if len(data) > FILE_LIMIT:
        raise _refused(message("it is larger than the {limit} MB that latents can have", limit=FILE_LIMIT // 2**20))
    header = _header(data)
    metadata = header.metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _refused(message("its metadata are not texts"))
    resolution, kind = _grid(metadata)
    tensors = _tensors(header, data, _OF_ROUGH if kind == ROUGH else tuple(_TENSORS))
    _check_coords(tensors["coords"], resolution // SHRINK)
    for name in ("shape", "texture"):
        values = tensors.get(name)
        if values is None:
            continue
        if len(values) != len(tensors["coords"]):
            raise _refused(
                message(
                    "its {name} has {rows} rows for {places} places",
                    name=name,
                    rows=len(values),
                    places=len(tensors["coords"]),
                )
            )
        if not bool(np.isfinite(values).all()):
            raise _refused(message("its {name} has values that are no numbers", name=name))
    structure = tensors.get("structure")
    if structure is not None:
        if round(len(structure) ** (1 / 3)) ** 3 != len(structure):
            raise _refused(message("its rough shape is no cube"))
        if not bool(np.isfinite(structure).all()):
            raise _refused(message("its {name} has values that are no numbers", name="structure"))
    return _making(metadata, Kept(resolution, kind, len(tensors["coords"])))


def check_rework(kept: Kept, settings: Settings, with_image: bool) -> None:
    """Raise `FieldError` for the first of these settings that a rework of the latents cannot change.

    A variant of them, as the setting `variation` asks for, is sampled anew at their resolution; one of 0 is none.
    """
    variation = settings.get("variation")
    if kept.is_rough:
        _check_going_on(kept, settings, with_image)
        return
    if variation is not None and variation > 0:
        asked = settings.get("resolution")
        if variation < 1 and asked is not None and asked not in _values_kept(kept, "resolution"):
            raise fixed_field("resolution", asked)
        return
    with_image = with_image and variation is None
    for name, value in settings.items():
        fixed = name == "resolution" or name.startswith(("sparse_structure_", "shape_slat_"))
        if not with_image:
            fixed = fixed or name == "seed" or name.startswith("tex_slat_")
        if fixed and value not in _values_kept(kept, name):
            what = "shape" if with_image or not name.startswith(("tex_slat_", "seed")) else "texture"
            raise fixed_field(name, value, what)
    if not with_image and settings.value("number_results") > 1:
        count = settings["number_results"]
        rule = message("without an image nothing is drawn at random, so that every result would be the same; ask for 1")
        raise FieldError("numberResults", count, rule)


def _check_going_on(kept: Kept, settings: Settings, with_image: bool) -> None:
    """The same of a rough shape: only what came before it is settled."""
    if not with_image:
        raise _refused(message("they are a rough shape, which goes on with its picture: give it as inputs.image"))
    if "variation" in settings:
        raise whole_only()
    for name, value in settings.items():
        if name.startswith("sparse_structure_") and value not in _values_kept(kept, name):
            raise fixed_field(name, value)


def whole_only() -> LatentsError:
    """The refusal of a rough shape where a whole asset is needed."""
    return _refused(message("they are a rough shape, which has to be gone on from first"))


def fixed_field(name: str, value: Any, what: str = "shape") -> FieldError:
    """The refusal of a setting that the kept `what` ("shape" or "texture") was made with."""
    path = BY_NAME[name].path
    if what == "texture":
        sentence = message(
            "{path}: it cannot change any more, because the kept texture was made with it; texture it again.", path=path
        )
    else:
        sentence = message(
            "{path}: it cannot change any more, because the kept shape was made with it; generate the asset anew.",
            path=path,
        )
    return FieldError(path, value, message=sentence)


def _header(data: bytes) -> Header:
    try:
        return read_header(io.BytesIO(data), len(data), HEADER_LIMIT)
    except HeaderError as error:
        raise _refused(_FAULTS[error.fault]) from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _grid(metadata: Mapping[str, str]) -> tuple[int, str]:
    kind, text = metadata.get("pipeline_type", ""), metadata.get("resolution", "")
    known = [resolution for resolution in RESOLUTIONS.get(kind, ()) if str(resolution) == text]
    if not known:
        raise _refused(message("it does not say which resolution it has"))
    return known[0], kind


def _tensors(header: Header, data: bytes, needed: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Views of the bytes: the tensors that there must be and no other, side by side without a gap or an overlap."""
    there = set(header.tensors)
    if not there >= set(needed) or there - set(needed) - set(_FURTHER):
        raise _refused(message("it does not hold {names} and nothing else", names=list(needed)))
    entries = {name: _entry(name, told) for name, told in header.tensors.items()}
    end = end_of(entries.values())
    if end is None or header.body + end != len(data):
        raise _refused(message("its tensors do not lie side by side, or it is not whole"))
    return {
        name: np.frombuffer(data, _TYPES[entry.dtype], math.prod(entry.shape), header.body + entry.begin).reshape(
            entry.shape
        )
        for name, entry in entries.items()
    }


def _entry(name: str, told: Any) -> Entry:
    """One tensor of the header, as it has to be here."""
    if not isinstance(told, dict) or told.get("dtype") != _KINDS[name]:
        raise _refused(message("its {name} is not stored as {dtype}", name=name, dtype=_KINDS[name]))
    entry = entry_of(told)
    if entry is None or len(entry.shape) != 2:
        raise _refused(message("its {name} has no shape of two dimensions", name=name))
    rows, columns = entry.shape
    if not 1 <= rows <= MOST_TOKENS:
        raise _refused(
            message("its {name} has {rows} rows; there can be 1 to {limit}", name=name, rows=rows, limit=MOST_TOKENS)
        )
    fewest, most = (4, 4) if name == "coords" else (1, MOST_CHANNELS)
    if not fewest <= columns <= most:
        raise _refused(message("its {name} has {columns} columns", name=name, columns=columns))
    if not entry.fits:
        raise _refused(message("its {name} has another size than its shape", name=name))
    return entry


def _check_coords(coords: NDArray[np.int32], side: int) -> None:
    if bool((coords[:, 0] != 0).any()) or bool((coords < 0).any()) or bool((coords >= side).any()):
        raise _refused(message("it has places outside of its grid of {side} cells a side", side=side))
    x, y, z = (coords[:, axis].astype(np.int64) for axis in (1, 2, 3))
    if len(np.unique((x * side + y) * side + z)) != len(coords):
        raise _refused(message("it lists a place twice"))


def _making(metadata: Mapping[str, str], kept: Kept) -> Kept:
    """`kept` with what the latents were made with, where that was written down."""
    text = metadata.get("made")
    if text is None:
        return kept
    wrong = _refused(message("what it says of its making cannot be read"))
    try:
        found = json.loads(text, parse_constant=_no_constant)
        settings = Settings.from_request(todays(found.get("settings", {})))
    except (ValueError, RecursionError, AttributeError, TrellisError):
        raise wrong from None
    seeds = [found.get(name) for name in ("seed", "shapeSeed")]
    notes = found.get("notes", [])
    if not all(seed is None or (type(seed) is int and 0 <= seed <= SEED_MAX) for seed in seeds):
        raise wrong
    if not isinstance(notes, list) or len(notes) > _MOST_NOTES:
        raise wrong
    if not all(isinstance(note, str) and len(note) <= _LONGEST_NOTE for note in notes):
        raise wrong
    return Kept(
        kept.resolution,
        kept.pipeline_type,
        kept.tokens,
        seeds[0],
        seeds[1],
        _own(settings),
        all_from_wire(notes, found.get("noteTemplates")),
    )


def _own(settings: Settings) -> Settings:
    """Those that say what is made, without those that say where it is sent, or how far from what."""
    made = {name: value for name, value in settings.items() if BY_NAME[name].path.startswith("settings.")}
    return Settings({name: value for name, value in made.items() if name not in OF_LATENTS})


def _values_kept(kept: Kept, name: str) -> set[Any]:
    """The values of a setting that say no more than what the latents have."""
    if name == "seed":
        return {kept.seed}
    found = {kept.settings.value(name)}
    if name == "resolution":
        found |= {kept.resolution, int(kept.pipeline_type.partition("_")[0])}
    return found


def _refused(why: str) -> LatentsError:
    return LatentsError(
        "The latents cannot be used: {why}; take the file as the service gave it, or generate anew.", why=why
    )
