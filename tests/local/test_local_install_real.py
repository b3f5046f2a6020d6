"""The real environment from the real package index, weights, and the service: used and removed, with nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, disc
from test_local_install import tree

from trellis_addon import generate
from trellis_addon.client.local_service import stop_local_services
from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.local.environment.index import Finder
from trellis_addon.local.environment.install import install, make_plan
from trellis_addon.local.environment.lock import load_lock, select
from trellis_addon.local.environment.pip_settings import pip_settings
from trellis_addon.local.environment.plan import Plan
from trellis_addon.local.environment.remove import remove
from trellis_addon.local.machine.hardware import find_machine, free_disk
from trellis_addon.runtime import code
from trellis_addon.runtime.child import start_child
from trellis_addon.runtime.layout import LocalFolder
from trellis_addon.task.settings import TRELLIS2_MODEL
from trellis_addon.transfer.client import make_client
from trellis_addon.weights.fetching import fetch
from trellis_addon.weights.manifest import make_manifest, write_manifest
from trellis_addon.weights.published import needed

pytestmark = pytest.mark.checkout

# A main() of the library's, as far as `start_child` is concerned: everything that compiles and caches is made to.
_USE = """
def main(arguments):
    import json, os, tempfile
    import numpy, onnxruntime, torch, warp
    warp.config.quiet = True

    @warp.kernel
    def double(values: warp.array(dtype=float)):
        place = warp.tid()
        values[place] = values[place] * 2.0

    values = warp.array(numpy.ones(8, dtype=numpy.float32), device="cpu")
    warp.launch(double, 8, inputs=[values], device="cpu")
    with tempfile.NamedTemporaryFile() as file:
        place = file.name
    torch.hub.get_dir()
    print(json.dumps({
        "sum": float(values.numpy().sum()) + float(torch.ones(4, 4).matmul(torch.ones(4, 4)).sum()),
        "torch": torch.__version__,
        "providers": onnxruntime.get_available_providers(),
        "places": [place, os.path.expanduser("~"), torch.__file__, warp.config.kernel_cache_dir],
    }))
"""


def demand_index(plan: Plan) -> None:
    """Skip where this machine has no package index, or none with the build of PyTorch."""
    if plan.obstacles:
        pytest.skip(plan.obstacles[0])
    settings = pip_settings()
    wanted = [one for one in select(load_lock(), plan.target, plan.build) if one.name in ("torch", "warp-lang")]
    with make_client(settings.certificate, settings.proxy) as client:
        try:
            Finder(settings, client).find_all(wanted, plan.target, plan.build, Progress())
        except EngineError as error:
            pytest.skip(str(error))


def make_an_asset(folder: LocalFolder, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With small weights, by the worker that runs from the folder; the job's own files are the user's."""
    monkeypatch.setenv("TRELLIS2_HOME", str(outside / "jobs"))
    mirror, picture = outside / "mirror", outside / "disc.png"
    # from the checkout, since the product has no such thing, but with the folder's Python and nobody else's packages
    command = [str(folder.python), "-X", f"pycache_prefix={folder.pycache}", "-m", "devtools.pipeline.make_small"]
    made = subprocess.run(
        [*command, str(mirror)], cwd=ROOT, env=folder.environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert made.returncode == 0, made.stderr
    write_manifest(mirror, make_manifest(mirror, "Small model"))
    fetch(folder.weights, needed([512]), str(mirror), ["dinov3"])
    disc(200).save(picture)
    few: dict[str, Any] = {f"{kind}_steps": 2 for kind in ("sparse_structure", "shape_slat", "tex_slat")}
    try:
        asset = generate(picture, backend="local", resolution=512, texture_size=1024, remesh=False, **few)
        assert asset.engine == TRELLIS2_MODEL and asset.latents is not None
        assert "accepted for" in (folder.logs / "worker.log").read_text(encoding="utf-8")
        assert any(folder.service.iterdir())
    finally:
        stop_local_services()


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="elsewhere the CPU build comes with more; what is chosen there is in test_local_install_machine",
)
def test_the_real_environment_comes_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "_hash", lambda source, files: "0" * 64)  # what is added to the code below is to stay
    home, temporary, disk = (tmp_path / name for name in ("home", "tmp", "disk"))
    chosen = disk / "Meine Größe" / "local"
    settings = Path.home() / ".config" / "pip" / "pip.conf"
    monkeypatch.delenv("TRELLIS2_PYTHON", raising=False)
    machine = replace(find_machine(), cards=())
    if free_disk(tmp_path) < 4e9:
        pytest.skip("needs 4 GB of disk")
    plan = make_plan(chosen, machine, build="cpu")
    demand_index(plan)
    for folder in (home, temporary, disk):
        folder.mkdir()
    if settings.is_file() and "PIP_CONFIG_FILE" not in os.environ:
        monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))  # where this machine's packages come from stays true
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TMPDIR", str(temporary))
    for variable in [name for name in os.environ if name.startswith(("XDG_", "HF_", "TORCH_", "WARP_"))]:
        monkeypatch.delenv(variable)
    before = {folder: tree(folder) for folder in (home, temporary)}

    plan = make_plan(chosen, machine, build="cpu")
    state = install(plan)
    assert state.complete and state.torch.startswith("2.") and state.device == "cpu"
    folder = LocalFolder(chosen)
    assert sum(path.stat().st_size for path in folder.env.rglob("*") if path.is_file()) < plan.disk

    monkeypatch.setenv("TRELLIS2_LOCAL", str(chosen))
    (folder.code() / "trellis_addon" / "used.py").write_text(_USE)
    child = start_child(".used", [], is_local=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, errors = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, errors

    answer = json.loads(told.splitlines()[-1])
    assert answer["sum"] == 80.0 and "CPUExecutionProvider" in answer["providers"]
    assert all(Path(place).is_relative_to(chosen) for place in answer["places"]), answer["places"]
    assert not list(folder.env.rglob("__pycache__")) and list(folder.pycache.rglob("tempfile.*.pyc"))
    assert any((folder.cache / "warp").rglob("*.o")), "the kernel was not compiled where it should be"
    make_an_asset(folder, tmp_path, monkeypatch)
    assert {path: tree(path) for path in before} == before, "something was written outside the chosen folder"

    assert remove(folder) > 1e9
    assert tree(disk) == {}
    assert {path: tree(path) for path in before} == before
