"""The examples for scripts, run as their users would run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT, disc, run_python

pytest.importorskip("bpy")


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        disc(96, (60 + 50 * number, 120, 90)).save(folder / f"{name}.png")
    return folder


def test_batch_import_makes_a_file_and_goes_on(tmp_path: Path) -> None:
    folder, target = pictures(tmp_path / "pictures", "apple", "brick"), tmp_path / "assets.blend"
    (folder / "bad.png").write_bytes(b"\x89PNG broken")
    script = str(ROOT / "examples" / "batch_import.py")
    first = run_python(script, str(folder), str(target), PYTHONPATH=str(ROOT))
    assert "apple.png: " in first.stdout and "bad.png: " in first.stdout and first.returncode == 1, first.stderr
    (folder / "bad.png").unlink()
    again = run_python(script, str(folder), str(target), PYTHONPATH=str(ROOT))
    assert again.returncode == 0 and "apple" not in again.stdout, "nothing is made twice"

    import bpy

    bpy.ops.wm.open_mainfile(filepath=str(target))
    assert {obj.name for obj in bpy.data.objects if obj.asset_data} == {"apple", "brick"}
    assert len([obj for obj in bpy.data.objects if "trellis2_lod_level" in obj]) >= 4


@pytest.mark.once
def test_farm_nodes_share_the_work(tmp_path: Path) -> None:
    pictures(tmp_path / "in", "apple", "brick")
    (tmp_path / "in" / "bad.png").write_bytes(b"\x89PNG broken")
    command = [sys.executable, str(ROOT / "examples" / "render_farm_node.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    nodes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [node.communicate(timeout=PATIENCE)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0]
    assert "".join(said).count(": done") == 2, "each once"
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert {f"{name}.{kind}" for name in ("apple", "brick") for kind in ("glb", "png")} <= made
    assert "damaged" in (tmp_path / "failed" / "bad.png.txt").read_text()
    assert not list((tmp_path / "in").iterdir()) and not list((tmp_path / "work").iterdir())


@pytest.mark.once
def test_the_studio_gets_versions_in_its_catalog(tmp_path: Path, disc_file: Path) -> None:
    library = tmp_path / "library"
    for number in (1, 2):
        done = run_python(
            str(ROOT / "examples" / "studio_pipeline.py"), str(disc_file), str(library),
            "--catalog", "Props/Discs", "--triangles", "5000", PYTHONPATH=str(ROOT),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        version = library / disc_file.stem / f"v{number:03}"
        report = json.loads((version / "report.json").read_text())
        assert report["engine"] == "draft:relief@1" and report["triangles"] <= 5050
        assert (version / f"{disc_file.stem}.glb").is_file() and Path(report["blend"]).is_file()
    assert (
        len(list(library.glob("*.blend"))) == 2 and "Props/Discs" in (library / "blender_assets.cats.txt").read_text()
    )
