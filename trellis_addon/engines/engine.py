"""What every engine is: one method from an `Order` to a `Made`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..core.progress import Progress
from ..task.region import Region
from ..task.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Order:
    """What one result is to be made of, and how.

    `image` is RGBA, 8 bits, with the subject cut out by its alpha. `seed` is in 0..2^63-1. With `latents`, checked by
    `formats.latents.check_latents`, the shape is the one kept in them: with an image its texture is sampled again,
    without one it is only decoded and finished again. `views` are further pictures of the same object, like `image`, by
    the names of `task.views`; `image` is its front. With `region` only that part of what the latents are of is made
    anew, and with the setting `variation`, 0..1, a variant of it: 0 gives the latents back as they are. With `mesh`, a
    GLB, that file is what is made, with another texture: `image` shows it from where the setting `facing` says.
    """

    image: Image | None
    settings: Settings
    seed: int
    latents: bytes | None = None
    views: Mapping[str, Image] = field(default_factory=dict)
    region: Region | None = None
    mesh: bytes | None = None


@dataclass(frozen=True)
class Made:
    """What an engine made: `glb` is the file.

    `latents` are what it was decoded from, a safetensors file to go on from without sampling again; None where an
    engine keeps none. `facts` are JSON data for whoever asks how it went, each where it is known: `device` (its name),
    `peakMemory` (bytes of the device), `resolution` (that was really made) and `notes` (sentences for the user about
    what was done otherwise than asked).
    """

    glb: bytes
    latents: bytes | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Makes an asset of a picture. Nothing is asked of it by two threads at once, but for what it does after
    `progress.leave_device()`: then the next picture's work may begin."""

    model: str
    """The model id this engine really is, written into every reply and every asset."""

    def generate(self, order: Order, progress: Progress) -> Made:
        """A GLB file of the picture's subject; the same order gives the same bytes.

        `progress.siblings`, by seed, are those of results of the same image, views and settings that will be asked for
        next. Raises `EngineError` when it cannot be done, `Cancelled` when `progress` says so.
        """
        ...

    def release(self) -> None:
        """Give the device's memory back; the next `generate` takes again what it needs."""
        ...
