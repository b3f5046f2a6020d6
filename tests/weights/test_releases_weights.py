"""A local backend's folder as earlier releases have left it: what is installed stays so, downloads go on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from releases import RELEASES, Left, unpack
from weights_mirror import Mirror, serving

from trellis_addon.runtime.layout import LocalFolder
from trellis_addon.weights.fetching import fetch, status
from trellis_addon.weights.licences import accepted


@pytest.fixture(params=RELEASES)
def left(request: pytest.FixtureRequest, tmp_path: Path) -> Left:
    return unpack(request.param, tmp_path)


def test_what_is_installed(left: Left) -> None:
    local = LocalFolder(left.root / "local")
    state = local.state()
    assert state is not None
    told = dataclasses.asdict(state)
    assert {name: told[name] for name in left.said["local"]["state"]} == left.said["local"]["state"]
    local.python.parent.mkdir(parents=True)
    local.python.touch()  # gigabytes, which are not kept with the tests
    assert local.is_installed
    assert set(accepted(local.weights)) == {"dinov3"}, "nobody is asked a second time"


def test_a_download_goes_on_at_the_same_byte(left: Left) -> None:
    weights = LocalFolder(left.root / "local").weights
    said = left.said["local"]["weights"]
    now = {found.group.key: [found.state, found.have, found.size] for found in status(weights)}
    assert {name: now[name] for name in said} == said
    assert said["dinov3"][0] == "complete" and said["structure"][0] == "part"
    copy = left.root / "mirror"
    files = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    (part,) = weights.rglob("*.safetensors.part")
    begun = part.stat().st_size
    with serving(Mirror(files)) as mirror:
        fetch(weights, ["dinov3", "structure"], mirror.url)
        (asked,) = [request for request in mirror.requests if request.path.endswith(".safetensors")]
    assert asked.headers["range"] == f"bytes={begun}-" and not part.exists()
    assert {found.group.key: found.state for found in status(weights)}["structure"] == "complete"
    path = part.with_suffix("").relative_to(weights).as_posix()
    assert (weights / path).read_bytes() == files[path]
