"""The check against the reference's numbers: it passes what is right, fails what is wrong, and never falls over."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PATIENCE
from ovoxel_wrong import DATA, write_wrong

pytest.importorskip("array_api_compat")


def check(folder: Path) -> tuple[int, dict[str, str], str]:
    """Exit code, the line of each case, and what went to the error stream."""
    command = [sys.executable, "-m", "devtools.geometry.check", str(folder)]
    done = subprocess.run(command, cwd=DATA.parents[2], capture_output=True, text=True, timeout=PATIENCE)
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    return done.returncode, lines, done.stderr


def test_the_references_numbers_are_met() -> None:
    code, lines, error = check(DATA)
    assert code == 0 and not error
    assert "0 failed" in lines[next(key for key in lines if key.isdigit())]
    expected = [path.stem if path.suffix == ".npz" else path.name for path in DATA.glob("*.[nv][px]z")]
    assert set(expected) <= set(lines)
    for name in expected:
        assert ("reported" if name.startswith("remesh_dc") else "pass") in lines[name]


def test_wrong_numbers_fail_in_a_line_each(tmp_path: Path) -> None:
    names = write_wrong(tmp_path)
    code, lines, error = check(tmp_path)
    assert code == 1 and "Traceback" not in error
    assert [name for name in names if "FAIL" not in lines.get(name, "")] == []


def test_a_voxel_file_is_held_against_its_content(tmp_path: Path) -> None:
    for name in ("torus_parent_none.vxz", "torus_neighbor_lzma.vxz", "torus_none_none.vxz", "vxz_content.npz"):
        shutil.copy(DATA / name, tmp_path / name)
    whole = (DATA / "torus_parent_none.vxz").read_bytes()
    (tmp_path / "torus_cut.vxz").write_bytes(whole[:-100])
    (tmp_path / "torus_bits.vxz").write_bytes(whole[:-100] + bytes([whole[-100] ^ 1]) + whole[-99:])
    code, lines, error = check(tmp_path)
    assert code == 1 and not error
    for name in ("torus_parent_none.vxz", "torus_neighbor_lzma.vxz", "torus_none_none.vxz", "vxz_content"):
        assert "pass" in lines[name]
    for name in ("torus_cut.vxz", "torus_bits.vxz"):
        assert "FAIL" in lines[name]


def test_no_case_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert check(tmp_path)[0] != 0
    assert check(tmp_path / "nowhere")[0] != 0


def test_a_damaged_manifest_does_no_harm(tmp_path: Path) -> None:
    shutil.copy(DATA / "svo_torus_32.npz", tmp_path / "svo_torus_32.npz")
    (tmp_path / "manifest.json").write_text('{"fdg2mesh_that_is_not_here": {')
    code, lines, _ = check(tmp_path)
    assert code == 0 and "pass" in lines["svo_torus_32"]
