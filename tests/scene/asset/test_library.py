"""Catalogs and asset libraries, whatever stands in them, and the original GLB as it came."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, sentence
from PIL import Image

bpy = pytest.importorskip("bpy")


from trellis_addon import scene as blender  # noqa: E402
from trellis_addon.core.errors import DamagedFileError, FieldError, InputError, TrellisError  # noqa: E402
from trellis_addon.jobs.job import Asset  # noqa: E402
from trellis_addon.jobs.store import JobStore  # noqa: E402
from trellis_addon.scene import files  # noqa: E402
from trellis_addon.scene.asset import catalog  # noqa: E402
from trellis_addon.scene.importing.materials import images_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("clean")


def test_a_new_catalog_file_and_a_second_catalog(tmp_path: Path) -> None:
    first = blender.ensure_catalog(tmp_path)
    assert uuid.UUID(first).version == 5 and first == catalog.catalog_id()
    second = blender.ensure_catalog(tmp_path, "TRELLIS.2/Props: old\\new")
    between = catalog.catalog_id("TRELLIS.2/Props- old")
    assert blender.ensure_catalog(tmp_path) == first
    text = (tmp_path / catalog.FILE_NAME).read_text()
    assert [line for line in text.splitlines() if line and not line.startswith("#")] == [
        "VERSION 1",
        f"{first}:TRELLIS.2:TRELLIS.2",
        f"{between}:TRELLIS.2/Props- old:TRELLIS.2-Props- old",
        f"{second}:TRELLIS.2/Props- old/new:TRELLIS.2-Props- old-new",
    ]
    assert list(blender.catalogs_in(tmp_path).values()) == [first, between, second]
    assert [path.name for path in tmp_path.iterdir()] == [catalog.FILE_NAME], "nothing is left lying around"


def test_whatever_stands_in_the_file_stays(tmp_path: Path) -> None:
    ours, theirs = catalog.catalog_id(), "0e9ae6dd-5d1d-4bd1-9b1c-0aab0c3a4a1e"
    old = f"# by hand, ä\r\n\r\nVERSION 1\r\n{theirs}:Props/Rocks:Rocks\r\nnot a line we know"
    path = tmp_path / catalog.FILE_NAME
    path.write_bytes(old.encode())
    assert blender.ensure_catalog(tmp_path, "Props/Rocks") == theirs, "a catalog of this path is there"
    assert path.read_bytes() == old.encode()
    assert blender.ensure_catalog(tmp_path) == ours
    assert path.read_bytes().decode().startswith(old)
    renamed = f"VERSION 1\n{ours}:Generated:Generated\n"
    path.write_text(renamed)
    assert blender.ensure_catalog(tmp_path) == ours, "renamed in Blender it is still ours"
    assert path.read_text() == renamed


@pytest.mark.parametrize("content", [b"VERSION 2\n", b"VERSION 1\n\xff\xfe"])
def test_catalog_files_that_we_do_not_understand(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / catalog.FILE_NAME
    path.write_bytes(content)
    with pytest.raises(TrellisError) as caught:
        blender.ensure_catalog(tmp_path)
    sentence(caught.value)
    assert path.read_bytes() == content
    with pytest.raises(InputError):
        blender.ensure_catalog(tmp_path, " / ")


def test_many_at_once_lose_no_line(tmp_path: Path) -> None:
    """Threads here and another process there."""
    script = (
        "import sys; from pathlib import Path; from trellis_addon.scene.asset.catalog import ensure_catalog\n"
        "for n in range(20): ensure_catalog(Path(sys.argv[1]), f'B/{n}')"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT)
    for start in (0, 10, 20):
        threads = [
            threading.Thread(target=blender.ensure_catalog, args=(tmp_path, f"A/{n}")) for n in range(start, start + 10)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert other.wait(PATIENCE) == 0
    assert set(blender.catalogs_in(tmp_path)) == (
        {"A", "B"} | {f"A/{n}" for n in range(30)} | {f"B/{n}" for n in range(20)}
    )


@pytest.fixture
def library(tmp_path: Path) -> Any:
    folder = tmp_path / "library"
    folder.mkdir()
    libraries = bpy.context.preferences.filepaths.asset_libraries
    added = libraries.new(name="Studio", directory=str(folder))
    yield folder
    libraries.remove(added)


def plain_preview(tmp_path: Path) -> Path:
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_marked_asset_says_where_it_comes_from(draft: Asset, library: Path, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    blender.mark_asset(obj, preview=preview, catalog="Props", tags=["round"])
    data = obj.asset_data
    assert data.catalog_id == catalog.catalog_id("Props") and catalog.folder_of_this_file() is None
    assert {"TRELLIS.2", "draft", "draft relief@1", "Blue Disc", "round"} <= {tag.name for tag in data.tags}
    assert "rights" in data.license and "MIT" not in data.license, "no weights made a draft"
    assert "Blue Disc" in data.description and data.author
    blender.mark_asset(obj, preview=preview, licence="CC0", author="Me", catalog=None)
    assert (obj.asset_data.license, obj.asset_data.author) == ("CC0", "Me")
    assert obj.asset_data.catalog_id == catalog.catalog_id("Props")
    # in a saved file the catalog is written where Blender looks for it
    files.save_file(library / "sub" / "mine.blend")
    blender.mark_asset(obj, preview=preview)
    assert blender.catalogs_in(library) == {"TRELLIS.2": obj.asset_data.catalog_id}


def test_saving_to_a_library_never_replaces(draft: Asset, library: Path, tmp_path: Path) -> None:
    assert blender.library_folders()["Studio"] == library
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    first = blender.save_to_library(obj, library, preview=preview)
    content = first.read_bytes()
    second = blender.save_to_library(obj, library, preview=preview, catalog="TRELLIS.2/Props")
    assert [path.name for path in (first, second)] == ["Blue Disc.blend", "Blue Disc-2.blend"]
    assert first.read_bytes() == content and obj.asset_data is None, "the open file is as it was"
    assert sorted(path.name for path in library.iterdir()) == [
        "Blue Disc-2.blend",
        "Blue Disc.blend",
        catalog.FILE_NAME,
    ]
    with bpy.data.libraries.load(str(second), assets_only=True) as (held, wanted):
        assert held.objects == ["Blue Disc"]
        wanted.objects = held.objects
    (loaded,) = wanted.objects
    assert loaded.asset_data.catalog_id == blender.catalogs_in(library)["TRELLIS.2/Props"]
    assert len(loaded.data.polygons) == len(obj.data.polygons) and blender.settings_of(loaded)
    assert all(image.packed_file is not None for image in images_of(loaded)) and len(images_of(loaded)) == 3


def test_what_is_marked_is_saved_as_it_is_marked(draft: Asset, library: Path, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    preview = plain_preview(tmp_path)
    blender.mark_asset(obj, preview=preview, catalog="Mine", author="Me")
    path = blender.save_to_library(obj, library, catalog="Theirs", author="Nobody", tags=["lost"])
    assert obj.asset_data.catalog_id == catalog.catalog_id("Mine") and obj.asset_data.author == "Me"
    with bpy.data.libraries.load(str(path), assets_only=True) as (held, wanted):
        wanted.objects = held.objects
    (loaded,) = wanted.objects
    assert loaded.asset_data.author == "Me" and "lost" not in {tag.name for tag in loaded.asset_data.tags}
    assert loaded.asset_data.catalog_id == blender.catalogs_in(library)["Theirs"]


def test_libraries_that_are_not_there(draft: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    obj = blender.import_asset(draft)
    with pytest.raises(InputError) as caught:
        blender.save_to_library(obj, tmp_path / "none")
    sentence(caught.value)
    # where the disk gives out while writing, nothing stays that looks like an asset
    from trellis_addon.scene.asset import library as assets

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    monkeypatch.setattr(catalog, "ensure_catalog", lambda folder, path: catalog.catalog_id(path))
    monkeypatch.setattr(assets, "ensure_catalog", lambda folder, path: catalog.catalog_id(path))
    with pytest.raises(TrellisError) as caught_full:
        blender.save_to_library(obj, tmp_path, preview=plain_preview(tmp_path))
    sentence(caught_full.value)
    assert [path.name for path in tmp_path.iterdir()] == ["red.png"] and obj.asset_data is None


def test_the_original_glb_as_it_came(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    original = blender.original_of(obj)
    assert original.provenance["task_uuid"] == draft.provenance["task_uuid"]
    path = blender.export_original(obj, tmp_path)
    assert path.name == "Blue Disc.glb" and path.read_bytes() == draft.path.read_bytes() == original.path.read_bytes()
    path.write_bytes(b"mine")
    with pytest.raises(FieldError) as caught:
        blender.export_original(obj, path)
    sentence(caught.value)
    assert path.read_bytes() == b"mine"
    assert blender.export_original(obj, path, overwrite=True).read_bytes() == draft.path.read_bytes()
    assert blender.export_original(obj, tmp_path / "new" / "a.GLB").is_file()
    with pytest.raises(FieldError, match=".glb"):
        blender.export_original(obj, tmp_path / "a.obj")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Blue Disc.glb", "new"]


def test_originals_that_are_gone(draft: Asset, tmp_path: Path) -> None:
    obj = blender.import_asset(draft)
    uuid_text = draft.provenance["task_uuid"]

    def refused(kind: type[TrellisError], words: str, store: JobStore | None = None) -> None:
        with pytest.raises(kind, match=words) as caught:
            blender.export_original(obj, tmp_path / "out.glb", store=store)
        sentence(caught.value)
        assert not (tmp_path / "out.glb").exists()

    refused(TrellisError, f"not in this computer's list.*{uuid_text}", JobStore(tmp_path / "another"))
    path = blender.original_of(obj).path
    content = path.read_bytes()
    try:
        path.unlink()
        refused(TrellisError, f"not in the jobs' folder.*{uuid_text}")
        path.write_bytes(content[:1000])
        refused(DamagedFileError, "damaged")
    finally:
        path.write_bytes(content)
    provenance = json.loads(obj["trellis2_provenance"])
    obj["trellis2_provenance"] = json.dumps({**provenance, "file_uuid": "another"})
    refused(TrellisError, "no such result")
    del obj["trellis2_provenance"]
    refused(InputError, "not made by this add-on")
