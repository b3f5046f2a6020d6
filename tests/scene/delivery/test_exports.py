"""Exports go on beside the artist: a line of the queue has the bar, the end, and the button that stops it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import PATIENCE

bpy = pytest.importorskip("bpy")

from test_extension import extension, part  # noqa: E402, F401  (a fixture)


class Panel:
    """A layout that notes what the queue's panel puts into it."""

    def __init__(self) -> None:
        self.bars: list[tuple[str, float]] = []
        self.texts: list[str] = []
        self.operators: list[str] = []
        context = SimpleNamespace(
            region=SimpleNamespace(width=2000), preferences=SimpleNamespace(system=SimpleNamespace(ui_scale=1))
        )
        panel = part("ui.job_panels").TRELLIS2_PT_queue
        self.is_shown = panel.poll(context)
        panel.draw(SimpleNamespace(layout=self), context)

    def box(self, **options: Any) -> Panel:
        return self

    row = column = box

    def progress(self, factor: float, text: str, translate: bool = True) -> None:
        self.bars.append((text, factor))

    def label(self, text: str = "", **options: Any) -> None:
        self.texts.append(text)

    def operator(self, name: str, **options: Any) -> SimpleNamespace:
        self.operators.append(name)
        return SimpleNamespace()


@pytest.fixture
def pump(extension: Any) -> Callable[[Callable[[], Any]], None]:  # noqa: F811
    def until(holds: Callable[[], Any]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < give_up, "it did not come to be"
            part("trellis_addon.scene.pump").pump()
            time.sleep(0.01)

    return until


def begin(gate: threading.Event, name: str = "lamp.vxz") -> Any:
    def write(progress: Any) -> Path:
        progress.update("Decoding", 0.4)
        while not gate.wait(0.01):
            progress.check()
        return Path(name)

    return part("trellis_addon.scene.exports").start(name, write, lambda path: f"Exported to {path}")


def test_a_line_with_a_bar_and_its_end(pump: Callable[..., None]) -> None:
    exports, gate = part("trellis_addon.scene.exports"), threading.Event()
    assert not Panel().is_shown
    export = begin(gate)
    pump(lambda: export.share)
    panel = Panel()
    assert panel.is_shown and panel.bars == [("lamp.vxz", 0.4)] and panel.operators == ["trellis2.cancel"]
    assert panel.texts[0] == "Decoding" and panel.texts[1].startswith("40%")
    gate.set()
    pump(lambda: export.state == "done")
    panel = Panel()
    assert panel.texts == ["lamp.vxz", "Exported to lamp.vxz"] and panel.operators == ["trellis2.forget"]
    assert bpy.ops.trellis2.forget(generation=export.id) == {"FINISHED"} and not exports.exports()


def test_it_is_stopped_and_goes_off_the_list(pump: Callable[..., None]) -> None:
    exports = part("trellis_addon.scene.exports")
    export = begin(threading.Event())
    pump(lambda: export.share)
    assert bpy.ops.trellis2.forget(generation=export.id) == {"FINISHED"} and exports.find(export.id), "it still works"
    assert bpy.ops.trellis2.cancel(generation=export.id) == {"FINISHED"}
    assert Panel().texts[0].startswith("Cancelling")
    pump(lambda: not exports.exports())
    assert export.ended.is_set()


@pytest.mark.parametrize(("error", "words"), [("EngineError", "The disk is full; free some."), (None, "KeyError")])
def test_a_failure_is_a_sentence_in_its_line(pump: Callable[..., None], error: str | None, words: str) -> None:
    exports = part("trellis_addon.scene.exports")

    def fail(progress: Any) -> None:
        raise KeyError("x") if error is None else getattr(part("trellis_addon.core.errors"), error)(words)

    export = exports.start("lamp.ply", fail, str)
    pump(lambda: export.state == "failed")
    assert words in export.message and words in " ".join(Panel().texts)
    exports.forget(export)


def test_disabling_ends_what_goes_on(pump: Callable[..., None]) -> None:
    exports = part("trellis_addon.scene.exports")
    export = begin(threading.Event())
    pump(lambda: export.share)
    exports.stop_all()
    assert export.ended.is_set() and not exports.exports()
