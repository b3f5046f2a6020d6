"""What the service keeps, as plain data: tasks with their results, and files."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.messages import to_wire
from ..task.region import Region, as_region
from ..task.settings import TASK_TYPE, Settings
from .people.caller import HOUSE, INTERACTIVE
from .protocol import JsonObject

if TYPE_CHECKING:
    from ..images import PreparedImage


@dataclass
class Slot:
    """One result of a task: on its way until it has an `item` or an `error`.

    `picture` is what it looks like by now, as it stands in a status. `losses` is how many processes have ended while
    they worked on it, where that was not this one.
    """

    progress: int = 0
    stage: str = ""
    picture: str = ""
    losses: int = 0
    item: JsonObject | None = None
    error: JsonObject | None = None
    began: list[tuple[str, float]] = field(default_factory=list)
    """Each stage with the time at which it began, in seconds of the clock that the tasks have."""

    @property
    def settled(self) -> bool:
        return self.item is not None or self.error is not None

    def news(self) -> JsonObject:
        """How far it is; `stage` is the engine's word for what it does, once it has said one."""
        found: JsonObject = {"progress": self.progress}
        if self.stage:
            found["stage"] = self.stage
        if words := to_wire(self.stage):
            found["stageTemplate"] = words
        if self.picture:
            found["preview"] = self.picture
        return found


@dataclass
class TaskRecord:
    """A task that was accepted.

    `model` is the engine that answers. `request` is kept without its picture, which is in the file
    `picture` until the task is done, or at the web address `image_url`, from where the worker fetches it.
    `image` is the same picture read, where the work begins at once; a task with `latents`, a file like the picture's,
    may have none of these. `mesh` is the file of one that is textured. `views` are further pictures by view, each a
    file or a web address, and `view_images` the same pictures read. `base_url` is the address that the
    client knew us by; the addresses of files in `slots` are kept without it. `client` tells the clients apart that
    take turns, `person` whose it is, `priority` one of `PRIORITIES`. `accepted` and `finished` are seconds of the
    clock. `starts` is how often the process has ended while it worked on the task. `preparing` is held
    while the picture is read and cut out.
    """

    uuid: str
    settings: Settings
    model: str
    request: JsonObject
    seed: int
    base_url: str
    slots: list[Slot]
    picture: Path | None = None
    image: PreparedImage | None = None
    image_url: str = ""
    latents: Path | None = None
    mesh: Path | None = None
    views: Mapping[str, Path | str] = field(default_factory=dict)
    view_images: Mapping[str, PreparedImage] = field(default_factory=dict)
    client: str = ""
    person: str = HOUSE
    priority: str = INTERACTIVE
    accepted: float = 0.0
    starts: int = 0
    finished: float | None = None
    stopped: threading.Event = field(default_factory=threading.Event)
    preparing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def done(self) -> bool:
        return self.finished is not None

    @property
    def has_picture(self) -> bool:
        return self.picture is not None or self.image is not None or bool(self.image_url)

    @property
    def region(self) -> Region | None:
        """The part that is made anew, where not all is."""
        inputs = self.request.get("inputs")
        given = inputs.get("region") if isinstance(inputs, Mapping) else None
        return None if given is None else as_region(given)

    def forget_images(self) -> None:
        """Let go of the pictures that were read: they are large, and can be read again."""
        self.image, self.view_images = None, {}

    def kept_files(self) -> set[Path]:
        """What the task needs of the disk until it is done."""
        given = (self.picture, self.latents, self.mesh, *self.views.values())
        return {path for path in given if isinstance(path, Path)}

    @property
    def is_suspect(self) -> bool:
        """Whether it may have been what ended the process."""
        return self.starts > 0

    def deliveries(self, index: int) -> list[str]:
        """The fields whose addresses are to hear of result `index`."""
        fields = {"webhookURL": "webhook_url", "uploadEndpoint": "upload_endpoint"}
        if self.slots[index].item is None:
            del fields["uploadEndpoint"]
        return [field for field, name in fields.items() if name in self.settings]

    def identity(self, index: int) -> JsonObject:
        """The keys that every item and error about result `index` has."""
        found: JsonObject = {"taskType": TASK_TYPE, "taskUUID": self.uuid}
        # The official client waits for ever for several results whose items have no index.
        return found | {"resultIndex": index} if len(self.slots) > 1 else found


@dataclass(frozen=True)
class Waiting:
    """What the row of waiting tasks needs to know of one: `left` are the numbers of the results that are to be made."""

    uuid: str
    person: str
    client: str
    priority: str
    left: tuple[int, ...]
    starts: int = 0


@dataclass
class StoredFile:
    """A file of `size` bytes and the time it goes; `secret` is the part of its address that nobody can guess."""

    uuid: str
    name: str
    secret: str
    path: Path
    media_type: str
    ttl: float
    expires: float
    person: str = HOUSE
    size: int = 0

    @property
    def url_path(self) -> str:
        return f"/files/{self.secret}/{self.name}"
