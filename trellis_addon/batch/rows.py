"""A picture of a folder, and what has become of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..api import fingerprint
from ..core.errors import FieldError, InputError, TrellisError
from ..core.messages import message
from ..images import EXTENSIONS, WHOLE, clean_name, find_path, find_pictures, readable
from ..jobs.job import Asset
from ..task.settings import Settings
from ..task.task import check_own_views
from ..task.views import by_object, name_of_object

if TYPE_CHECKING:
    from ..contract.check import Finding

# A picture has an asset: made by this process, made before, made by another process of a farm, brought into the .blend,
# or in it already.
GOOD = ("made", "reused", "elsewhere", "collected", "present")


@dataclass
class Row:
    """What became of one picture: `state` is one of `GOOD`, "missing" or "failed".

    `views` are the other pictures of the same object. `source` is the picture as it is used, where that is not the
    file itself; `broken` is what its assets do not keep of the contract, None where there is none or nobody has looked.
    `worker` is the process of a farm that has made it, `thumbnail` a small PNG of the picture as it was cut out, `part`
    the .blend that its assets are in where there are several.
    """

    image: Path
    views: Mapping[str, Path] = field(default_factory=dict)
    source: Path | None = None
    fingerprint: str = ""
    state: str = ""
    seconds: float = 0.0
    assets: tuple[Asset, ...] = ()
    triangles: int = 0
    message: str = ""
    broken: tuple[Finding, ...] | None = None
    worker: str = ""
    thumbnail: Path | None = None
    part: Path | None = None

    @property
    def is_good(self) -> bool:
        return self.state in GOOD

    @property
    def name(self) -> str:
        """What its asset is called."""
        stem = self.image.stem
        return clean_name(name_of_object(stem) if self.views else stem)

    def fail(self, error: Exception) -> None:
        """One picture must not take the others along."""
        self.state, self.message = "failed", told(error)


def told(error: Exception) -> str:
    if isinstance(error, TrellisError):
        return error.message
    return message("Unexpected problem: {kind}: {reason}", kind=type(error).__name__, reason=error)


@dataclass(frozen=True)
class Shard:
    """One of `count` equal parts of a folder, counted from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """What `--shard` says, such as "2/8"; raises `FieldError`."""
        try:
            number, count = (int(part) for part in text.split("/"))
        except ValueError:
            number = count = 0
        if not 1 <= number <= count:
            rule = message("give which part of how many, counted from 1, such as {example}", example="2/8")
            raise FieldError("shard", text, rule)
        return cls(number, count)


def objects_in(folder: Path, shard: Shard | None = None) -> list[tuple[Path, dict[str, Path]]]:
    """What there is to make of a folder, or of one part of it: (picture, further views), by name; raises `InputError`.

    A part may be empty, a folder not.
    """
    shard = shard or Shard()
    folder = find_path(str(folder))
    if not folder.is_dir():
        raise InputError("{folder} is no folder; give one of pictures.", folder=readable(str(folder)))
    images = find_pictures(folder)
    if not images:
        raise InputError(
            "{folder}: there is no PNG, JPEG or WebP picture in this folder.", folder=readable(str(folder))
        )
    return by_object(images)[shard.number - 1 :: shard.count]


def row_of(
    image: Path, views: Mapping[str, Path], settings: Settings, model: str, whole: bool, *, is_remote: bool = False
) -> Row:
    """The row of an object; one that cannot be read, or sent there, has failed."""
    row = Row(image, views)
    try:
        if is_remote:
            check_own_views(views)
        row.fingerprint = fingerprint(image, settings, model, WHOLE if whole else "", views)
    except InputError as error:  # gone, or not ours to read
        row.fail(error)
    return row


def convert(row: Row, folder: Path) -> None:
    """Pictures of other formats as PNGs that stand for them, where Blender reads them; on the main thread only."""
    row.source = _as_png(row, row.image, folder / f"{row.fingerprint}.png")
    row.views = {
        view: _as_png(row, path, folder / f"{row.fingerprint}-{view}.png") or path for view, path in row.views.items()
    }


def _as_png(row: Row, image: Path, target: Path) -> Path | None:
    """The file that stands for a picture; None where it needs none, or where the row has failed."""
    if row.state or image.suffix.lower() in EXTENSIONS:
        return None
    from ..scene import require_blender

    try:
        require_blender()
        from ..scene.images import png_of_file

        target.write_bytes(png_of_file(image))
    except TrellisError as error:
        row.fail(error)
        return None
    return target
