"""The doctor: a report about anything, however broken, that names what is wrong and gives no secret away."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import run_python

from trellis_addon.core.errors import Cancelled
from trellis_addon.core.progress import Progress
from trellis_addon.jobs.job import State
from trellis_addon.jobs.store import JobStore
from trellis_addon.local.doctor import report as doctor
from trellis_addon.local.doctor.redact import redacted
from trellis_addon.local.machine.hardware import Card, Machine
from trellis_addon.runtime import child
from trellis_addon.runtime.layout import Installation, LocalFolder
from trellis_addon.task.settings import Settings
from trellis_addon.task.task import Task

SECRETS = {
    "RUNWARE_API_KEY": "plainlettersonlykey",
    "TRELLIS2_SERVICE_TOKEN": "service-token-4711",
    "HF_TOKEN": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz123456",
    "MY_PASSWORD": "correct horse",
    "HTTPS_PROXY": "http://alice:proxypass@proxy.example:3128/?x=queryword",
    "HF_ENDPOINT": "https://bob:mirrorpass@mirror.example/base?sig=signatureword",
}
LOG = """\
2026-11-20 10:00:00 INFO all is well with alpha
2026-11-20 10:00:01 ERROR GET https://cdn.example/w.bin?X-Amz-Signature=signedword failed
2026-11-20 10:00:02 ERROR Authorization: Bearer bearerword12345
2026-11-20 10:00:03 ERROR {"apiKey": "jsonkeyword", "token": "jsontokenword"}
2026-11-20 10:00:04 WARNING --token argtoken99 api_key=assignedword
2026-11-20 10:00:05 ERROR /files/00112233445566778899aabbccddeeff0011223344556677/x.glb is gone
2026-11-20 10:00:06 ERROR in C:\\Users\\carol\\AppData\\x and /home/dave/x and /Users/erin/y by frank@example.org
2026-11-20 10:00:07 ERROR drawn Zk3q9Xw2LmN8vB5tR7yU1oP4 and ghp_abcdefghij0123456789
torch.OutOfMemoryError: CUDA out of memory
"""
GIVEN_AWAY = [
    "plainlettersonlykey", "service-token-4711", "hf_AbC", "proxypass", "alice", "queryword", "mirrorpass", "bob",
    "signatureword", "signedword", "bearerword", "jsonkeyword", "jsontokenword", "argtoken99", "assignedword",
    "00112233", "carol", "dave", "erin", "frank", "Zk3q9", "ghp_ab", "horse", "grace", "heidi", "Heidi", "IVANS",
    "judy", "servicepass", "failedtoken", "failedbearer",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFolder:
    """A folder of its own, without any weights, and a machine without cards."""
    monkeypatch.delenv("TRELLIS2_WEIGHTS", raising=False)
    monkeypatch.delenv("TRELLIS2_PYTHON", raising=False)
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "jobs"))
    monkeypatch.setenv("TRELLIS2_LOCAL", str(tmp_path / "local"))
    return LocalFolder(tmp_path / "local")


def test_what_is_not_installed_is_said_with_its_cure(folder: LocalFolder) -> None:
    found = doctor.report(folder, selftest=False)
    assert found.problems[0].what == "The local GPU backend is not installed."
    assert "local install" in found.problems[0].cure
    assert any("Weights are missing" in problem.what for problem in found.problems)
    assert str(found.problems[0]) in " ".join(found.text.split())
    for title in ("Versions", "Devices", "Local backend", "Weights", "Worker", "Self-test", "Network", "worker.log"):
        assert f"== {title}" in found.text
    assert "cannot be told" not in found.text
    assert not folder.root.exists() and not Path(os.environ["TRELLIS2_HOME"]).exists()  # looking leaves no trace


def test_weights_in_8_bits_are_told_of(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder.weights / "ckpts"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("ss_flow_img_dit_1_3B_64_bf16.safetensors", "ss_flow_img_dit_1_3B_64_bf16.fp8.safetensors"):
        (place / name).write_bytes(b"x" * 2000)

    def told() -> tuple[str, list[str]]:
        found = doctor.report(folder, selftest=False)
        return found.text, [problem.what for problem in found.problems]

    text, _ = told()
    text = " ".join(text.split())
    assert "ss_flow_img_dit_1_3B_64_bf16.fp8.safetensors: 2" in text and "asked for" not in text
    monkeypatch.setenv("TRELLIS2_EIGHT_BITS", "1")
    monkeypatch.setattr("trellis_addon.local.machine.hardware.free_disk", lambda _: 10**9)
    text, problems = told()
    assert re.search(r"asked for\s+\(int8\): 1 files are yet to be\s+converted, 1.3", text), text
    assert any("Weights in 8 bits take 1.3" in problem for problem in problems)
    monkeypatch.setenv("TRELLIS2_EIGHT_BITS", "4")
    assert any("TRELLIS2_EIGHT_BITS" in problem for problem in told()[1])


def test_weights_that_are_not_whole_are_named(folder: LocalFolder) -> None:
    (folder.weights / "ckpts").mkdir(parents=True)
    (folder.weights / "pipeline.json").write_text("{}", encoding="utf-8")
    (folder.weights / "ckpts" / "ss_flow_img_dit_1_3B_64_bf16.safetensors").write_bytes(b"x" * 1000)
    whats = [problem.what for problem in doctor.report(folder, selftest=False).problems]
    (damaged,) = (what for what in whats if "not the published ones" in what)
    assert "core" in damaged and damaged.endswith(".") and not damaged.endswith("..")
    assert any("missing" in what and "dinov3" in what for what in whats)


def test_an_installation_that_broke_off_and_one_that_lost_its_python(folder: LocalFolder) -> None:
    folder.write_state(Installation(build="cuda", python="3.11.7", torch="2.13.0"))
    whats = [problem.what for problem in doctor.report(folder, selftest=False).problems]
    assert "The installation is not complete." in whats
    folder.write_state(Installation(build="cuda", python="3.11.7", torch="2.13.0", complete=True, installed=1.8e9))
    found = doctor.report(folder.root, selftest=False)
    assert "The environment's Python is gone." in [problem.what for problem in found.problems]
    assert "build cuda, Python 3.11.7, PyTorch 2.13.0" in found.text and "installed 2027-01-15" in found.text


def test_no_secret_is_in_the_report(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    home = folder.root.parent / "home" / "grace"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TRELLIS2_DEVICE", f"cuda:0 {SECRETS['RUNWARE_API_KEY']}")
    monkeypatch.setattr("getpass.getuser", lambda: "heidi")
    monkeypatch.setattr("platform.node", lambda: "ivans-laptop")
    place = LocalFolder(home / "local")
    place.logs.mkdir(parents=True)
    for name in ("install.log", "worker.log"):
        (place.logs / name).write_text(LOG + f"ERROR {home}/secret of Heidi on IVANS-LAPTOP\n", encoding="utf-8")
    place.write_state(Installation(build=SECRETS["HF_TOKEN"], complete=False))
    store = JobStore(Path(os.environ["TRELLIS2_HOME"]))
    job = store.add(Task("A" * 80, Settings()), name="frog", backend="https://judy:servicepass@gpu.example/v1")
    job = store.move(job, State.SENDING)
    store.move(job, State.FAILED, error="https://gpu.example/v1?token=failedtoken said no to Bearer failedbearer")
    found = doctor.report(place, selftest=False)
    everything = found.text + "".join(f"{problem.what} {problem.cure}" for problem in found.problems)
    for word in GIVEN_AWAY:
        assert word not in everything, word
    # and what a helper needs is still there
    for kept in ("CUDA out of memory", "proxy.example:3128", "mirror.example", "cdn.example/w.bin", "gone", "said no"):
        assert kept in found.text, kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Task 5efab433-316e-4b0b-b8c4-6e0edbe3779c failed", "5efab433-316e-4b0b-b8c4-6e0edbe3779c"),
        ("the token is not this service's", "the token is not this service's"),
        ("12.5 GB of 16 GB, driver 570.86.15, capability 8.9", "driver 570.86.15"),
        ("tokens: 9600 of 49152", "of 49152"),
        ("/opt/weights/ckpts/slat_flow_img2shape_dit_1_3B_1024_bf16.safetensors", "1024_bf16.safetensors"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
    ],
)
def test_what_helps_is_kept(text: str, kept: str) -> None:
    assert kept in redacted(text, {})


def test_broken_pieces_are_lines(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: Any, **__: Any) -> Any:
        raise RuntimeError("boom of a driver")

    monkeypatch.setattr("trellis_addon.local.machine.hardware.find_machine", explode)
    monkeypatch.setattr("trellis_addon.client.local_service.worker_status", explode)
    jobs = Path(os.environ["TRELLIS2_HOME"])
    jobs.mkdir()
    (jobs / "jobs.sqlite3").write_bytes(b"this is no database" * 100)
    folder.root.mkdir()
    folder.state_file.write_text("{broken", encoding="utf-8")
    folder.logs.mkdir()
    (folder.logs / "worker.log").write_bytes(b"\xff\xfe\x00error\n" * 20000)
    found = doctor.report(folder, selftest=False)
    assert found.text.count("This cannot be told (RuntimeError: boom of a driver).") == 2
    assert "not complete" in found.text and "== worker.log" in found.text
    assert len(found.text) < 20_000


@pytest.mark.parametrize(
    ("device", "speed", "is_told"), [("cuda:0", 21.5, True), ("cuda:0", 190.0, False), ("cpu", 21.5, False)]
)
def test_a_card_whose_driver_lends_main_memory_is_told_by_its_speed(
    device: str, speed: float, is_told: bool, folder: LocalFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card("NVIDIA GeForce RTX 4060", "nvidia", total=8 << 30, driver="576.80", capability="8.9")
    machine = Machine("windows", "x86_64", (card,), 16 << 30)
    monkeypatch.setattr("trellis_addon.local.machine.hardware.find_machine", lambda: machine)
    monkeypatch.setenv("TRELLIS2_PYTHON", sys.executable)
    told = [{"name": "device", "value": device}, {"name": "memory bandwidth", "value": speed, "unit": "GB/s"}]
    monkeypatch.setattr(doctor, "run_selftest", lambda *_: told)
    problems = [str(problem) for problem in doctor.report(folder).problems]
    assert any("Sysmem Fallback Policy" in problem for problem in problems) == is_told


def test_a_card_that_pytorch_does_not_see(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card("NVIDIA Test", "nvidia", 0, 16 << 30, 15 << 30, "570.86", "8.9")
    monkeypatch.setattr(
        "trellis_addon.local.machine.hardware.find_machine", lambda: Machine("linux", "x86_64", (card,), 1, 1)
    )
    monkeypatch.setenv("TRELLIS2_PYTHON", sys.executable)
    told = [{"name": "device", "value": "cpu"}, {"name": "attention", "value": "failed", "note": "no kernel"}]
    monkeypatch.setattr(doctor, "run_selftest", lambda *_: told)
    found = doctor.report(folder)
    whats = " ".join(problem.what for problem in found.problems)
    assert "does not see the card (nvidia 0: NVIDIA Test, 16.0 GB" in whats
    assert "The self-test of attention failed: no kernel." in whats


def fake_child(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Any Python in place of the self-test's."""
    import subprocess

    def start(module: str, arguments: list[str], *, is_local: bool = False, **streams: Any) -> Any:
        assert module == ".local.doctor.selftest" and is_local
        return subprocess.Popen([sys.executable, "-c", code], text=True, **streams)

    monkeypatch.setattr(child, "start_child", start)


def test_a_selftest_that_hangs_or_dies_is_told_with_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    first = 'import os, sys, time; print(\'chatter\'); print(\'{"name": "PyTorch", "value": "2"}\', flush=True); '
    fake_child(monkeypatch, first + "time.sleep(60)")
    lines = doctor.run_selftest(None, Progress(), 1.0)
    assert [line["name"] for line in lines] == ["PyTorch", "self-test"]
    assert "did not end within 1 seconds" in lines[1]["note"]
    fake_child(monkeypatch, first + "sys.stderr.write('driver reset'); sys.stderr.flush(); os._exit(9)")
    lines = doctor.run_selftest(None, Progress())
    assert lines[1]["value"] == "failed" and "ended with 9" in lines[1]["note"] and "driver reset" in lines[1]["note"]


def test_it_can_be_cancelled(folder: LocalFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_child(monkeypatch, "import time; time.sleep(60)")
    monkeypatch.setenv("TRELLIS2_PYTHON", sys.executable)
    stop = threading.Event()
    seen: list[str] = []

    def tell(stage: str, fraction: float) -> None:
        seen.append(stage)
        if stage == "Examining: self-test":
            stop.set()

    began = time.monotonic()
    with pytest.raises(Cancelled):
        doctor.report(folder, progress=Progress(tell, stop.is_set))
    assert time.monotonic() - began < 30 and "Examining: Devices" in seen


def test_the_selftest_measures_and_finds_the_convolution_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("trellis_addon.local.doctor.selftest._EACH", 0.02)
    from trellis_addon.local.doctor import selftest

    told: list[dict[str, Any]] = []
    monkeypatch.setattr("builtins.print", lambda line, **_: told.append(json.loads(line)))
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "ckpts" / "a.safetensors").write_bytes(b"x" * 3_000_000)
    assert selftest.main([str(tmp_path)]) == 0
    values = {line["name"]: line for line in told}
    assert [line["name"] for line in told][:2] == ["PyTorch", "device"]
    for name in (
        "matrix product, float32",
        "attention",
        "memory bandwidth",
        "sparse convolution",
        "reading the weights",
    ):
        assert values[name]["value"] > 0 and values[name]["unit"], name
    assert values["sparse convolution"]["note"].startswith("right to")
    assert values["precision"]["value"] == "float32" and "processor" in values["precision"]["note"]
    kind, backend, right = values["attention"]["note"].split(", ", 2)
    assert (kind, backend) == ("float32", "flash")
    assert re.fullmatch(r"right to \de-\d\d at 9,600 keys", right) and float(right.split()[2]) < 1e-5


def test_the_selftest_measures_attention_in_the_pipelines_own_type_and_finds_it_wrong_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch = pytest.importorskip("torch")
    from trellis_addon.local.doctor import selftest
    from trellis_addon.pipeline import precision
    from trellis_addon.pipeline.device import store
    from trellis_addon.pipeline.networks import attention

    monkeypatch.setattr(selftest, "_EACH", 1e-3)
    monkeypatch.setattr(store, "device_precision", lambda device: precision.precision_of("nvidia", "8.6"))
    attend, types = attention.attend, []

    def worse(q: Any, k: Any, v: Any) -> Any:  # as a kernel that loses the last keys' share of the softmax
        types.append(q.dtype)
        return attend(q, k[:, :-300], v[:, :-300])

    _, unit, note = selftest._attention(torch.device("cpu"))
    assert unit == "TFLOP/s" and note.startswith("bfloat16, ") and note.endswith("at 9,600 keys")
    monkeypatch.setattr(attention, "attend", worse)
    with pytest.raises(ValueError, match=r"in bfloat16 the result is off by .* at 9,600 keys"):
        selftest._attention(torch.device("cpu"))
    assert types == [torch.bfloat16]


def test_the_command_line_prints_it_and_ends_with_one_for_problems(folder: LocalFolder) -> None:
    paths = os.pathsep.join(filter(None, sys.path))
    done = run_python("-m", "trellis_addon", "local", "doctor", "--no-self-test", PYTHONPATH=paths)
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("TRELLIS.2 for Blender") and "PROBLEM" in done.stdout
    assert not done.stderr.strip()
