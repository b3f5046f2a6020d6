"""A part of an asset changed by scripts and the command line, with the draft: a fresh installation answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import trellis_addon
from trellis_addon.cli.commands import main
from trellis_addon.core.errors import FieldError, InputError
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.jobs.store import JobStore
from trellis_addon.stages import outside
from trellis_addon.task.region import as_region
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task, check_published, new_uuid

SETTINGS = {"resolution": 512, "texture_size": 1024, "seed": 5}
TOP = [-1, 0.3, -1, 1, 1, 1]


def figure(path: Path, horn: bool) -> Path:
    image = Image.new("RGBA", (150, 200))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 60, 120, 190), fill=(200, 120, 60, 255))
    if horn:
        draw.polygon([(62, 75), (88, 75), (105, 10)], fill=(240, 230, 90, 255))
    image.save(path)
    return path


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> trellis_addon.Asset:
    folder = tmp_path_factory.mktemp("assets")
    picture = figure(folder / "pot.png", horn=False)
    return trellis_addon.generate(picture, output=folder / "pot.glb", **SETTINGS)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def horned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return figure(tmp_path_factory.mktemp("pictures") / "horned.png", horn=True)


def test_another_picture_and_what_is_told_of_it(asset: trellis_addon.Asset, horned: Path, tmp_path: Path) -> None:
    before = asset.path.read_bytes()
    (tmp_path / "link.glb").hardlink_to(asset.path)
    for own in (asset.path, tmp_path / "link.glb"):
        with pytest.raises(FieldError, match="stays as it is"):
            trellis_addon.change(asset, TOP, image=horned, output=own)
    made = trellis_addon.change(asset, TOP, image=horned, output=tmp_path / "made.glb")
    assert read_glb(made.path).bounds()[1, 1] > read_glb(before).bounds()[1, 1] + 0.1
    assert asset.path.read_bytes() == before, "the first one stays"
    source = made.provenance["source"]
    assert source["stage"] == "change" and source["region"] == {"box": [float(x) for x in TOP]}
    assert source["task_uuid"] == asset.provenance["task_uuid"]
    job = JobStore().get(made.provenance["task_uuid"])
    assert job is not None and job.task.region == as_region(TOP)
    again = trellis_addon.change(made, [-1, -1, -1, 1, -0.3, 1], seed=8)
    assert len(split_glb(again.path.read_bytes())[0]["asset"]["extras"]["changes"]) == 2
    with pytest.raises(InputError, match="part was changed"):
        trellis_addon.rework(made, texture_size=2048)


def test_the_command_line(
    asset: trellis_addon.Asset, horned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Path(shutil.copy(asset.path, tmp_path / "alone.glb"))  # whoever has no more than the file
    box = ["--box", "-1", "0.3", "-1", "1", "1", "1"]
    out = tmp_path / "out.glb"
    assert main(["change", str(alone), *box, "--image", str(horned), "--output", str(out)]) == 0
    told = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["seed"] == 5 and told["settings"]["settings"]["resolution"] == 512, "the file itself says how"
    nowhere = ["--box", "2", "2", "2", "3", "3", "3"]
    assert main(["change", str(asset.path), *nowhere, "--image", str(horned), "--output", str(out)]) == 0
    assert out.read_bytes() == asset.path.read_bytes()
    capsys.readouterr()
    assert main(["change", str(alone), *box, "--output", str(out)]) == 1
    assert "picture" in capsys.readouterr().err
    foreign = tmp_path / "foreign.glb"
    foreign.write_bytes(alone.read_bytes().replace(b'"engine":"draft:relief@1"', b'"engine":"other:thing__@1"'))
    assert main(["change", str(foreign), *box, "--image", str(horned), "--output", str(out)]) == 1
    assert "neither is it a draft" in capsys.readouterr().err


def test_the_remote_api_is_sent_nothing_of_it(asset: trellis_addon.Asset) -> None:
    with pytest.raises(FieldError, match="remote API changes no part"):
        trellis_addon.change(asset, TOP, backend="remote")
    task = Task("https://a.example/a.png", Settings(), uuid=new_uuid(), latents="AAAA", region=as_region(TOP))
    assert Task.from_request(task.to_request()) == task
    with pytest.raises(FieldError, match="remote API"):
        check_published(task)
    with pytest.raises(FieldError, match=r"inputs\.latents"):
        Task("https://a.example/a.png", region=as_region(TOP))


def test_a_part_that_holds_nothing_of_the_asset_is_told(asset: trellis_addon.Asset) -> None:
    assert "holds nothing of the asset, which reaches from" in outside(asset, as_region([5, 5, 5, 6, 6, 6]))
    assert outside(asset, as_region([0, 0, 0, 0, 1, 1])), "nor does one without a volume"
    assert not outside(asset, as_region(TOP)) and not outside(asset, as_region([0, 0, 0, 0.1]))
    with pytest.raises(FieldError, match="at least 0"):
        as_region([0, 0, 0, -0.1])
