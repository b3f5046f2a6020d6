"""All files of the weights, small and wrong: in a folder, on a mirror, on a server with the hub's layout."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from weights_mirror import Mirror, serving

from trellis_addon.transfer import file as download_file
from trellis_addon.transfer import small as download_small
from trellis_addon.weights import published as weights_list
from trellis_addon.weights.fetching import status
from trellis_addon.weights.manifest import (
    make_manifest,
    write_manifest,
)
from trellis_addon.weights.published import GROUPS, WeightFile, needed

TERMS = ("dinov3",)
ALL = needed(mask=True, texturing=True)
SHAPE = "ckpts/slat_flow_img2shape_dit_1_3B_512_bf16.safetensors"


def safetensors(values: int, seed: int = 0) -> bytes:
    """A sound file with one tensor of so many bytes."""
    head = json.dumps({"w": {"dtype": "U8", "shape": [values], "data_offsets": [0, values]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes((i * 7 + seed) % 251 for i in range(values))


def contents(path: str, number: int) -> bytes:
    if path.endswith(".json"):
        return json.dumps({"name": path}).encode()
    return safetensors(3000 + number, number) if path.endswith(".safetensors") else b"\x08" * 2000


def published(variant: int = 0) -> dict[str, tuple[WeightFile, bytes]]:
    """All files by their paths; `variant` chooses among two of DINOv3."""
    files = [file for group in GROUPS for file in group.variants[min(variant, len(group.variants) - 1)]]
    return {file.path: (file, contents(file.path, number)) for number, file in enumerate(files)}


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (download_file, download_small):
        monkeypatch.setattr(module, "FIRST_WAIT", 0.002)
    for name in ("HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HTTP_PROXY", "http_proxy", "TRELLIS2_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-hub"))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with small files of all groups."""
    for path, (_, body) in published().items():
        place = tmp_path / "copy" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    return tmp_path / "copy"


@pytest.fixture
def mirror(copy: Path) -> Iterator[Mirror]:
    """The copy with its list, served."""
    write_manifest(copy, make_manifest(copy, "Small test model"))
    files = {p.relative_to(copy).as_posix(): p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    with serving(Mirror(files)) as served:
        yield served


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server with the hub's layout, whose files are as small as they are wrong, and the list of files to match."""
    served = Mirror({})
    groups = []
    for group in GROUPS:
        variants = []
        for variant in group.variants:
            small = []
            for file in variant:
                body = contents(file.path, len(served.files))
                revision = weights_list.REVISIONS[file.repository]
                served.files[f"{file.repository}/resolve/{revision}/{file.place}"] = body
                known = {"size": len(body), "sha256": hash_of(body)} if file.size else {}
                small.append(WeightFile(**{**vars(file), **known}))
            variants.append(tuple(small))
        groups.append(weights_list.Group(**{**vars(group), "variants": tuple(variants)}))
    for place in ("published", "state"):
        monkeypatch.setattr(f"trellis_addon.weights.{place}.GROUPS", tuple(groups))
    monkeypatch.setattr(weights_list, "BY_KEY", {group.key: group for group in groups})
    for repository, revision in weights_list.REVISIONS.items():
        start = f"{repository}/resolve/{revision}/"
        listed = [
            {
                "type": "file",
                "path": path.removeprefix(start),
                "size": len(body),
                "oid": "0" * 40,
                **({"lfs": {"oid": hash_of(body), "size": len(body)}} if len(body) > 1000 else {}),
            }
            for path, body in served.files.items()
            if path.startswith(start)
        ]
        served.files[f"api/models/{repository}/tree/{revision}"] = json.dumps(listed).encode()
    with serving(served):
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


def hash_of(body: bytes) -> str:
    import hashlib

    return hashlib.sha256(body).hexdigest()


def states(folder: Path) -> dict[str, str]:
    return {found.group.key: found.state for found in status(folder)}


def relative(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
