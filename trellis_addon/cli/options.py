"""What several commands have in common: the settings of the task, pictures by view, and the line of progress."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.errors import FieldError
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


def views_of(texts: Sequence[str]) -> dict[str, str]:
    """The pictures of --view by their views; raises `FieldError`."""
    found: dict[str, str] = {}
    for text in texts:
        view, equals, picture = text.partition("=")
        if not equals or not picture.strip():
            raise FieldError("view", text, "give where it was taken from and the picture, such as back=BACK.png")
        if view_name(view) in found:
            raise FieldError("view", text, "give each view once")
        found[view_name(view)] = picture
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
            self._show(row.image.stem, stage, share)
        elif not self._live:
            print(f"{row.image.name}: {row.state}", file=sys.stderr, flush=True)

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
