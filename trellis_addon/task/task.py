"""One request for an asset, and what came of it: the protocol's task and its results as data."""

from __future__ import annotations

import json
import secrets
import uuid as uuid_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from ..core.errors import FieldError
from ..core.messages import message
from .region import Region, as_region
from .settings import (
    BY_NAME,
    BY_PATH,
    OF_A_MESH,
    OWN_SETTINGS,
    RANDOM_SEED_MAX,
    SEED_MAX,
    TASK_TYPE,
    TRELLIS2_MODEL,
    Settings,
)
from .views import YAWS, check_views, view_name


def new_uuid() -> str:
    return str(uuid_module.uuid4())


def random_seed() -> int:
    """A seed as the platform draws one: unsigned, 32 bits."""
    return secrets.randbelow(RANDOM_SEED_MAX + 1)


def result_seed(seed: int, index: int) -> int:
    """The seed of result `index` of a task: seed, seed + 1, ...; past the largest it goes on at 0."""
    return (seed + index) % (SEED_MAX + 1)


@dataclass(frozen=True)
class Task:
    """A `3dInference` task. `image` is what `inputs.image` takes: UUID, URL, data URI or Base64.

    With `latents` (`inputs.latents`: UUID, data URI or Base64) it goes on from what an earlier result was decoded from,
    on a service of ours only: with an image the texture is sampled again (of a rough shape all that comes after it),
    without one nothing is. `views`
    (`inputs.views`, of a service of ours only) are further pictures of the same object; see `views.named_views`. With
    `region` (`inputs.region`) only that part of what the latents are of is made anew; of a draft these are its GLB.
    With the setting `variation` what is made is a variant of it.
    With a `mesh` (`inputs.mesh`, likewise) that is textured from the image: the setting `facing` says where from.
    """

    image: str
    settings: Settings = field(default_factory=Settings)
    model: str = TRELLIS2_MODEL
    uuid: str = field(default_factory=new_uuid)
    latents: str = ""
    views: Mapping[str, str] = field(default_factory=dict, hash=False)
    mesh: str = ""
    region: Region | None = None

    @property
    def variation(self) -> float | None:
        """How far it goes from what the latents are of, 0..1; None where a variant is not what is asked for."""
        return self.settings.get("variation")

    def __post_init__(self) -> None:
        BY_PATH["model"].check(self.model)
        for path, value in (("inputs.image", self.image), ("inputs.latents", self.latents)):
            if value or not (self.image or self.latents):
                BY_PATH[path].check(value)
        check_uuid(self.uuid)
        object.__setattr__(self, "views", check_views(self.views, self.image))
        if self.region is not None and not (self.latents and self.image):
            rule = message("give what it is a part of as inputs.latents, and its picture as inputs.image")
            raise FieldError("inputs.region", self.region.to_json(), rule)
        if self.settings.get("rough") and (self.latents or self.mesh):
            rule = message("a rough shape is made of a picture alone; leave it out, or leave out what is gone on from")
            raise FieldError("settings.rough", True, rule, code="unsupportedParameter")
        _check_mesh(self)

    def to_request(self) -> dict[str, Any]:
        """The request's JSON object: what was set, nothing else."""
        return {
            "taskType": TASK_TYPE,
            "taskUUID": self.uuid,
            "model": self.model,
            **self.settings.to_request(),
            "inputs": {
                **{name: given for name in ("image", "latents", "views", "mesh") if (given := getattr(self, name))},
                **({"region": self.region.to_json()} if self.region is not None else {}),
            },
        }

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Task:
        """Read and check a request; `FieldError` names the first field that is missing or not allowed."""
        if not isinstance(request, Mapping):
            raise FieldError("task", request, "give a JSON object", code="invalidObject")
        found = request.get("inputs")
        inputs = found if isinstance(found, Mapping) else {}
        given: dict[str, Any] = {
            "taskType": request.get("taskType"),
            "taskUUID": request.get("taskUUID"),
            "model": request.get("model"),
            "inputs.image": inputs.get("image"),
        }
        latents = inputs.get("latents")
        if latents is not None:
            BY_PATH["inputs.latents"].check(latents)
            if given["inputs.image"] is None:
                del given["inputs.image"]
        settings = Settings.from_request(request)
        for path, value in given.items():
            if value is None:
                raise missing_field(path)
            BY_PATH[path].check(value)
        views = {} if inputs.get("views") is None else inputs["views"]
        region = None if inputs.get("region") is None else as_region(inputs["region"])
        mesh = inputs.get("mesh")
        if mesh is not None:
            BY_PATH["inputs.mesh"].check(mesh)
        return cls(
            given.get("inputs.image", ""),
            settings,
            given["model"],
            given["taskUUID"],
            latents or "",
            views,
            mesh or "",
            region,
        )


def check_meaning(task: Task) -> None:
    """Raise `FieldError` for settings that mean nothing, because the task textures no mesh, or goes on from nothing."""
    _check_variation(task)
    for name in OF_A_MESH:
        if not task.mesh and name in task.settings:
            rule = message("it is for a mesh that is textured; give one as inputs.mesh, or leave it out")
            raise FieldError(BY_NAME[name].path, task.settings[name], rule, code="unsupportedParameter")


def _check_variation(task: Task) -> None:
    """Raise `FieldError` for a variation of nothing, and for one of a part."""
    rule = ""
    if task.variation is None:
        return
    if not (task.latents and task.image):
        rule = message(
            "give what it is a variant of as inputs.latents, and its picture as inputs.image; or leave it out"
        )
    elif task.variation == 0 and task.settings.value("number_results") > 1:
        rule = message("at 0 every result is the asset itself; ask for 1")
    elif task.region is not None:
        rule = message("a part is made anew as far as its region's rim says; leave this out, or the region")
    if rule:
        raise FieldError("settings.variation", task.variation, rule, code="unsupportedParameter")


def _check_mesh(task: Task) -> None:
    """Raise `FieldError` for a mesh without a picture, and for what goes with none."""
    if not task.mesh:
        return
    BY_PATH["inputs.mesh"].check(task.mesh)
    if task.latents:
        rule = message("give a mesh or latents, and not both")
        raise FieldError("inputs.mesh", "", rule, code="unsupportedParameter")
    if not task.image:
        rule = message("give the picture that it is to look like as inputs.image")
        raise FieldError("inputs.mesh", "", rule, code="missingImage")
    facing = facing_of(task.settings)
    if facing in task.views:
        rule = message("the picture itself is from there; give each view once")
        raise FieldError("inputs.views", facing, rule, code="invalidView")


def facing_of(settings: Settings) -> str:
    """Where the picture of a mesh was taken from, by the one name of a view; raises `FieldError`."""
    facing = settings.value("facing")
    try:
        return view_name(facing)
    except FieldError:
        rule = message("give {allowed}, or degrees such as 135", allowed=list(YAWS))
        raise FieldError("settings.facing", facing, rule, code="invalidView") from None


def check_published(task: Task) -> None:
    """Raise `FieldError` for what only our own service understands: the remote API's task has no such field."""
    if task.latents:
        raise _unknown("inputs.latents", message("keeps no stages to go on from"))
    if task.region is not None:
        raise _unknown("inputs.region", message("changes no part of an asset"))
    if task.mesh:
        raise no_mesh_there()
    check_own_views(task.views)
    check_own_settings(task.settings)


def no_mesh_there() -> FieldError:
    """The refusal of a mesh by the remote API."""
    return _unknown("inputs.mesh", message("textures no mesh"))


def check_own_views(views: Mapping[str, Any]) -> None:
    """Raise `FieldError` where there are any: the remote API takes one picture."""
    if views:
        raise _unknown("inputs.views", message("makes an asset of one picture"))


def check_own_settings(settings: Settings) -> None:
    """Raise `FieldError` for the first setting that only our own service understands."""
    for own in OWN_SETTINGS:
        if own.name in settings:
            raise _unknown(own.path, message("does not know it"))


def _unknown(path: str, why: str) -> FieldError:
    sentence = message("{path}: the remote API {why}; use a service of your own, or leave it out.", path=path, why=why)
    return FieldError(path, None, message=sentence, code="unsupportedParameter")


@dataclass(frozen=True)
class Result:
    """One asset of a task, as the service reported it: `cost` in US dollars, None where not told.

    The rest is what our own service tells beyond the protocol: `latents_url` is where it has what the asset was decoded
    from, `performance` what it took (`seconds`, `device`, `peakMemory` in bytes, the `resolution` that was made), and
    `notes` are sentences about what was done otherwise than asked.
    """

    task_uuid: str
    index: int
    seed: int | None
    file_uuid: str
    url: str
    cost: float | None = None
    engine: str = ""
    latents_url: str = ""
    performance: Mapping[str, Any] = field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells two results apart: results come in any order, and more than once."""
        return self.file_uuid or self.url


def check_uuid(value: Any) -> str:
    # Any version: the page says v4, the live service has been seen to take v7.
    try:
        if str(uuid_module.UUID(value)) == value.lower():
            return value
    except (ValueError, AttributeError, TypeError):
        pass
    raise FieldError(
        "taskUUID", value, message("give a UUID such as {example}", example=new_uuid()), code="invalidTaskUUID"
    )


def missing_field(path: str) -> FieldError:
    last = path.split(".")[-1]
    what = BY_PATH[path].description
    what = what[0].lower() + what[1:]
    sentence = message("{path}: nothing was given, and it is required: {what}.", path=path, what=what)
    return FieldError(path, None, code="missing" + last[0].upper() + last[1:], message=sentence)


def presets() -> dict[str, Settings]:
    """The settings of the published example requests, by name."""
    return {example["name"]: Settings.from_request(example["request"]) for example in examples()}


def examples() -> list[dict[str, Any]]:
    """The published example requests with their responses: `name`, `request`, `response`."""
    text = resources.files(__package__).joinpath("examples.json").read_text(encoding="utf-8")
    return json.loads(text)
