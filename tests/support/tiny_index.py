"""A package index of wheels that weigh next to nothing, with stand-ins for what the environment needs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from trellis_addon.local.environment.builds import TORCH_VERSION

_TORCH = f'''
__version__ = "{TORCH_VERSION}+cpu"
class cuda: is_available = staticmethod(lambda: False)
class backends:
    class mps: is_available = staticmethod(lambda: False)
class ones:
    def __init__(self, *sizes, device): pass
    def matmul(self, other): return self
    def sum(self): return self
    def item(self): return 64.0
'''
# What the trial of an installation imports: distribution -> its modules.
STAND_INS: dict[str, dict[str, str]] = {
    "torch": {"torch/__init__.py": _TORCH},
    "warp-lang": {"warp/__init__.py": "class config: quiet = False\ndef init(): pass\n"},
    "array-api-compat": {"array_api_compat/__init__.py": ""},
    "httpx": {"httpx/__init__.py": ""},
    "numpy": {"numpy/__init__.py": ""},
    "onnxruntime": {"onnxruntime/__init__.py": ""},
    "pillow": {"PIL/__init__.py": "", "PIL/Image.py": ""},
    "safetensors": {"safetensors/__init__.py": "", "safetensors/torch.py": ""},
    "scipy": {"scipy/__init__.py": "", "scipy/spatial.py": ""},
    "starlette": {"starlette/__init__.py": ""},
    "uvicorn": {"uvicorn/__init__.py": ""},
}
# These are what they are: a process that runs from the folder needs them.
REAL = ("filelock", "platformdirs")


@dataclass
class TinyIndex:
    """`wheels` by file name. `lock` is the text of a lock over them; `files` what a web server serves below simple/."""

    wheels: dict[str, bytes] = field(default_factory=dict)
    entries: list[dict[str, object]] = field(default_factory=list)

    def add(self, name: str, version: str, modules: Mapping[str, str | bytes], **more: object) -> str:
        file, content = make_wheel(name, version, modules)
        self.wheels[file] = content
        wheel = [file, len(content), hashlib.sha256(content).hexdigest()]
        self.entries.append({"name": name, "version": version, "wheels": [wheel], **more})
        return file

    @property
    def lock(self) -> str:
        return json.dumps({"torch": TORCH_VERSION, "packages": self.entries})

    def files(self) -> dict[str, bytes]:
        """Pages of links with checksums, and the wheels in a folder beside them."""
        served = {f"files/{file}": content for file, content in self.wheels.items()}
        for entry in self.entries:
            links = [f'<a href="../../files/{file}#sha256={digest}">{file}</a>' for file, _, digest in entry["wheels"]]  # type: ignore[attr-defined]
            served[f"simple/{entry['name']}/"] = ("<!DOCTYPE html><html><body>" + "\n".join(links)).encode()
        return served

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in self.wheels.items():
            (folder / file).write_bytes(content)


def tiny_index(ballast: int = 0) -> TinyIndex:
    """Everything that an installation of the CPU build needs; `ballast` makes torch so many bytes longer."""
    index = TinyIndex()
    for name, modules in STAND_INS.items():
        version, more = "1.0", {}
        content: dict[str, str | bytes] = dict(modules)
        if name == "torch":
            version, more = f"{TORCH_VERSION}+cpu", {"with": f"{TORCH_VERSION}+cpu"}
            content["torch/lib.bin"] = random.Random(7).randbytes(ballast)
        index.add(name, version, content, **more)
    for name in REAL:
        spec = find_spec(name)
        assert spec is not None and spec.origin is not None
        folder = Path(spec.origin).parent
        sources = sorted(folder.rglob("*.py"))  # with packages inside, as newer filelocks have
        index.add(name, "9.9", {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in sources})
    return index


def make_wheel(
    name: str,
    version: str,
    modules: Mapping[str, str | bytes],
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """A wheel's file name and its bytes."""
    stem = f"{name.replace('-', '_')}-{version}"
    contents = {path: text.encode() if isinstance(text, str) else text for path, text in modules.items()}
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    contents[f"{stem}.dist-info/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    )
    contents[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}\n"
        for path, content in contents.items()
    )
    contents[f"{stem}.dist-info/RECORD"] = (record + f"{stem}.dist-info/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in contents.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), content)
    return f"{stem}-{tag}.whl", buffer.getvalue()
