"""What can be asked for: every field of the task, defined once.

`FIELDS` is the parameter list of the `3dInference` task for `microsoft:trellis-2@4b`. The request
JSON, the checks, Blender's properties and the command line's options are all derived from it.
`Settings` holds the fields that somebody *set*: what was not set is not sent, and a field set to
its default value is still set.

Ranges and defaults are the Runware task page's; the samplers' own defaults, which that page leaves
open, are TRELLIS.2's (`model_default`).
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.addresses import is_web_address
from ..core.errors import FieldError
from ..core.given import plain
from ..core.messages import message

TASK_TYPE = "3dInference"
TRELLIS2_MODEL = "microsoft:trellis-2@4b"
DRAFT_MODEL = "draft:relief@1"
SEED_MAX = 2**63 - 1
INT32_MAX = 2**31 - 1
RANDOM_SEED_MAX = 2**32 - 1  # what the platform draws from when no seed is given


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z])(?=[a-z])", r"_\g<0>", name).lower()


# Of the settings, what the draft engine goes by; the others are of the model alone.
DRAFT_FIELDS = frozenset(
    (
        "number_results",
        "seed",
        "resolution",
        "texture_size",
        "decimation_target",
        "texture",
        "project_picture",
        "texture_format",
        "facing",
        "uvs",
        "faces",
        "rough",
    )
)


@dataclass(frozen=True)
class Field:
    """One row of the parameter list.

    `path` is its place in the request (`settings.sparseStructure.steps`); `name` the same in
    Python, on the command line and in Blender (`sparse_structure_steps`). `default` is what the
    platform documents, `model_default` what the model does where the platform says nothing.
    """

    path: str
    type: type
    label: str
    description: str
    default: Any = None
    model_default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: int | None = None
    choices: tuple[Any, ...] = ()
    required: bool = False
    uri: bool = False
    unit: str = ""

    @property
    def name(self) -> str:
        parts = self.path.split(".")
        return _snake("_".join(parts[1:] if len(parts) > 1 else parts))

    @property
    def group(self) -> str:
        """The sub-object of `settings` this belongs to (`texSlat`), `settings`, `inputs`, or empty."""
        return self.path.rpartition(".")[0].rpartition(".")[2]

    @property
    def effective_default(self) -> Any:
        """The value that holds when the field is not set, as far as anybody has said."""
        return self.model_default if self.default is None else self.default

    @property
    def values(self) -> tuple[Any, ...]:
        """Every allowed value, where they are few; else empty."""
        if self.step and self.minimum is not None and self.maximum is not None:
            return tuple(range(int(self.minimum), int(self.maximum) + 1, self.step))
        return self.choices

    @property
    def is_text_in_blender(self) -> bool:
        """Whether Blender holds it as text: an item of a list, a text, or a number beyond its 32 bits."""
        return bool(self.values) or self.type is str or (self.type is int and (self.maximum or 0) > INT32_MAX)

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return message("allowed: {allowed}", allowed=list(self.choices))
        if self.type is bool:
            return message("allowed: true or false")
        if self.uri:
            return message("give a full http:// or https:// address")
        if self.type is str:
            return message("give a text that is not empty")
        if self.type is dict:
            return message("give a JSON object")
        kind = message("a whole number") if self.type is int else message("a number")
        if self.maximum is None:
            least = self._measured(self.minimum)
            return message("allowed: {kind} of at least {minimum}", kind=kind, minimum=least)
        most = self._measured(self.maximum)
        values = {"kind": kind, "minimum": _number(self.minimum), "maximum": most}
        if self.step:
            return message("allowed: {kind} from {minimum} to {maximum} in steps of {step}", step=self.step, **values)
        return message("allowed: {kind} from {minimum} to {maximum}", **values)

    def _measured(self, value: float | None) -> str:
        """A value with its unit."""
        return message("{value} {unit}", value=_number(value), unit=self.unit) if self.unit else _number(value)

    def check(self, value: Any) -> Any:
        """The value, a number of NumPy's as Python's own; or `FieldError`: wrong type, out of range, no choice."""
        value = plain(value)
        if not self._right_type(value):
            raise self._refusal(value)
        if self.choices and value not in self.choices:
            raise self._refusal(value)
        if self.minimum is not None and value < self.minimum:
            raise self._refusal(value)
        if self.maximum is not None and value > self.maximum:
            raise self._refusal(value)
        if self.step and (value - int(self.minimum or 0)) % self.step:
            raise self._refusal(value)
        if self.uri and not is_web_address(value):
            raise self._refusal(value)
        return value

    def parse(self, text: str) -> Any:
        """A checked value from text (command line, panel)."""
        text = text.strip()
        value: Any = text
        if self.type is bool:
            value = {"true": True, "yes": True, "1": True, "on": True}.get(text.lower(), value)
            value = {"false": False, "no": False, "0": False, "off": False}.get(text.lower(), value)
        elif self.type in (int, float):
            # a float at first, so that an int, where it is one, keeps every digit of a seed above 2**53
            for kind in (float, int):
                with contextlib.suppress(ValueError):
                    value = kind(text)
        return self.check(value)

    def _right_type(self, value: Any) -> bool:
        if self.type is float:
            # a whole number may be too large for isfinite(): then the range refuses it
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole or (isinstance(value, float) and math.isfinite(value))
        if self.type is int:
            return isinstance(value, int) and not isinstance(value, bool)
        if self.type is str:
            return isinstance(value, str) and bool(value.strip())
        return isinstance(value, self.type)

    def _refusal(self, value: Any) -> FieldError:
        json_type = {int: "integer", float: "number", bool: "boolean", str: "string", dict: "object"}[self.type]
        constraint: dict[str, Any] = {"type": json_type}
        if self.choices:
            constraint["allowedValues"] = list(self.choices)
        for key, bound in (("min", self.minimum), ("max", self.maximum), ("multiplier", self.step)):
            if bound is not None:
                constraint[key] = bound
        return FieldError(
            self.path, value, self.allowed, code="invalid" + json_type.capitalize(), constraint=constraint
        )


@dataclass(frozen=True)
class SamplerDefaults:
    """A sampler's own values, as they are published with the model.

    Guidance is on within `guidance_interval`, of the time that runs from 1 (noise) to 0.
    """

    steps: int
    guidance_strength: float
    guidance_rescale: float
    rescale_t: float
    guidance_interval: tuple[float, float]


# By their Python names.
SAMPLER_DEFAULTS: Mapping[str, SamplerDefaults] = {
    "sparse_structure": SamplerDefaults(12, 7.5, 0.7, 5.0, (0.6, 1.0)),
    "shape_slat": SamplerDefaults(12, 7.5, 0.5, 3.0, (0.6, 1.0)),
    "tex_slat": SamplerDefaults(12, 1.0, 0.0, 3.0, (0.6, 0.9)),
}


def _sampler(group: str, own: SamplerDefaults, what: str) -> tuple[Field, ...]:
    """The four fields that each of the model's three samplers has."""
    return (
        Field(
            f"settings.{group}.steps",
            int,
            "Steps",
            f"Denoising steps for {what}; more is slower and, up to a point, cleaner",
            model_default=own.steps,
            minimum=1,
            maximum=50,
        ),
        Field(
            f"settings.{group}.guidanceStrength",
            float,
            "Guidance",
            f"How closely the image is followed for {what}; 1 turns guidance off",
            model_default=own.guidance_strength,
            minimum=1,
            maximum=10,
        ),
        Field(
            f"settings.{group}.guidanceRescale",
            float,
            "Guidance Rescale",
            "Damps the oversaturation that strong guidance brings: 0 corrects nothing, higher corrects more",
            model_default=own.guidance_rescale,
            minimum=0,
            maximum=1,
        ),
        Field(
            f"settings.{group}.rescaleT",
            float,
            "Time Rescale",
            "Bends the sampling schedule: above 1, more of the steps go to the coarse, early part",
            model_default=own.rescale_t,
            minimum=1,
            maximum=6,
        ),
    )


FIELDS: tuple[Field, ...] = (
    Field("taskType", str, "Task", "The task", default=TASK_TYPE, choices=(TASK_TYPE,), required=True),
    Field("taskUUID", str, "Task UUID", "Tracks the task and matches its results", required=True),
    Field("outputType", str, "Output Type", "How the output is delivered", default="URL", choices=("URL",)),
    Field("outputFormat", str, "Format", "File format of the asset", default="GLB", choices=("GLB",)),
    Field("webhookURL", str, "Webhook", "Address that each result is posted to as JSON", uri=True),
    Field(
        "deliveryMethod",
        str,
        "Delivery",
        "Wait for the complete result in one reply (sync), or ask for it until it is there (async)",
        default="async",
        choices=("sync", "async"),
    ),
    Field("uploadEndpoint", str, "Upload To", "Address that the finished file is sent to by HTTP PUT", uri=True),
    Field("ttl", int, "Keep For", "How long the service keeps the files", minimum=60, unit=message("seconds")),
    Field("includeCost", bool, "Include Cost", "Ask for the task's cost in the result", default=False),
    Field(
        "numberResults",
        int,
        "Results",
        "How many variations to make, each with another seed; each one is paid for",
        default=1,
        minimum=1,
        maximum=4,
    ),
    Field("inputs.image", str, "Image", "The picture: UUID, URL, data URI or Base64", required=True),
    Field(
        "model",
        str,
        "Model",
        "The model that makes the asset",
        default=TRELLIS2_MODEL,
        choices=(TRELLIS2_MODEL, DRAFT_MODEL),
        required=True,
    ),
    Field(
        "seed",
        int,
        "Seed",
        "The same seed, image and settings give the same asset; empty draws one at random",
        minimum=0,
        maximum=SEED_MAX,
    ),
    Field(
        "settings.resolution",
        int,
        "Resolution",
        "Resolution of the voxel grid; higher shows finer detail and takes longer",
        default=1024,
        choices=(512, 1024, 1536),
    ),
    Field(
        "settings.decimationTarget",
        int,
        "Target Triangles",
        "Number of triangles that the mesh is simplified to",
        default=500_000,
        minimum=100_000,
        maximum=1_000_000,
    ),
    Field("settings.remesh", bool, "Remesh", "Rebuild the surface for cleaner topology", default=True),
    Field(
        "settings.textureSize",
        int,
        "Texture Size",
        "Width and height of the textures",
        default=2048,
        minimum=1024,
        maximum=4096,
        step=1024,
        unit=message("pixels"),
    ),
    *_sampler("sparseStructure", SAMPLER_DEFAULTS["sparse_structure"], message("the rough shape")),
    *_sampler("shapeSlat", SAMPLER_DEFAULTS["shape_slat"], message("the detailed shape")),
    *_sampler("texSlat", SAMPLER_DEFAULTS["tex_slat"], message("the surface's colours and materials")),
)

# The sub-objects of `settings`, in order, with a heading for each.
SAMPLERS = {
    "sparseStructure": "Structure Sampler",
    "shapeSlat": "Shape Sampler",
    "texSlat": "Texture Sampler",
}

# What our own service understands beyond the published task; never sent to the remote API.
OWN_FIELDS: tuple[Field, ...] = (
    Field(
        "inputs.latents",
        str,
        "Latents",
        "What an earlier result was decoded from, to go on from without sampling again: a safetensors file as UUID, "
        "data URI or Base64. With an image, its texture is sampled again; without one, it is only finished again",
    ),
    Field(
        "inputs.region",
        dict,
        "Region",
        "The part of the asset that is made anew of the image, where inputs.latents says what the asset was decoded "
        "from (of a draft its GLB): a box, a sphere or points, in the asset's own units; all else stays",
    ),
    Field(
        "inputs.views",
        dict,
        "Views",
        "Further pictures of the same object by where they were taken from: right, back, left, or degrees counted "
        "counter-clockwise from above (front 0, right 90); each given as the image is, which is the front",
    ),
    Field(
        "inputs.mesh",
        str,
        "Mesh",
        "A mesh that is textured from the image, in place of one that is made: a GLB as UUID, data URI or Base64",
    ),
    Field(
        "settings.facing",
        str,
        "Facing",
        "Where the image shows the mesh from: front, right, back, left, or degrees counted counter-clockwise from "
        "above (front 0, right 90); for a mesh alone",
        default="front",
    ),
    Field(
        "settings.uvs",
        str,
        "Texture Coordinates",
        "Whose texture coordinates the mesh is textured on: its own where these can hold a texture, its own whatever "
        "they are, or new ones; for a mesh alone",
        default="auto",
        choices=("auto", "keep", "new"),
    ),
    Field(
        "settings.texture",
        bool,
        "Texture",
        "Make the texture as well; off is the shape alone, in about half the time, to which a texture can be added",
        default=True,
    ),
    Field(
        "settings.rough",
        bool,
        "Rough Shapes First",
        "Make the rough shapes alone, in a fraction of the time, to choose from; what is chosen goes on from there",
        default=False,
    ),
    Field(
        "settings.projectPicture",
        float,
        "Project Picture",
        "How strongly the picture itself is put onto the texture where the surface faces it, its light divided out: "
        "letters and faces become as sharp as the picture",
        default=0.0,
        minimum=0.0,
        maximum=1.0,
    ),
    Field(
        "settings.variation",
        float,
        "Variation",
        "How far a variant goes from the asset that inputs.latents keep: 0 is that asset itself, 1 as free as another "
        "seed; the image is sent as well",
        minimum=0.0,
        maximum=1.0,
    ),
    Field(
        "settings.textureFormat",
        str,
        "Texture Format",
        "File format of the textures inside the asset; PNG is larger, and every program reads it",
        default="webp",
        choices=("webp", "png"),
    ),
    Field(
        "settings.faces",
        int,
        "Most Triangles",
        "The most triangles of the asset, for fewer than the target allows: 20000 for a prop, 5000 for a phone; its "
        "detail is baked into a normal map",
        minimum=100,
        maximum=1_000_000,
    ),
    Field(
        "settings.quads",
        int,
        "Quads",
        "About how many quads the surface is made of in place of triangles; a GLB holds pairs of triangles, which come "
        "into Blender as quads",
        minimum=24,
        maximum=500_000,
    ),
)

# What is done after the last sampling: from kept latents it can be done anew.
FINISHING = ("decimation_target", "remesh", "texture_size", "texture_format", "faces", "quads")

BY_PATH: dict[str, Field] = {field.path: field for field in (*FIELDS, *OWN_FIELDS)}
# What identifies one task rather than describes a wish: `Task` has these as attributes of its own.
_INPUTS = ("inputs.image", "inputs.latents", "inputs.region", "inputs.views", "inputs.mesh")
IDENTITY = ("taskType", "taskUUID", *_INPUTS, "model")
SETTABLE: tuple[Field, ...] = tuple(field for field in FIELDS if field.path not in IDENTITY)
OWN_SETTINGS: tuple[Field, ...] = tuple(field for field in OWN_FIELDS if field.path not in IDENTITY)
# Of these, what has a meaning for a mesh alone that is textured.
OF_A_MESH = ("facing", "uvs")
# Of these, what has a meaning where an asset is gone on from, and belongs to that one task.
OF_LATENTS = ("variation",)
# Of these, what the panel shows: the others are chosen when an asset is finished again.
OWN_IN_PANEL: tuple[Field, ...] = tuple(
    BY_PATH[f"settings.{name}"] for name in ("rough", "texture", "projectPicture", "faces", "quads")
)
BY_NAME: dict[str, Field] = {field.name: field for field in (*SETTABLE, *OWN_SETTINGS)}


class Settings(Mapping[str, Any]):
    """The fields that were set, checked, by Python name; immutable: read as a mapping, changed by `replace`.

    >>> Settings(resolution=512, sparse_structure_steps=20).to_request()
    {'settings': {'resolution': 512, 'sparseStructure': {'steps': 20}}}

    The protocol's own names are taken as well: `Settings(textureSize=4096, texSlat={"steps": 20})`.
    Raises `FieldError` for a name that does not exist and for a value that is not allowed.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        found: dict[str, Any] = {}
        for key, value in (*_items(values), *named.items()):
            for field, item in _resolve(key, value):
                checked = field.check(item)
                if found.setdefault(field.name, checked) != checked:
                    raise FieldError(field.path, item, message("it was given twice, by two names; give it once"))
        # in the order of FIELDS, so that equal settings look the same wherever they are written
        self._values = {name: found[name] for name in BY_NAME if name in found}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{k}={v!r}' for k, v in self._values.items())})"

    def value(self, name: str) -> Any:
        """What holds for this field: the value set, or else the default (None where nobody names one).

        Raises `FieldError` for a name that does not exist.
        """
        if name not in BY_NAME:
            raise unknown_field(name)
        return self._values.get(name, BY_NAME[name].effective_default)

    def replace(self, **changes: Any) -> Settings:
        """A copy with these fields set; None takes a field, or all of a sampler's, back to not set."""
        merged = dict(self._values)
        for name in (field.name for key in changes for field in _fields_of(key)):
            merged.pop(name, None)
        return Settings({**merged, **{key: value for key, value in changes.items() if value is not None}})

    def to_request(self) -> dict[str, Any]:
        """The nested JSON of the fields set, as the protocol has it."""
        request: dict[str, Any] = {}
        for name, value in self._values.items():
            *parents, last = BY_NAME[name].path.split(".")
            place = request
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = value
        return request

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Settings:
        """The settings of a request as it came over the wire; identity fields are passed over.

        Raises `FieldError` with code `unsupportedParameter` for a key that the task does not have.
        """
        values: dict[str, Any] = {}
        for path, value in _leaves(request):
            field = BY_PATH.get(path)
            if field is None:
                raise unknown_field(path)
            if path not in IDENTITY:
                values[field.name] = value
        return cls(values)


def unknown_field(name: str) -> FieldError:
    close = _closest_field(name)
    if close:
        sentence = message("{name}: there is no such field; did you mean {suggestion}?", name=name, suggestion=close)
    else:
        sentence = message(
            "{name}: there is no such field; leave it out, or look for its name in docs/settings.md.", name=name
        )
    return FieldError(name, name, code="unsupportedParameter", message=sentence)


def _resolve(key: str, value: Any) -> Iterator[tuple[Field, Any]]:
    """The fields that a keyword stands for: a Python name, a protocol name, a path, or a sampler's object."""
    group = next((g for g in SAMPLERS if key in (g, _snake(g), f"settings.{g}")), None)
    if group is not None:
        if not isinstance(value, Mapping):
            raise FieldError(f"settings.{group}", value, "give an object such as {'steps': 12}", code="invalidObject")
        for inner, item in value.items():
            yield from _resolve(f"{_snake(group)}_{_snake(str(inner))}", item)
        return
    if key == "settings" and isinstance(value, Mapping):  # as a request has them
        for inner, item in _items(value):
            yield from _resolve(inner, item)
        return
    yield _field_of(key), value


def _items(values: Any) -> tuple[tuple[str, Any], ...]:
    """What was given as settings, pair by pair; raises `FieldError` for what is no mapping of names."""
    if values is None:
        return ()
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise FieldError("settings", values, message("give an object of values by name, such as {'resolution': 512}"))
    return tuple(values.items())


def _field_of(key: str) -> Field:
    for field in BY_NAME.values():
        if key in (field.name, field.path) or (field.group in ("", "settings") and key == field.path.split(".")[-1]):
            return field
    raise unknown_field(key)


def _fields_of(key: str) -> tuple[Field, ...]:
    """The fields that a keyword stands for, whatever it is set to."""
    for group in SAMPLERS:
        if key in (group, _snake(group), f"settings.{group}"):
            return tuple(field for field in SETTABLE if field.group == group)
    return (_field_of(key),)


def _leaves(request: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    containers = ("inputs", "settings", *(f"settings.{group}" for group in SAMPLERS))
    for key, value in request.items():
        path = f"{prefix}{key}"
        if path not in containers:
            yield path, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, path + ".")
        else:
            raise FieldError(path, value, "give a JSON object", code="invalidObject")


def _closest_field(name: str) -> str:
    """A field that may have been meant, by the last part of its name: another place of it, or a misspelling."""
    import difflib

    if "." not in name:
        return next(iter(difflib.get_close_matches(name, list(BY_NAME), n=1)), "")
    place, _, last = name.rpartition(".")
    elsewhere = [path for path in BY_PATH if path.rpartition(".")[2].lower() == last.lower()]
    beside = {path.rpartition(".")[2]: path for path in BY_PATH if path.rpartition(".")[0] == place}
    found = elsewhere or [beside[near] for near in difflib.get_close_matches(last, list(beside), n=1)]
    return found[0] if found else ""


def _number(value: float | None) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
