"""The packages that the zip brings are those that are imported, and carry a picture from end to end, in each Python."""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
from pathlib import Path

import pytest
from conftest import QUICK, ROOT, ZIP, disc, encoded

from trellis_addon import generate
from trellis_addon.client.local_service import local_service
from trellis_addon.formats.glb.check import check_glb

pytestmark = pytest.mark.blender

LINES = (ROOT / "tools" / "wheels" / "all.txt").read_text(encoding="utf-8").splitlines()


def needed_by(*names: str) -> set[str]:
    """These packages and all that they need, by their names in the index."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for line in importlib.metadata.requires(name) or []:
                waiting += re.findall(r"^[\w.-]+", line) if "extra ==" not in line else []
    return found


BROUGHT = dict(line.split("==") for line in LINES if "==" in line)


@pytest.mark.skipif(not ZIP, reason="about what Blender has installed from the zip")
@pytest.mark.parametrize("name", BROUGHT)
def test_what_is_brought_is_what_is_imported(name: str) -> None:
    (brought,) = importlib.metadata.distributions(name=name, path=[str(ROOT / "site")])
    assert brought.version == BROUGHT[name]
    # what pytest and bpy need lies in the environment as well, in a version of its own, and is found first
    if name.lower().replace("_", "-") not in needed_by("pytest", "bpy"):
        found = importlib.metadata.distribution(name)
        assert Path(str(found.locate_file(""))).resolve() == (ROOT / "site").resolve()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_a_picture_goes_from_end_to_end(kind: str, tmp_path: Path) -> None:
    """Read by Pillow, asked for by httpx, served by uvicorn and starlette, made with numpy, written and checked."""
    picture = disc(200)
    if kind == "JPEG":
        ground = picture.convert("RGB")
        ground.paste((255, 255, 255), mask=picture.getchannel("A").point(lambda alpha: 255 - alpha))
        picture = ground
    (tmp_path / f"disc.{kind.lower()}").write_bytes(encoded(picture, kind))
    asset = generate(tmp_path / f"disc.{kind.lower()}", output=tmp_path / "disc.glb", seed=5, **QUICK)
    assert asset.engine == "draft:relief@1" and asset.path == tmp_path / "disc.glb"
    check_glb(asset.path.read_bytes())
    assert local_service("draft").url.startswith("http://127.0.0.1:")
