"""Weights that are there: states, removing, two that fetch at once; lists of strangers; the command, the engine."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import small_weights
from conftest import ROOT, sentence
from small_weights import ALL, SHAPE, TERMS, relative, states
from weights_mirror import Mirror

from trellis_addon.cli import weights as weights_cli
from trellis_addon.core.errors import EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.weights.fetching import disk_use, fetch, missing_bytes, remove, status, verify
from trellis_addon.weights.licences import LICENCES, LicenceError, accept
from trellis_addon.weights.manifest import (
    MANIFEST_FILE,
    check_path,
    make_manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from trellis_addon.weights.place import fetch_weights, weights_folder
from trellis_addon.weights.published import GROUPS, needed

alone, copy, mirror, hub = small_weights.alone, small_weights.copy, small_weights.mirror, small_weights.hub


def test_states_of_what_is_there(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    fetch(folder, ALL, mirror.url, TERMS)
    body = (folder / SHAPE).read_bytes()
    (folder / SHAPE).write_bytes(body[:-1])
    found = {s.group.key: s for s in status(folder)}["shape_512"]
    assert found.state == "damaged" and "bytes in place of" in found.problem and found.problem.endswith(".")
    (folder / SHAPE).write_bytes(b"\xff" * len(body))
    assert "no safetensors file" in {s.group.key: s for s in status(folder)}["shape_512"].problem
    (folder / SHAPE).write_bytes(struct.pack("<Q", 2) + b"{}" + body[10:])
    assert "do not fill" in {s.group.key: s for s in status(folder)}["shape_512"].problem
    (folder / SHAPE).unlink()
    assert states(folder)["shape_512"] == "part"  # its JSON is there
    (folder / SHAPE).with_suffix(".json").unlink()
    assert states(folder)["shape_512"] == "missing"
    (folder / f"{SHAPE}.part").write_bytes(b"12345")
    part = {s.group.key: s for s in status(folder)}["shape_512"]
    assert (part.state, part.have) == ("part", 5) and part.size > 3000
    assert missing_bytes(folder, ALL) == part.size - 5


def test_verifying_finds_what_sizes_do_not_and_fetching_mends_it(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    fetch(folder, ALL, mirror.url, TERMS)
    body = bytearray((folder / SHAPE).read_bytes())
    body[-10] ^= 1
    (folder / SHAPE).write_bytes(body)
    assert states(folder)["shape_512"] == "complete"
    shares: list[float] = []
    problems = verify(folder, Progress(lambda stage, share: shares.append(share)))
    assert [problem.path for problem in problems] == [SHAPE] and problems[0].text.endswith(".")
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert states(folder)["shape_512"] == "damaged"
    mirror.files[SHAPE], good = b"", mirror.files[SHAPE]
    with pytest.raises(EngineError):
        fetch(folder, ALL, mirror.url)
    assert states(folder)["shape_512"] == "damaged"  # as long as there is nothing better
    mirror.files[SHAPE] = good
    mirror.requests.clear()
    fetch(folder, ALL, mirror.url)
    assert [request.path for request in mirror.requests] == [MANIFEST_FILE, SHAPE]
    assert states(folder)["shape_512"] == "complete" and verify(folder) == ()


def test_own_copy_without_a_record_is_judged_by_what_is_published(copy: Path) -> None:
    found = {s.group.key: s for s in status(copy)}
    assert found["shape_512"].state == "damaged"  # the published file is larger
    assert {problem.path for problem in verify(copy)} >= {SHAPE}
    write_manifest(copy, make_manifest(copy))
    assert set(states(copy).values()) == {"complete"}


def test_removing_one_by_one_leaves_nothing(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    fetch(folder, ALL, mirror.url, TERMS)
    for ending in (".part", ".part.json", ".lock"):
        (folder / f"{SHAPE}{ending}").write_bytes(b"123")
    before = disk_use(folder)
    freed = remove(folder, "shape_512")
    assert states(folder)["shape_512"] == "missing" and not list(folder.glob("ckpts/*img2shape*512*"))
    assert freed == len(mirror.files[SHAPE]) + len(mirror.files[SHAPE.replace("safetensors", "json")]) + 9
    assert before - freed - 600 < disk_use(folder) <= before - freed  # the record is shorter too
    (folder / "ckpts" / "mine.txt").write_text("the user's own", encoding="utf-8")
    for group in GROUPS:
        remove(folder, group.key)
    assert relative(folder) == {"licences.json", "ckpts/mine.txt"}
    assert {path.name for path in folder.iterdir()} == {"licences.json", "ckpts"}
    with pytest.raises(EngineError, match="no group"):
        remove(folder, "../..")


def test_two_that_fetch_into_one_folder_know_of_each_other(mirror: Mirror, tmp_path: Path) -> None:
    folder, failures = tmp_path / "weights", []
    accept(folder, TERMS)
    mirror.rate = 2e5

    def get(groups: tuple[str, ...]) -> None:
        try:
            fetch(folder, groups, mirror.url)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=get, args=(needed([side]),)) for side in (512, 1024)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {key for key, state in states(folder).items() if state == "complete"} == set(needed())
    assert not [path for path in relative(folder) if ".part" in path or ".lock" in path]


def test_folder_that_cannot_be_written_to(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file where the folder should be", encoding="utf-8")
    for groups, terms in ((["core"], ()), (["dinov3"], TERMS)):
        with pytest.raises(EngineError) as caught:
            fetch(tmp_path / "weights", groups, mirror.url, terms)
        assert "cannot be written to" in sentence(caught.value)


# Lists of strangers


@pytest.mark.parametrize(
    "path",
    [
        "../x.json",
        "a/../../x.json",
        "/etc/x.json",
        "C:/x.json",
        "C:x.json",
        "a\\..\\x.json",
        "\\\\server\\x.json",
        "a//x.json",
        "./x.json",
        "a/./x.json",
        "nul.json",
        "a/CON.json",
        "com1.safetensors",
        "LPT9",
        "x.json.",
        "x.json ",
        " x.json",
        "a./x.json",
        ".hidden/x.json",
        "x.json:stream",
        "x\n.json",
        "x\0.json",
        "x?.json",
        "weights.json",
        "licences.json",
        "m.safetensors.part.json",
        "model.bin",
        "model.pt",
        "model.ckpt",
        "model.pkl",
        "model.py",
        "model",
        "run.sh",
        "x.json/",
        "",
        "a" * 300 + ".json",
        f"{'a' * 130}/x.json",
        None,
        5,
        ["x.json"],
    ],
)
def test_paths_that_lead_elsewhere_or_hold_code_are_refused(path: Any) -> None:
    with pytest.raises(EngineError) as caught:
        check_path(path, "the list")
    sentence(caught.value)
    entry = {"path": path, "size": 1, "sha256": "0" * 64}
    with pytest.raises(EngineError):
        parse_manifest(json.dumps({"format": "trellis2-weights", "version": 1, "files": [entry]}).encode(), "the list")


@pytest.mark.parametrize("path", ["pipeline.json", "a/b/c.safetensors", "birefnet.onnx", "LICENSE", "x/LICENSE.md"])
def test_plain_paths_are_taken(path: str) -> None:
    assert check_path(path, "the list") == path


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"format": "another", "version": 1, "files": []}',
        b'{"format": "trellis2-weights", "version": 2, "files": []}',
        b'{"format": "trellis2-weights", "version": 1, "files": {}}',
        b'{"format": "trellis2-weights", "version": 1, "files": [5]}',
        b'{"format": "trellis2-weights", "version": 1, "files": [{"path": "a.json", "size": -1, "sha256": ""}]}',
        b'{"format": "trellis2-weights", "version": 1, "files": [{"path": "a.json", "size": 1e300, "sha256": ""}]}',
        b'{"format": "trellis2-weights", "version": 1, "files": [{"path": "a.json", "size": 1, "sha256": "xyz"}]}',
        json.dumps(
            {
                "format": "trellis2-weights",
                "version": 1,
                "files": [{"path": p, "size": 1, "sha256": "0" * 64} for p in ("A.json", "a.json")],
            }
        ).encode(),
        json.dumps({"format": "trellis2-weights", "version": 1, "files": [{}] * 1001}).encode(),
    ],
)
def test_lists_that_are_none_are_refused(told: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        parse_manifest(told, "the list")
    sentence(caught.value)


def test_list_without_hashes_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    listed = json.loads(mirror.files[MANIFEST_FILE])
    listed["files"][0]["sha256"] = ""
    mirror.files[MANIFEST_FILE] = json.dumps(listed).encode()
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", ["core"], mirror.url)
    assert "SHA-256" in sentence(caught.value)


# The command line, and the engine


def test_commands(mirror: Mirror, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "weights")
    assert weights_cli.main(["manifest", str(copy), "--name", "Ours"]) == 0
    assert "DINOv3 may be passed on" in capsys.readouterr().out
    assert read_manifest(copy).name == "Ours"
    with pytest.raises(LicenceError):
        weights_cli.main(["fetch", "--weights", folder, "--source", mirror.url, "--resolution", "512"])
    options = ["fetch", "--weights", folder, "--source", mirror.url, "--resolution", "512,1024", "--accept", "dinov3"]
    assert weights_cli.main(options) == 0
    out = capsys.readouterr().out
    assert LICENCES["dinov3"].text in out and "Small test model" in out
    assert weights_cli.main(["list", "--weights", folder]) == 0
    out = capsys.readouterr().out
    assert "resolution 1536: there" in out and "mask          missing" in out and "Built with DINOv3" in out
    assert weights_cli.main(["verify", "--weights", folder]) == 0
    assert weights_cli.main(["remove", "--weights", folder, "texture_512"]) == 0
    assert states(Path(folder))["texture_512"] == "missing"
    (Path(folder) / SHAPE).write_bytes(b"")
    assert weights_cli.main(["verify", "--weights", folder]) == 1
    assert weights_cli.main(["remove", "--weights", folder, "all"]) == 0
    assert relative(Path(folder)) == {"licences.json"}
    for wrong in (["fetch", "--resolution", "640"], ["fetch", "--group", "x"], ["remove", "x"], []):
        with pytest.raises(SystemExit):
            weights_cli.main(wrong)


def test_engine_finds_what_was_fetched(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRELLIS2_LOCAL", str(tmp_path / "local"))
    monkeypatch.setenv("TRELLIS2_HOME", str(tmp_path / "home"))
    assert weights_folder() is None
    with pytest.raises(LicenceError):
        fetch_weights(Progress(), source=mirror.url)
    folder = fetch_weights(Progress(), accepted=TERMS, source=mirror.url)
    assert weights_folder() == folder == tmp_path / "local" / "weights"
    assert (tmp_path / "local" / "trellis2-local.json").is_file()  # the folder is ours
    monkeypatch.setenv("TRELLIS2_WEIGHTS", str(tmp_path / "elsewhere"))
    assert weights_folder() is None


def test_nothing_is_written_outside_the_folder(mirror: Mirror, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    confined = {
        name: str(home) for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "HF_HOME")
    }
    code = "import sys; from trellis_addon.cli.weights import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["fetch", "--weights", str(tmp_path / "weights"), "--source", mirror.url, "--accept", "dinov3"]
    environment = {**os.environ, **confined, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    assert states(tmp_path / "weights")["core"] == "complete"
    assert not any(home.iterdir())
