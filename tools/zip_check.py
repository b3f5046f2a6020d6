"""What must be in a built zip, and what must never be."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from import_graph import path_of, unreachable
from wheel_check import PYTHONS, wheel_faults

FILES = {"LICENSE", "README.md", "THIRD_PARTY.md", "__init__.py", "blender_manifest.toml", "manual/manual.html"}
LITTER = re.compile(r"(^|/)(__pycache__|tests?|benchmarks?|devtools|golden|tools|\.[^/]+)(/|$)|\.pyc$")
WEIGHTS = re.compile(r"\.(safetensors|onnx|ckpt|pt|pth|gguf|bin|npz|h5)$")
# Installed by the user where the local GPU backend is wanted; far too large to bring along.
HEAVY_WHEELS = re.compile(r"wheels/(torch|triton|nvidia|onnxruntime|scipy|warp|numpy)\b")
SECRET_FILE = re.compile(r"(^|/)(\.?env|\.netrc|id_rsa|credentials[^/]*)$|\.(pem|key|p12)$")
SECRET_TEXT = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY|\b(hf_|ghp_)[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b")
SECRET_VARIABLES = ("RUNWARE_API_KEY", "TRELLIS2_SERVICE_TOKEN", "HF_TOKEN")
LARGEST_FILE = 3_000_000  # bytes, of our own


def check(archive: Path, sources: Iterable[Path], root: Path, pythons: Sequence[str] = PYTHONS) -> None:
    """Ends the build with every fault of the zip, one a line; `pythons` are those that it is for."""
    if found := [*faults(archive, sources, root), *wheel_faults(archive, pythons)]:
        archive.unlink()
        raise SystemExit("\n".join(f"{archive.name}: {fault}" for fault in found))


def faults(archive: Path, sources: Iterable[Path], root: Path) -> list[str]:
    found: list[str] = []
    expected = {path.relative_to(root).as_posix() for path in sources}
    not_reached = {path_of(module, root) for module in unreachable(root)}
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        found += [f"{name} is missing" for name in sorted((expected | FILES) - set(names))]
        for info in opened.infolist():
            name = info.filename
            ours = not name.startswith("wheels/")
            if ours and not name.startswith("manual/") and name not in expected | FILES:
                found.append(f"{name} is no file of the extension")
            if LITTER.search(name) or WEIGHTS.search(name) or HEAVY_WHEELS.search(name):
                found.append(f"{name} does not belong there")
            if name in not_reached:
                found.append(f"{name} is reached by nothing of the product: it belongs into devtools/")
            if ours and info.file_size > LARGEST_FILE:
                found.append(f"{name} has {info.file_size / 1e6:.1f} MB")
            if SECRET_FILE.search(name) or (ours and _has_secret(opened.read(name))):
                found.append(f"{name} may hold a secret")
    return found


def _has_secret(data: bytes) -> bool:
    values = [os.environ.get(variable, "").encode() for variable in SECRET_VARIABLES]
    return bool(SECRET_TEXT.search(data)) or any(len(value) >= 12 and value in data for value in values)
