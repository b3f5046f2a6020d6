"""The built zip and the repository around it, held against Blender's own tool for both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

import import_graph
import pytest
import repository
import wheel_licences
import zip_check
from conftest import ROOT, build
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.checkout

# The top of the repository that users do not need; a new folder belongs here or into the build's CONTENTS.
NOT_SHIPPED = {".ci", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"}
NOT_SHIPPED |= {"benchmarks", "devtools", "docs", "examples", "tests", "tools"}


@pytest.fixture(scope="module")
def names(extension_zip: Path) -> set[str]:
    with zipfile.ZipFile(extension_zip) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


@pytest.fixture(scope="module")
def manifest(extension_zip: Path) -> dict[str, Any]:
    with zipfile.ZipFile(extension_zip) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


def blender_ext(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `blender --command extension` runs, out of the bpy module."""
    bpy = pytest.importorskip("bpy")
    tool = Path(bpy.utils.system_resource("SCRIPTS"), "addons_core", "bl_pkg", "cli", "blender_ext.py")
    return subprocess.run([sys.executable, str(tool), *arguments], capture_output=True, text=True)


def test_all_of_the_extension_is_inside(names: set[str]) -> None:
    for folder in ("trellis_addon", "operators", "ui", "presets"):
        files = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
        files = {
            name for name in files if "__pycache__" not in name and not name.startswith((*build.ALIASES, *build.PAGE))
        }
        assert files and files <= names, files - names
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "README.md", "THIRD_PARTY.md"} <= names


def test_nothing_else_is(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*build.CONTENTS, "THIRD_PARTY.md", "manual", "wheels"}
    assert not tops & NOT_SHIPPED
    assert not [name for name in names if name.endswith(".pyc") or "torch" in name.rpartition("/")[2]]


def test_every_top_of_the_repository_is_shipped_or_known_not_to_be() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert {name.partition("/")[0] for name in listed.stdout.splitlines()} <= {*build.CONTENTS, *NOT_SHIPPED}


def test_the_wheels_are_those_of_both_pythons(names: set[str], manifest: dict[str, Any]) -> None:
    wheels = sorted(name.removeprefix("wheels/") for name in names if name.startswith("wheels/"))
    assert sorted(manifest["wheels"]) == [f"./wheels/{name}" for name in wheels]
    wanted = {line.partition("==")[0] for line in build.REQUIREMENTS.read_text().splitlines() if "==" in line}
    assert {name.partition("-")[0].lower() for name in wheels} == wanted
    assert {name.split("-")[2] for name in wheels if name.startswith("pillow")} == {"cp311", "cp313"}
    assert manifest["platforms"] == [build.this_platform()]


@pytest.mark.parametrize(("name", "system"), [("windows-x64", "win32"), ("macos-arm64", "darwin")])
def test_the_zips_for_other_systems_hold_what_runs_there(tmp_path: Path, name: str, system: str) -> None:
    """`tools/wheel_check.py` ends the build otherwise; with a keyring, and all that it needs."""
    with zipfile.ZipFile(build.build(name, build.PYTHONS, tmp_path)) as opened:
        names = [each.rpartition("/")[2] for each in opened.namelist() if each.endswith(".whl")]
        wheels = {canonicalize_name(each.partition("-")[0]) for each in names}
        assert "keyring" in wheels and ("pywin32-ctypes" in wheels) == (system == "win32")
        assert b"| keyring | " in opened.read("THIRD_PARTY.md")


def test_the_same_sources_give_the_same_bytes(
    extension_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever they were written, whatever their rights, wherever they lie."""

    def from_the_zip(folder: Path, *_: object) -> None:
        with zipfile.ZipFile(extension_zip) as archive:
            for name in archive.namelist():
                if name.startswith("wheels/"):
                    (folder / name.rpartition("/")[2]).write_bytes(archive.read(name))

    monkeypatch.setattr(build, "download", from_the_zip)
    monkeypatch.setattr(build, "check", lambda *_: None)  # what was built first has passed it
    built = []
    for number, (rights, time) in enumerate(((0o644, 1_700_000_000), (0o600, 1_800_000_000))):
        copy = tmp_path / f"copy {number}"
        if number == 0:
            for path in build.sources():
                (copy / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy / path.relative_to(ROOT))
        else:
            shutil.copytree(tmp_path / "copy 0", copy)
        for path in copy.rglob("*"):
            os.utime(path, (time, time))
            if path.is_file():
                path.chmod(rights)
        monkeypatch.setattr(build, "ROOT", copy)
        built.append(build.build(build.this_platform(), build.PYTHONS, tmp_path / f"zip {number}").read_bytes())
    assert built[0] == built[1]


def test_blender_finds_nothing_wrong(extension_zip: Path) -> None:
    for what in (extension_zip, ROOT):
        done = blender_ext("validate", str(what))
        assert done.returncode == 0 and "FATAL_ERROR" not in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_index_is_what_blender_would_write(extension_zip: Path, tmp_path: Path) -> None:
    (tmp_path / extension_zip.name).write_bytes(extension_zip.read_bytes())
    ours = json.loads(repository.write_index(tmp_path).read_text(encoding="utf-8"))
    done = blender_ext("server-generate", "--repo-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout
    theirs = json.loads((tmp_path / "index.json").read_text(encoding="utf-8"))
    if "python_versions" not in theirs["data"][0]:  # Blender 4.2 knows nothing of them
        assert ours["data"][0].pop("python_versions") == ["3.11", "3.13"]
    assert ours == theirs


def test_the_zips_can_lie_elsewhere(extension_zip: Path) -> None:
    entry = repository.entry(extension_zip, "https://example.org/trellis2/")
    assert entry["archive_url"] == f"https://example.org/trellis2/{extension_zip.name}"


@pytest.mark.parametrize(
    ("wheels", "versions"),
    [
        ([], []),
        (["a-1-py3-none-any.whl"], ["3"]),
        (["a-1-py2.py3-none-any.whl", "b-1-cp311-cp311-win_amd64.whl"], ["3.11"]),
        (["b-1-cp313-cp313-win_amd64.whl", "b-1-cp39-cp39-win_amd64.whl"], ["3.9", "3.13"]),
        (["c-1-2-cp38-abi3-macosx_11_0_arm64.whl"], ["3"]),
    ],
)
def test_the_pythons_of_wheels(wheels: list[str], versions: list[str]) -> None:
    assert repository.python_versions(wheels) == versions


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("tests/test_draft.py", b"", "no file of the extension"),
        ("trellis_addon/__pycache__/task.cpython-311.pyc", b"", "does not belong"),
        ("trellis_addon/pipeline/flow.safetensors", b"", "does not belong"),
        ("wheels/torch-2.13.0-cp311-none-any.whl", b"", "does not belong"),
        ("trellis_addon/pipeline/golden/runs.py", b"", "does not belong"),
        ("devtools/geometry/check.py", b"", "does not belong"),
        ("trellis_addon/pipeline/make_small.py", b"", "reached by nothing of the product"),
        ("trellis_addon/ovoxel/check.py", b"", "reached by nothing of the product"),
        ("trellis_addon/large.json", bytes(zip_check.LARGEST_FILE + 1), "3.0 MB"),
        ("trellis_addon/.env", b"", "may hold a secret"),
        ("trellis_addon/hub.py", b"token = 'hf_" + b"a1B2" * 9 + b"'", "may hold a secret"),
        ("trellis_addon/keys.py", b"key = 'the key of this machine'", "may hold a secret"),
    ],
)
def test_what_must_not_be_inside_is_found(
    name: str, data: bytes, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNWARE_API_KEY", "the key of this machine")
    good = dict.fromkeys(zip_check.FILES, b"")
    build.write_zip(tmp_path / "good.zip", good)
    assert zip_check.faults(tmp_path / "good.zip", [], ROOT) == []
    build.write_zip(tmp_path / "bad.zip", {**good, name: data})
    assert any(fault in text and name in text for text in zip_check.faults(tmp_path / "bad.zip", [], ROOT))


def test_everything_in_the_zip_is_reached_from_an_entry_of_the_product(names: set[str]) -> None:
    """From what Blender, a shell and our own processes begin with; what waits for an entry is listed."""
    left_out = {import_graph.path_of(module, ROOT) for module in import_graph.unreachable(ROOT)}
    assert left_out and not left_out & names
    assert all(path.startswith(build.ALIASES) for path in left_out), left_out


def test_a_module_that_nobody_imports_is_found(tmp_path: Path) -> None:
    for name, text in {
        "__init__.py": "from . import ui\n",
        "ui/__init__.py": "",
        "trellis_addon/__init__.py": "HOMES = {'api': '.api'}\n",
        "trellis_addon/api.py": "def run():\n    from .core import deep\n    return start('.core.child')\n",
        "trellis_addon/core/__init__.py": "",
        "trellis_addon/core/deep.py": "SCRIPT = 'from trellis_addon.core.script import main'\n",
        "trellis_addon/core/child.py": "import trellis_addon.core.plain\n",
        "trellis_addon/core/script.py": "",
        "trellis_addon/core/plain.py": "",
        "trellis_addon/core/orphan.py": "from . import deep\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert import_graph.unreachable(tmp_path) == {"trellis_addon.core.orphan"}


def test_a_file_that_is_missing_ends_the_build(tmp_path: Path) -> None:
    build.write_zip(tmp_path / "a.zip", dict.fromkeys(zip_check.FILES - {"LICENSE"}, b""))
    with pytest.raises(SystemExit, match="ui/panels.py is missing"):
        zip_check.check(tmp_path / "a.zip", [ROOT / "ui" / "panels.py"], ROOT)
    assert not (tmp_path / "a.zip").exists()


def test_every_licence_is_stated_and_goes_with_the_gpl(extension_zip: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(extension_zip) as archive:
        text = archive.read("THIRD_PARTY.md").decode()
    for line in build.REQUIREMENTS.read_text().splitlines():
        name, _, version = line.partition("==")
        assert not version or f"| {name} | {version} | " in text
    wheel = tmp_path / "closed-1-py3-none-any.whl"
    build.write_zip(wheel, {"closed-1.dist-info/METADATA": b"Name: closed\nVersion: 1\nLicense: ask our lawyers\n\n"})
    with pytest.raises(SystemExit, match="closed.*not stated"):
        wheel_licences.third_party([wheel])


@pytest.mark.parametrize(
    ("field", "value", "licence"),
    [
        ("License-Expression", "MIT AND Apache-2.0", "MIT AND Apache-2.0"),
        ("Classifier", "License :: OSI Approved :: BSD License", "BSD-3-Clause"),
        ("License", "MIT", "MIT"),
        ("License", "see the file", ""),
    ],
)
def test_where_metadata_states_the_licence(field: str, value: str, licence: str) -> None:
    metadata = Message()
    metadata[field] = value
    assert wheel_licences.licence_of(metadata) == licence
