"""What a farm has made, in one .blend or in parts, and the reports."""

from __future__ import annotations

import csv
import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import disc
from fault_server import FaultServer

bpy = pytest.importorskip("bpy")

from trellis_addon.batch import worker  # noqa: E402
from trellis_addon.batch.collect import collect, part_path  # noqa: E402
from trellis_addon.batch.report import FILES  # noqa: E402
from trellis_addon.batch.rows import Row, Shard  # noqa: E402
from trellis_addon.batch.run import run_batch  # noqa: E402
from trellis_addon.batch.shared import NAME  # noqa: E402
from trellis_addon.cli import main  # noqa: E402
from trellis_addon.client.backends import Backend  # noqa: E402
from trellis_addon.core.errors import FieldError  # noqa: E402
from trellis_addon.task.settings import Settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean", "own_jobs")
SETTINGS = Settings(resolution=512, texture_size=1024)


class Studio:
    """A folder of pictures, and a service that makes small sheets of them at once."""

    def __init__(self, root: Path, server: FaultServer) -> None:
        self.root, self.server = root, server
        self.pictures, self.output = root / "pictures", root / "library" / "all.blend"
        self.pictures.mkdir()
        self.backend = Backend(server.url, server.token)
        self.add(*"abcde")

    def add(self, *names: str) -> None:
        for name in names:
            disc(96, (ord(name) * 2 % 256, 90, 200)).save(self.pictures / f"{name}.png")

    def make(self, settings: Settings = SETTINGS, **options: Any) -> list[Row]:
        return worker.run_shared(self.pictures, self.backend, settings, **options)

    def collect(self, **options: Any) -> list[Row]:
        return collect(self.pictures, self.output, **options)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setattr(worker, "LOOK", 0.01)
    with FaultServer() as server:
        monkeypatch.setenv("TRELLIS2_SERVICE_TOKEN", server.token)
        yield Studio(tmp_path, server)


def objects_in(path: Path) -> list[str]:
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return sorted(obj.name for obj in bpy.data.objects if obj.type == "MESH")


def states(rows: list[Row]) -> str:
    return " ".join(row.state for row in rows)


def test_all_in_one_file_and_never_twice(studio: Studio) -> None:
    studio.make(shard=Shard(1, 2))
    assert states(studio.collect()) == "collected missing collected missing collected"
    studio.make()
    rows = studio.collect()
    assert states(rows) == "present collected present collected present"
    assert states(studio.collect()) == "present present present present present"
    assert objects_in(studio.output) == ["a", "b", "c", "d", "e"]
    for obj in bpy.data.objects:
        assert obj.asset_data is not None and obj.preview is not None and tuple(obj.preview.image_size) == (256, 256)
        assert json.loads(obj["trellis2_provenance"])["task_uuid"]
    places = {tuple(round(x, 3) for x in obj.location) for obj in bpy.data.objects}
    assert len(places) == 5


def test_an_asset_library_in_parts(studio: Studio) -> None:
    studio.make()
    rows = studio.collect(part_size=2)
    parts = [part_path(studio.output, number) for number in (1, 2, 3)]
    assert [row.part for row in rows] == [parts[0], parts[0], parts[1], parts[1], parts[2]]
    assert [objects_in(path) for path in parts] == [["a", "b"], ["c", "d"], ["e"]]
    (line,) = [
        line
        for line in (studio.output.parent / "blender_assets.cats.txt").read_text(encoding="utf-8").splitlines()
        if line.endswith(":TRELLIS.2:TRELLIS.2")
    ]
    assert bpy.data.objects["e"].asset_data.catalog_id == line.partition(":")[0]

    studio.add("z")
    disc(96, (1, 2, 3)).save(studio.pictures / "aa.png")  # between those that are there already
    studio.make()
    rows = studio.collect(part_size=2)
    assert states(rows) == "present collected present present present present collected"
    assert not studio.output.exists()
    assert [objects_in(path) for path in [*parts, part_path(studio.output, 4)]] == [
        ["a", "b"], ["c", "d"], ["aa", "e"], ["z"],
    ]  # fmt: skip


def test_which_settings_are_meant(studio: Studio) -> None:
    with pytest.raises(FieldError, match="--shared"):
        studio.collect()
    studio.make()
    studio.make(SETTINGS.replace(seed=3))
    with pytest.raises(FieldError, match="--seed 3"):
        studio.collect()
    command = ["batch", str(studio.pictures), "--collect", str(studio.output)]
    assert main([*command]) == 2
    assert main([*command, "--resolution", "512", "--texture-size", "1024", "--seed", "3"]) == 0
    objects_in(studio.output)
    assert {json.loads(obj["trellis2_provenance"])["seed"] for obj in bpy.data.objects} == {3}


def test_shared_with_an_output_collects_at_the_end(studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--resolution", "512", "--texture-size", "1024", "--backend", studio.server.url]
    command = ["batch", str(studio.pictures), *flags]
    assert main([*command, "--shared", "--output", str(studio.output)]) == 0
    assert objects_in(studio.output) == ["a", "b", "c", "d", "e"]
    assert "5 of 5 pictures are assets" in capsys.readouterr().out
    assert main([*command, "--shared", "--shard", "1/2"]) == 0
    report = json.loads((studio.pictures / NAME / "report.json").read_text(encoding="utf-8"))
    assert report["states"] == {"made": 5}, "of the whole folder"
    assert main([*command, "--shared", "--shard", "9/9"]) == 0
    assert "no picture in part 9/9" in capsys.readouterr().out
    assert len(studio.server.engine.calls) == 5


def test_parts_of_a_batch_into_one_file_and_into_several(studio: Studio) -> None:
    for number in (1, 2, 3):
        rows = run_batch(studio.pictures, studio.output, studio.backend, SETTINGS, shard=Shard(number, 3))
        assert {row.state for row in rows} == {"made"}
    assert objects_in(studio.output) == ["a", "b", "c", "d", "e"]
    again = run_batch(studio.pictures, studio.output, studio.backend, SETTINGS, shard=Shard(1, 3))
    assert {row.state for row in again} == {"present"}
    other = studio.output.with_stem("other")
    run_batch(studio.pictures, other, studio.backend, SETTINGS, shard=Shard(3, 3))
    assert objects_in(other) == ["c"]


def test_a_picture_that_failed_is_told_of(studio: Studio) -> None:
    (studio.pictures / "broken.png").write_bytes(b"\x89PNG nothing")
    studio.make()
    rows = {row.image.stem: row for row in studio.collect()}
    assert rows["broken"].state == "failed" and rows["broken"].message and rows["a"].state == "collected"


def test_the_report(studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    disc(96, (9, 90, 9)).save(studio.pictures / "=1+1 <b>&.png")
    (studio.pictures / "broken.png").write_bytes(b"\x89PNG nothing")
    studio.make()
    assert main(["batch", str(studio.pictures), "--collect", str(studio.output)]) == 0
    folder = studio.pictures / NAME
    assert str(folder / "report.html") in capsys.readouterr().out
    told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert told["pictures"] == 7 and told["states"] == {"collected": 6, "failed": 1}
    by_name = {row["picture"][0]: row for row in told["rows"]}
    good = by_name["a.png"]
    assert good["task_uuid"] and good["worker"] and good["triangles"] and good["blend"] == str(studio.output)
    assert Path(good["files"][0]).is_file() and good["seeds"] and good["message"] == ""
    assert by_name["broken.png"]["message"]

    rows = list(csv.DictReader((folder / "report.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert len(rows) == 7 and [row["picture"] for row in rows if row["picture"].startswith(("=", "'="))] == [
        "'=1+1 <b>&.png"
    ]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 8 and page.count("data:image/webp;base64,") == 6
    assert html.escape("=1+1 <b>&.png") in page and "<b>" not in page
    assert sorted(path.name for path in folder.glob("report.*")) == sorted(FILES)

    assert (
        main(["batch", str(studio.pictures), "--collect", str(studio.output), "--report", str(studio.root / "r")]) == 0
    )
    assert (studio.root / "r" / "report.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--shared"),
        (("--collect", "a.blend", "--output", "b.blend"), "leave out --output"),
        (("--collect", "a.glb"), ".blend"),
        (("--collect", "a.blend", "--shard", "1/2"), "leave out --shard"),
        (("--output", "a.blend", "--part-size", "3"), "for --collect"),
        (("--collect", "a.blend", "--part-size", "0"), "1 or more"),
        (("--output", "a.blend", "--retry-failed"), "for --shared"),
        (("--output", "a.blend", "--shard", "0/2"), "counted from 1"),
        (("--shared", "--stale", "0"), "86400"),
    ],
)
def test_commands_that_are_none(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    disc(96).save(tmp_path / "a.png")
    assert main(["batch", str(tmp_path), *arguments]) == 2
    problem = capsys.readouterr().err
    assert said in problem and problem.count("\n") == 1, problem
