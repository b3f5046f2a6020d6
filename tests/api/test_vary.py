"""Variants of an asset for scripts and the command line, with the draft: a fresh installation answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from kept_stages import place, run, store  # noqa: F401  (fixtures)
from PIL import Image, ImageDraw

import trellis_addon
from trellis_addon.api import retry
from trellis_addon.cli.commands import main
from trellis_addon.core.errors import FieldError, InputError, RefusedError
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.read import read_glb
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.former import kept_settings
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task, check_meaning, check_published
from trellis_addon.task.views import FRONT

SETTINGS = {"resolution": 512, "texture_size": 1024, "seed": 5}


@pytest.fixture(scope="module")
def asset(tmp_path_factory: pytest.TempPathFactory) -> trellis_addon.Asset:
    folder = tmp_path_factory.mktemp("assets")
    image = Image.new("RGBA", (75, 100))
    ImageDraw.Draw(image).ellipse((15, 20, 60, 95), fill=(200, 120, 60, 255))
    image.save(folder / "pot.png")
    return trellis_addon.generate(folder / "pot.png", output=folder / "pot.glb", **SETTINGS)  # type: ignore[arg-type]


def apart(one: Path, other: Path) -> float:
    return float(np.abs(read_glb(one).vertices - read_glb(other).vertices).mean())


def test_several_and_what_is_told_of_them(asset: trellis_addon.Asset) -> None:
    before = asset.path.read_bytes()
    made = trellis_addon.vary(asset, 0.3, count=2, seed=11)
    one, two = made.variations
    far = trellis_addon.vary(asset, 1, seed=11)
    assert (
        0 < apart(asset.path, one.path) < apart(asset.path, far.path) and one.path.read_bytes() != two.path.read_bytes()
    )
    assert asset.path.read_bytes() == before, "the first one stays"
    source = one.provenance["source"]
    assert (source["stage"], source["strength"], source["seed"]) == ("vary", 0.3, 5)
    assert source["task_uuid"] == asset.provenance["task_uuid"] and (one.seed, two.seed) == (11, 12)
    # as the same task from a picture has it
    alone = trellis_addon.rework(far, texture_again=True, seed=11)
    assert alone.path.read_bytes() == far.path.read_bytes()
    assert trellis_addon.vary(asset, 0).path.read_bytes() == before


def test_a_variant_is_gone_on_from(asset: trellis_addon.Asset) -> None:
    jobs = JobStore()
    made = trellis_addon.vary(asset, 0.3, seed=11)
    again = trellis_addon.rework(made)
    assert again.path.read_bytes() == made.path.read_bytes(), "made again as the variant that it is"
    assert apart(trellis_addon.vary(made, 0.1, seed=12).path, made.path) > 0
    job = jobs.get(made.provenance["task_uuid"])
    assert job is not None and job.task.variation == 0.3
    assert jobs.get(retry(job, jobs).uuid).task.variation == 0.3  # type: ignore[union-attr]
    anew = retry(job, jobs, from_picture=True)
    assert anew.task.variation is None and not anew.task.latents
    assert "variation" not in kept_settings(made.provenance["settings"])[0], "it says nothing of the next asset"
    with pytest.raises(InputError, match="copy of another draft"):
        trellis_addon.rework(trellis_addon.vary(asset, 0), texture_size=2048)


def test_the_command_line(asset: trellis_addon.Asset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.glb"
    given = ["vary", str(asset.path), "--strength", "0.5", "--count", "2", "--seed", "3", "--output", str(out)]
    assert main(given) == 0
    assert out.is_file() and (tmp_path / "out-2.glb").is_file()
    told = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["seed"] == 3 and told["source"]["strength"] == 0.5
    assert split_glb(out.read_bytes())[0]["asset"]["extras"]["settings"]["settings"]["variation"] == 0.5
    alone = Path(shutil.copy(asset.path, tmp_path / "alone.glb"))  # whoever has no more than the file
    capsys.readouterr()
    for wrong, word in (
        (["--strength", "1.5"], "strength: 1.5"),
        (["--strength", "much"], 'strength: "much"'),
        (["--strength", "0.5", "--count", "9"], "count: 9"),
        (["--strength", "0", "--count", "2"], "the asset itself"),
    ):
        assert main(["vary", str(asset.path), *wrong, "--output", str(out)]) == 2
        assert word in capsys.readouterr().err
    assert main(["vary", str(alone), "--strength", "0.5", "--output", str(out)]) == 1
    assert "picture" in capsys.readouterr().err


def test_what_makes_no_sense_and_the_remote_api(asset: trellis_addon.Asset, disc_file: Path) -> None:
    with pytest.raises(FieldError, match="remote API makes no variants"):
        trellis_addon.vary(asset, 0.5, backend="remote")
    with pytest.raises(FieldError, match=r"settings\.variation.*inputs\.latents"):
        trellis_addon.generate(disc_file, variation=0.5)
    picture = "https://a.example/a.png"
    task = Task(picture, Settings(variation=0.5), latents="AAAA")
    assert Task.from_request(task.to_request()) == task
    check_meaning(task)
    with pytest.raises(FieldError, match="remote API"):
        check_published(task)
    with pytest.raises(FieldError, match=r"settings\.variation"):
        check_meaning(Task("", Settings(variation=0.5), latents="AAAA"))


@pytest.fixture
def projected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, float]]:
    """What is put onto textures; the fitting itself has tests of its own."""
    from trellis_addon.engines.projection import project

    found: list[tuple[bool, float]] = []

    def put(glb: bytes, pictures: Any, strength: float, progress: Any) -> SimpleNamespace:
        found.append((FRONT in pictures, strength))
        return SimpleNamespace(glb=glb, cameras=({"view": FRONT},), notes=())

    monkeypatch.setattr(project, "project", put)
    return found


def test_through_a_service_with_the_model_and_the_picture_is_projected_again(
    run: Any,  # noqa: F811
    place: str,  # noqa: F811
    store: JobStore,  # noqa: F811
    disc_file: Path,
    projected: list[tuple[bool, float]],
) -> None:
    first = trellis_addon.generate(disc_file, backend=place, seed=3, project_picture=0.7)
    again = trellis_addon.rework(first, texture_size=4096)
    assert projected == [(True, 0.7)] * 2, "onto what was finished again as well"
    job = store.get(again.provenance["task_uuid"])
    assert job is not None and job.task.variation == 0 and job.task.image and job.source["stage"] == "finish"
    assert split_glb(again.path.read_bytes())[0]["asset"]["extras"]["projection"] == [{"view": FRONT}]
    assert again.seed == 3
    off = trellis_addon.rework(again, project_picture=0.0)
    assert len(projected) == 2 and store.get(off.provenance["task_uuid"]).task.image == ""  # type: ignore[union-attr]
    on = trellis_addon.rework(off, project_picture=0.4)
    assert projected[2:] == [(True, 0.4)], "and onto one that had it not"
    made = trellis_addon.vary(on, 0.3, count=2, seed=8)
    assert [asset.seed for asset in made.variations] == [8, 9] and len(projected) == 5
    with pytest.raises(RefusedError, match="resolution"):
        trellis_addon.vary(on, 0.3, settings={"resolution": 1536})
