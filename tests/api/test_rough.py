"""Rough shapes first: several to choose from, and only what is chosen goes on, as if it had been made at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import service_tools
from conftest import QUICK, sentence
from fault_server import small_glb
from kept_stages import ROWS, data_uri, latents_file, store  # noqa: F401  (a fixture)
from service_tools import FakeEngine, Running, only_error, task

from trellis_addon import change, generate, go_on, rework, vary
from trellis_addon.cli import main
from trellis_addon.core.errors import FieldError, InputError, LatentsError
from trellis_addon.core.progress import Progress
from trellis_addon.engines import registry
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.formats.latents import check_latents, check_rework, describe_making
from trellis_addon.geometry.voxels.blocks import blocks
from trellis_addon.jobs.store import JobStore
from trellis_addon.stages import obstacle, prepare_going_on
from trellis_addon.task.settings import TRELLIS2_MODEL, Settings
from trellis_addon.task.task import Task, check_published


def rough_file(*, seed: int = 7, settings: Mapping[str, Any] = {"rough": True}, coords: Any = None) -> bytes:
    """The latents of a rough shape: a whole one's, whose shape's place in the file the structure has."""
    made = {"made": describe_making(seed, Settings(settings), ())}
    whole = latents_file(kind="rough", coords=coords, metadata=made)
    length = int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8 : 8 + length])
    begin, end = entries.pop("shape")["data_offsets"][0], entries.pop("texture")["data_offsets"][1]
    entries["structure"] = {"dtype": "F32", "shape": [64, (end - begin) // 256], "data_offsets": [begin, end]}
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


class RoughEngine(FakeEngine):
    """Keeps a rough shape where one is asked for, and tells what it goes on from."""

    model = TRELLIS2_MODEL

    def generate(self, order: Order, progress: Progress) -> Made:
        settings, seed = order.settings, order.seed
        self.given = [*getattr(self, "given", []), (order.image is not None, dict(settings), seed, order.latents)]
        kept = rough_file(seed=seed, settings=settings) if settings.value("rough") else None
        return Made(small_glb(seed), kept, {"device": "Test"})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(registry, "trellis2_available", lambda: True)
    monkeypatch.setattr(service_tools, "FakeEngine", RoughEngine)
    monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", service_tools.TOKEN)
    running = Running()
    yield running
    running.close()


def test_a_draft_of_what_was_chosen_is_the_one_made_at_once(store: JobStore, disc_file: Path, tmp_path: Path) -> None:  # noqa: F811
    rough = generate(disc_file, backend="draft", seed=5, number_results=3, rough=True, **QUICK)
    assert len(rough.variations) == 3
    whole = [check_glb_file(made.path) for made in rough.variations]
    assert all(info.triangles <= 2000 and not info.image_sizes for info in whole), "light, and without a texture"
    assert len({made.path.read_bytes() for made in rough.variations}) == 3

    chosen = rough.variations[1]
    made = go_on(chosen, output=tmp_path / "made.glb")
    at_once = generate(disc_file, backend="draft", seed=6, output=tmp_path / "at-once.glb", **QUICK)
    assert made.path.read_bytes() == at_once.path.read_bytes() and made.seed == 6
    assert made.provenance["source"]["stage"] == "rest" and "rough" not in made.provenance["settings"]["settings"]

    # a rough shape is not finished, nor is a whole asset gone on from
    with pytest.raises(InputError, match="rough shape, which has to be gone on from first"):
        rework(chosen)
    with pytest.raises(InputError, match="gone on from first"):
        change(chosen, [-0.5, 0.0, -0.5, 0.5, 0.5, 0.5])
    with pytest.raises(InputError, match="gone on from first"):
        vary(chosen, 0.5)
    with pytest.raises(InputError, match="a whole asset already"):
        go_on(made)
    assert obstacle(chosen.provenance, store.folder) == "rough"


def test_the_command_goes_on_with_several(store: JobStore, disc_file: Path, tmp_path: Path, capsys: Any) -> None:  # noqa: F811
    low = ["--resolution", "512", "--texture-size", "1024", "--backend", "draft", "--seed", "3"]
    asked = ["generate", str(disc_file), "--rough", "true", "--number-results", "3", *low]
    assert main([*asked, "--output", str(tmp_path / "rough.glb")]) == 0
    chosen = [str(tmp_path / name) for name in ("rough-2.glb", "rough-3.glb")]
    assert main(["go-on", *chosen, "--output", str(tmp_path / "one.glb")]) == 2
    assert "give a folder for several" in capsys.readouterr().err
    (tmp_path / "made").mkdir()
    assert main(["go-on", *chosen, "--output", str(tmp_path / "made"), "--faces", "900"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["4", "5"]
    assert all(check_glb_file(tmp_path / "made" / Path(name).name).triangles <= 900 for name in chosen)


def test_the_model_is_handed_what_was_chosen(run: Running, store: JobStore, disc_file: Path) -> None:  # noqa: F811
    place = run.base + "/v1"
    rough = generate(disc_file, backend=place, seed=5, number_results=4, rough=True, resolution=512)
    first, _, third, _ = rough.variations
    assert third.latents is not None and check_latents(third.latents.read_bytes()).is_rough
    run.engine.given = []
    go_on(third, texture_size=1024)
    go_on(first, seed=99)
    (with_image, settings, seed, latents), other = run.engine.given
    assert with_image and seed == 7 and latents == third.latents.read_bytes()
    assert (settings["resolution"], settings["texture_size"]) == (512, 1024) and "rough" not in settings
    assert other[2] == 99, "another surface on the same rough shape"
    with pytest.raises(FieldError, match="sparseStructure.steps: it cannot change any more"):
        go_on(third, sparse_structure_steps=9)
    with pytest.raises(FieldError, match="keeps no stages"):
        prepare_going_on(third, Settings(), store, backend="remote")


def test_what_the_service_refuses(run: Running) -> None:
    image = task()["inputs"]["image"]

    def refusal(inputs: dict[str, Any], **settings: Any) -> dict[str, Any]:
        return only_error(run.post(task(inputs=inputs, settings=settings)))

    latents = data_uri(rough_file())
    assert "goes on with its picture" in refusal({"latents": latents})["message"]
    assert (
        "gone on from first"
        in refusal({"image": image, "latents": latents, "region": {"box": [0] * 3 + [1] * 3}})["message"]
    )
    assert "gone on from first" in refusal({"image": image, "latents": latents}, variation=0.5)["message"]
    assert refusal({"image": image, "latents": latents}, rough=True)["parameter"] == "settings.rough"
    assert refusal({"image": image, "latents": latents}, sparseStructure={"steps": 3})["code"]
    # its own seed, where none is given; and any resolution
    asked = task(inputs={"image": image, "latents": latents}, settings={"resolution": 1536}, numberResults=2)
    assert [item["seed"] for item in run.settle(run.post(asked) and asked["taskUUID"])["data"]] == [7, 8]


def test_the_remote_api_has_no_rough_shapes() -> None:
    with pytest.raises(FieldError, match=r"settings.rough: the remote API does not know it"):
        check_published(Task("https://example.com/a.png", Settings(rough=True)))


def test_what_a_file_of_a_rough_shape_must_hold() -> None:
    kept = check_latents(rough_file())
    assert (kept.is_rough, kept.seed, kept.tokens, kept.resolution) == (True, 7, ROWS, 512)
    check_rework(kept, Settings(resolution=1536, seed=1, shape_slat_steps=3, faces=500), with_image=True)
    for data in (
        latents_file(kind="rough"),  # a whole one that says it is rough
        rough_file(coords=np.full((ROWS, 4), 40)),
        rough_file()[:-4],
    ):
        with pytest.raises(LatentsError):
            check_latents(data)
    whole = latents_file()
    assert not check_latents(whole).is_rough


def test_blocks_are_closed_and_face_outwards() -> None:
    """Two voxels side by side have ten faces; by the divergence theorem they enclose their own volume."""
    mesh = blocks(np.array([[3, 1, 2], [4, 1, 2], [9, 9, 9]]), 16)
    assert len(mesh.faces) == 2 * (10 + 6)
    a, b, c = (mesh.positions[mesh.faces[:, k]].astype(np.float64) for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(3 / 16**3)
    assert mesh.normals is not None
    facing = np.cross(b - a, c - a)
    assert (np.einsum("ij,ij->i", facing, mesh.normals[mesh.faces[:, 0]]) > 0).all()
    # x stays, z goes up, and what is in front (small y) comes towards +z
    own = mesh.positions[(mesh.positions < 0).any(1)]
    pair = own[own[:, 2] > 0.2]
    assert pair.min(0) == pytest.approx([3 / 16 - 0.5, 2 / 16 - 0.5, 0.5 - 2 / 16], abs=1e-6)
    assert pair.max(0) == pytest.approx([5 / 16 - 0.5, 3 / 16 - 0.5, 0.5 - 1 / 16], abs=1e-6)


def test_a_task_is_either() -> None:
    with pytest.raises(FieldError) as refused:
        Task("uuid", Settings(rough=True), latents="x")
    assert "made of a picture alone" in sentence(refused.value)
