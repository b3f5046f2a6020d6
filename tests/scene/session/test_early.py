"""What is being made is seen on its line and on its card, before it is there."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_extension import extension  # noqa: F401  (a fixture)
from test_flow import Flow, Gate, flow  # noqa: F401

bpy = pytest.importorskip("bpy")


def png(width: int, height: int, colour: tuple[int, int, int] = (0, 200, 0)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (*colour, 255)).save(buffer, "PNG")
    return buffer.getvalue()


def begin(flow: Flow, pictures: list[bytes], gate: Gate, wide: Path) -> Any:  # noqa: F811
    """A generation that shows each of the pictures once the gate has been opened, and closes it again."""
    uuid, scene = flow.task.new_uuid(), bpy.context.scene
    flow.placeholder.stand(uuid, "Blue Disc", scene.collection, (1.0, 2.0, 0.5), 2.0)
    target = flow.target.Target(scene.name, bpy.data.filepath, (1.0, 2.0, 0.5), 2.0, flow.target.SESSION, uuid)

    def wait(progress: Any) -> None:
        while not gate():
            progress.check()
            flow.waited.wait(0.005)
        gate.is_open = False

    def make(progress: Any, report: Any) -> Any:
        flow.queue.show_picture(uuid, wide)
        for number, picture in enumerate(pictures):
            wait(progress)
            progress.picture(lambda: picture, number)  # noqa: B023
        wait(progress)
        raise RuntimeError("the end of the test")

    return flow.queue.start("Blue Disc", make, target)


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    path = tmp_path / "wide.png"
    path.write_bytes(png(60, 20, (0, 0, 200)))
    return path


@pytest.fixture
def gate(flow: Flow) -> Gate:  # noqa: F811
    import threading

    flow.waited = threading.Event()  # type: ignore[attr-defined]
    return Gate()


def tall(card: Any) -> float:
    width, height = card.data.size
    return card.empty_display_size * height / max(width, height)


def test_the_card_and_the_line_show_what_is_being_made(flow: Flow, gate: Gate, wide: Path) -> None:  # noqa: F811
    generation = begin(flow, [png(64, 64), png(30, 90)], gate, wide)
    (card,) = flow.cards()
    flow.until(lambda: card.data is not None)
    first = card.data.name
    assert tall(card) == pytest.approx(2.0) and generation.early is None

    for count, size in ((1, (64, 64)), (2, (30, 90))):
        gate.is_open = True
        flow.until(lambda: generation.earlies == count, "no picture came")  # noqa: B023
        assert tuple(card.data.size) == size and card.data.packed_file is not None
        assert tall(card) == pytest.approx(2.0), "as tall as the asset will be"
        assert generation.early.is_file() and generation.state == "running"
    assert len(bpy.data.images) == 1, "of what the card showed before nothing stays"
    assert first not in bpy.data.images or bpy.data.images[first] == card.data
    assert generation.picture == wide, "trying again begins with the picture"

    gate.is_open = True
    flow.until(lambda: generation.state == "failed")


def test_an_undo_brings_it_back(flow: Flow, gate: Gate, wide: Path) -> None:  # noqa: F811
    generation = begin(flow, [png(64, 64)], gate, wide)
    gate.is_open = True
    flow.until(lambda: generation.early is not None)
    flow.placeholder.remove(flow.cards())
    flow.queue.after_undo()
    (card,) = flow.cards()
    assert tuple(card.data.size) == (64, 64) and tall(card) == pytest.approx(2.0)
    flow.queue.after_undo()
    assert len(bpy.data.images) == 1, "nothing is loaded twice"
    generation.stop.set()
    flow.until(lambda: generation.state == "cancelled")
    assert not bpy.data.images


def test_what_comes_late_or_is_no_picture_changes_nothing(flow: Flow, gate: Gate, wide: Path) -> None:  # noqa: F811
    generation = begin(flow, [b"\x89PNG but not really"], gate, wide)
    (card,) = flow.cards()
    flow.until(lambda: card.data is not None)
    gate.is_open = True
    flow.until(lambda: generation.earlies == 1)
    assert tall(card) == pytest.approx(2.0)
    generation.stop.set()
    flow.until(lambda: generation.state == "cancelled")
    flow.queue._show_early(generation, png(8, 8))
    assert generation.earlies == 1
