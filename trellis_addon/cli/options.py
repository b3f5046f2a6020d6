"""What several commands have in common: the settings of the task, pictures by view, and the line of progress."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import FieldError
from ..core.streams import printable
from ..task.settings import OF_A_MESH, OF_LATENTS, OWN_SETTINGS, SAMPLERS, SETTABLE, Field, Settings
from ..task.views import view_name

if TYPE_CHECKING:
    from ..batch import Row


def add_settings(command: argparse.ArgumentParser, *, without: Sequence[str] = (*OF_A_MESH, *OF_LATENTS)) -> None:
    """An option for every setting, but for those named."""
    headings = {"": "task", "settings": "settings", **SAMPLERS}
    groups: dict[str, Any] = {}
    for field in (*SETTABLE, *OWN_SETTINGS):
        if field.name in without:
            continue
        if field.group not in groups:
            groups[field.group] = command.add_argument_group(headings[field.group].lower())
        groups[field.group].add_argument(
            "--" + field.name.replace("_", "-"), dest="set_" + field.name, metavar=_metavar(field), help=_help(field)
        )


def _metavar(field: Field) -> str:
    return {int: "N", float: "X", bool: "true|false", str: "TEXT"}[field.type]


def _help(field: Field) -> str:
    default = field.effective_default
    ending = "" if default is None else f"; default {str(default).lower() if field.type is bool else default}"
    return f"{field.description} ({field.allowed}{ending})".replace("%", "%%")


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that were given; what was not given is not set."""
    values = {}
    for field in (*SETTABLE, *OWN_SETTINGS):
        text = getattr(options, "set_" + field.name, None)
        if text is not None:
            values[field.name] = field.parse(text)
    return Settings(values)


def picture_given(text: str | None) -> Any:
    """A picture as it was named on the command line, for `generate` and its like.

    A file of another format than they take is read by Blender, where this Python has it, as in a batch and the panel.
    """
    from ..images import EXTENSIONS, OTHER_EXTENSIONS, find_path, image_kind, meant

    what = meant(text) if text else ""
    if not what or image_kind(what) != "path":
        return text
    path = find_path(what)
    ending = path.suffix.lower()
    if ending in EXTENSIONS or ending not in OTHER_EXTENSIONS or not path.is_file():
        return text
    if importlib.util.find_spec("bpy") is None:
        return text  # whose format is named where it is refused
    from ..scene.images import png_of_file

    return png_of_file(path)


def views_of(texts: Sequence[str]) -> dict[str, Any]:
    """The pictures of --view by their views; raises `FieldError`."""
    found: dict[str, Any] = {}
    for text in texts:
        view, equals, picture = text.partition("=")
        if not equals or not picture.strip():
            raise FieldError("view", text, "give where it was taken from and the picture, such as back=BACK.png")
        if view_name(view) in found:
            raise FieldError("view", text, "give each view once")
        found[view_name(view)] = picture_given(picture)
    return found


def box_of(text: str | None) -> tuple[float, ...] | None:
    """The numbers of --subject; raises `FieldError`."""
    if text is None:
        return None
    try:
        left, top, right, bottom = (float(number) for number in text.replace(",", " ").split())
    except ValueError:
        rule = "give left, top, right and bottom in pixels, such as 120,40,900,760"
        raise FieldError("subject", text, rule) from None
    return left, top, right, bottom


def add_picture_options(command: argparse.ArgumentParser) -> None:
    """What is said of the picture: where its subject is, and what is corrected of it."""
    subject = command.add_mutually_exclusive_group()
    subject.add_argument(
        "--subject",
        metavar="X0,Y0,X1,Y1",
        help="cut out what is in this box (left, top, right, bottom, in pixels of the upright picture), whatever the "
        "background",
    )
    subject.add_argument("--whole", action="store_true", help="cut nothing out: the background becomes part of it")
    subject.add_argument(
        "--mask", metavar="PICTURE", help="cut out what is opaque, or else white, in another picture of its proportions"
    )
    command.add_argument(
        "--frame",
        metavar="MARGIN[,RIGHT,UP]",
        help="the square that the model looks at: the room around the subject, and by how much it is moved, in shares "
        "of the subject's size (0.1 or -0.2,0,0.3); see Correction in the manual for scripts",
    )
    command.add_argument(
        "--grow", metavar="X", help="move the subject's outline outwards, or below 0 inwards, by this share of its size"
    )


def picture_of(options: argparse.Namespace, allow_network: bool) -> tuple[Any, Any]:
    """The picture and its subject, as `generate` takes them, by the options of `add_picture_options`."""
    from ..images import WHOLE

    subject = WHOLE if options.whole else box_of(options.subject)
    correction = _correction_of(options.frame, options.grow)
    picture = picture_given(options.image)
    if options.mask is None and correction is None and isinstance(picture, str):
        return picture, subject
    from ..images import clean_name, find_path, load_image, meant

    return (
        load_image(
            picture,
            name="" if isinstance(picture, str) else clean_name(find_path(meant(options.image)).stem),
            mask=picture_given(options.mask),
            subject=subject,
            correction=correction,
            allow_network=allow_network,
            may_leave=True,
        ),
        None,
    )


def _correction_of(frame: str | None, grow: str | None) -> Any:
    """The numbers of --frame and --grow; None without them."""
    if frame is None and grow is None:
        return None
    from ..images import Correction

    given = {"grow": grow} if grow is not None else {}
    if frame is not None:
        parts = frame.replace(",", " ").split()
        if len(parts) not in (1, 3):
            raise FieldError("frame", frame, "give the margin, such as 0.1, or margin, right and up: 0.1,0,0.05")
        given |= dict(zip(("margin", "right", "up"), parts, strict=False))
    shares = {}
    for name, text in given.items():
        try:
            shares[name] = float(text)
        except ValueError:
            raise FieldError("grow" if name == "grow" else "frame", text, "give a number, such as 0.1") from None
    return Correction(**shares)


class Bar:
    """One line of progress on a terminal; elsewhere a line whenever something is done."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._shown = False

    def progress(self, name: str) -> Any:
        from ..core.progress import Progress

        return Progress(lambda stage, share: self._show(name, stage, share))

    def report(self, row: Row, stage: str, share: float) -> None:
        if stage != "Done":
            self._show(printable(row.image.stem), stage, share)
        elif not self._live:
            print(f"{printable(row.image.name)}: {row.state}", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._shown:
            print(file=sys.stderr)
            self._shown = False

    def _show(self, name: str, stage: str, share: float) -> None:
        if not self._live:
            return
        filled = round(share * 24)
        line = f"{name[:24]:<24} [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%} {stage}"
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
            print("\r" + line[: columns - 1].ljust(min(columns - 1, 76)), end="", file=sys.stderr, flush=True)
        except OSError:  # the terminal was closed, which is no reason to stop the work
            self._live = False
        self._shown = self._live
