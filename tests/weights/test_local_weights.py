"""The weights: what is needed, what is there, from the hub, a mirror and a folder, under which terms; hostile lists."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE, ROOT, sentence
from weights_mirror import Mirror, Request, serving

from trellis_addon.cli import weights as weights_cli
from trellis_addon.core.errors import Cancelled, EngineError, OfflineError
from trellis_addon.core.progress import Progress
from trellis_addon.transfer import file as download_file
from trellis_addon.transfer import small as download_small
from trellis_addon.weights import published as weights_list
from trellis_addon.weights.fetching import disk_use, fetch, missing_bytes, origins, remove, status, verify
from trellis_addon.weights.licences import LICENCES, LicenceError, accept, accepted
from trellis_addon.weights.manifest import (
    MANIFEST_FILE,
    check_path,
    make_manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from trellis_addon.weights.place import fetch_weights, weights_folder
from trellis_addon.weights.published import BY_KEY, DINOV3, DINOV3_OPEN, GROUPS, TRELLIS2, WeightFile, needed

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
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


# What there is


def test_published_files_are_those_that_the_model_needs() -> None:
    sizes = {key: round(group.size / 1e9, 1) for key, group in BY_KEY.items()}
    assert sizes["core"] == 4.5 and sizes["shape_512"] == 2.6 and sizes["dinov3"] == 1.2 and sizes["mask"] == 1.0
    assert round(sum(BY_KEY[key].size for key in needed()) / 1e9, 1) == 16.2
    assert needed([512]) == ("core", "structure", "dinov3", "shape_512", "texture_512")
    assert (
        needed([1536]) == needed([1024]) == ("core", "structure", "dinov3", "shape_512", "shape_1024", "texture_1024")
    )
    assert needed([], mask=True, texturing=True) == ("mask", "texturing")
    with pytest.raises(EngineError, match="2048"):
        needed([2048])
    for file in (file for group in GROUPS for file in group.files):
        assert check_path(file.path, "the list") == file.path
        assert file.sha256 == "" or len(file.sha256) == 64
        assert file.size is None or file.sha256, file.path
    assert {LICENCES[group.licence].name for group in GROUPS} == {"MIT", "DINOv3 License"}


def test_empty_and_absent_folders_have_nothing(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        assert set(states(folder).values()) == {"missing"}
        assert disk_use(folder) == 0 and origins(folder) == () and verify(folder) == ()
        assert missing_bytes(folder, needed([512])) == sum(BY_KEY[key].size for key in needed([512]))
        assert remove(folder, "core") == 0
    assert not (tmp_path / "absent").exists()


# A mirror with a list


def test_only_what_a_resolution_needs_comes_from_a_mirror(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    awake: list[str] = []
    monkeypatch.setattr("trellis_addon.core.machine.awake._hold", awake.append)
    folder, words = tmp_path / "weights", []
    title = fetch(folder, needed([512]), mirror.url, TERMS, Progress(lambda stage, share: words.append((stage, share))))
    assert title == f"Small test model ({mirror.url})" and origins(folder) == (title,)
    assert awake == ["downloading weights"]
    wanted = {file.path for key in needed([512]) for file in BY_KEY[key].variants[0]}
    assert relative(folder) == wanted | {MANIFEST_FILE, "licences.json"}
    assert all((folder / path).read_bytes() == mirror.files[path] for path in wanted)
    found = states(folder)
    assert {key for key, state in found.items() if state == "complete"} == set(needed([512]))
    assert {found[key] for key in ("shape_1024", "texture_1024", "mask", "texturing")} == {"missing"}
    shares = [share for _, share in words]
    assert shares == sorted(shares) and shares[-1] == 1
    assert verify(folder) == ()
    # the same again asks for nothing but the list; more asks for what is new
    mirror.requests.clear()
    fetch(folder, needed([512]), mirror.url + "/")
    assert [request.path for request in mirror.requests] == [MANIFEST_FILE]
    fetch(folder, ALL, f"{mirror.url}/{MANIFEST_FILE}")
    assert set(states(folder).values()) == {"complete"}


def test_password_in_an_address_is_not_written_down(mirror: Mirror, tmp_path: Path) -> None:
    address, stages = mirror.url.replace("//", "//studio:secret@"), []
    mirror.rate = 1e4
    part = Progress(lambda stage, share: stages.append(stage), lambda: bool(list(tmp_path.rglob("*.part.json"))))
    with pytest.raises(Cancelled):
        fetch(tmp_path / "weights", ["core"], address, progress=part)
    assert "secret" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*.json")) + str(stages)
    mirror.rate = 0
    assert "secret" not in fetch(tmp_path / "weights", ["core"], address)
    assert all(request.headers["authorization"].startswith("Basic ") for request in mirror.requests)
    mirror.files[MANIFEST_FILE] = b"{}"
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", ["core"], address)
    assert "secret" not in sentence(caught.value)


def test_bad_line_does_not_keep_the_weights_from_coming(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cuts = [10**6, 1500, 700, 3, 2999, 100, 1, 2000]  # the list itself comes whole
    mirror.damaged = {SHAPE: 1, "ckpts/tex_dec_next_dc_f16c32_fp16.json": 1}
    mirror.refusals = [(503, {}), (429, {"Retry-After": "0"})]
    mirror.rate = 5e5
    fetch(tmp_path / "weights", ALL, mirror.url, TERMS)
    assert set(states(tmp_path / "weights").values()) == {"complete"}
    assert verify(tmp_path / "weights") == ()


def ranged(mirror: Mirror) -> list[Request]:
    return [request for request in mirror.requests if request.headers.get("range")]


def test_cancelled_and_killed_fetches_go_on(copy: Path, mirror: Mirror, tmp_path: Path) -> None:
    folder, part = tmp_path / "weights", tmp_path / "weights" / f"{SHAPE}.part"
    (copy / SHAPE).write_bytes(safetensors(60_000))  # one that takes so long that it is always the one under way
    write_manifest(copy, make_manifest(copy, "Small test model"))
    mirror.files |= {name: (copy / name).read_bytes() for name in (SHAPE, MANIFEST_FILE)}
    mirror.rate = 1e4

    def in_the_middle() -> bool:
        return disk_use(folder) > 12_000 and any(request.sent > 1000 for request in mirror.asked(SHAPE))

    with pytest.raises(Cancelled):
        fetch(folder, ALL, mirror.url, TERMS, Progress(is_cancelled=in_the_middle))
    assert not (folder / "pipeline.json").exists()  # not a model before it is whole
    cancelled = part.stat().st_size
    assert 0 < cancelled < 60_000
    whole = relative(folder) & {file.path for group in GROUPS for file in group.files}
    mirror.requests.clear()
    code = "import sys; from trellis_addon.cli.weights import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["fetch", "--weights", str(folder), "--source", mirror.url, "--mask", "--texturing"]
    with subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        end = time.monotonic() + PATIENCE
        while not in_the_middle():
            assert time.monotonic() < end and child.poll() is None
            time.sleep(0.01)
        child.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    assert [request.headers.get("range") for request in mirror.asked(SHAPE)] == [f"bytes={cancelled}-"]
    assert "part" in states(folder).values()
    killed = part.stat().st_size
    assert cancelled <= killed < 60_000
    mirror.rate = 0
    fetch(folder, ALL, mirror.url)
    assert mirror.asked(SHAPE)[-1].headers["range"] == f"bytes={killed}-"
    assert set(states(folder).values()) == {"complete"}
    assert not [path for path in relative(folder) if ".part" in path or ".lock" in path]
    assert whole and not whole & {request.path for request in mirror.requests}


def test_damage_that_stays_is_told_and_the_rest_is_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.damaged = {SHAPE: 9}
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", ALL, mirror.url, TERMS)
    assert Path(SHAPE).name in sentence(caught.value) and "damaged" in str(caught.value)
    mirror.damaged = {}
    fetch(tmp_path / "weights", ALL, mirror.url)
    assert set(states(tmp_path / "weights").values()) == {"complete"}


def test_list_that_lies_about_a_kind_of_file_is_found_out(mirror: Mirror, tmp_path: Path) -> None:
    body = b"\x80\x04\x95" + b"a pickle" * 100
    mirror.files[SHAPE] = body
    listed = json.loads(mirror.files[MANIFEST_FILE])
    entry = next(entry for entry in listed["files"] if entry["path"] == SHAPE)
    entry |= {"size": len(body), "sha256": hash_of(body)}
    mirror.files[MANIFEST_FILE] = json.dumps(listed).encode()
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", ["shape_512"], mirror.url)
    assert "no safetensors file" in sentence(caught.value)
    assert not (tmp_path / "weights" / SHAPE).exists()


def test_mirror_that_lacks_a_group_says_so(mirror: Mirror, tmp_path: Path) -> None:
    listed = json.loads(mirror.files[MANIFEST_FILE])
    listed["files"] = [entry for entry in listed["files"] if entry["path"] != SHAPE]
    mirror.files[MANIFEST_FILE] = json.dumps(listed).encode()
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", needed([512]), mirror.url, TERMS)
    assert SHAPE in sentence(caught.value)


def test_licence_texts_of_a_mirror_come_along_and_go_with_the_last_group(
    mirror: Mirror, copy: Path, tmp_path: Path
) -> None:
    (copy / DINOV3 / "LICENSE.md").write_text("terms", encoding="utf-8")
    write_manifest(copy, make_manifest(copy))
    for path in (f"{DINOV3}/LICENSE.md", MANIFEST_FILE):
        mirror.files[path] = (copy / path).read_bytes()
    folder = tmp_path / "weights"
    fetch(folder, ["dinov3", "structure"], mirror.url, TERMS)
    assert (folder / DINOV3 / "LICENSE.md").read_text(encoding="utf-8") == "terms"
    remove(folder, "structure")
    assert (folder / DINOV3 / "LICENSE.md").exists()
    remove(folder, "dinov3")
    assert relative(folder) == {"licences.json"}


# The hub


def test_hub_gives_the_open_dinov3_without_a_token(hub: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    fetch(folder, ALL, "", TERMS)
    assert set(states(folder).values()) == {"complete"}
    assert (folder / DINOV3_OPEN / "model.safetensors").is_file() and not (folder / DINOV3).exists()
    assert (folder / "birefnet.onnx").is_file()
    assert all("authorization" not in request.headers for request in hub.requests)
    pinned = weights_list.REVISIONS[TRELLIS2]
    assert hub.asked(f"{TRELLIS2}/resolve/{pinned}/pipeline.json")
    assert verify(folder) == () and origins(folder)[0].startswith("127.0.0.1")
    assert read_manifest(folder).by_path[f"{DINOV3_OPEN}/model.safetensors"].sha256  # told by the hub


def test_hub_gives_the_official_dinov3_to_those_who_may(
    hub: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(tmp_path / "weights", ["core", "dinov3"], "", TERMS)
    assert (tmp_path / "weights" / DINOV3 / "model.safetensors").is_file()
    assert not (tmp_path / "weights" / DINOV3_OPEN).exists()
    # nobody else's files are asked for with it: an expired token would shut out what is open
    with_token = {r.path for r in hub.requests if r.headers.get("authorization") == "Bearer hf_secret"}
    assert with_token and all(DINOV3 in path for path in with_token)
    assert b"hf_secret" not in b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_dinov3_that_is_there_is_not_fetched_as_the_other_one(
    hub: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("HF_TOKEN", "hf_secret")
        fetch(tmp_path / "weights", ["dinov3"], "", TERMS)
    hub.requests.clear()
    fetch(tmp_path / "weights", ["dinov3"], "")
    assert not hub.requests and not (tmp_path / "weights" / DINOV3_OPEN).exists()
    # what has come of the other one goes when one is whole
    (tmp_path / "weights" / DINOV3 / "model.safetensors").unlink()
    left = tmp_path / "weights" / DINOV3_OPEN / "model.safetensors.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"123")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(tmp_path / "weights", ["dinov3"], "")
    assert states(tmp_path / "weights")["dinov3"] == "complete" and not (tmp_path / "weights" / "timm").exists()


def test_hub_that_refuses_the_official_dinov3_gives_the_open_one(
    hub: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.refusals = [(403, {})]
    fetch(tmp_path / "weights", ["dinov3"], "", TERMS)
    assert states(tmp_path / "weights")["dinov3"] == "complete"
    assert (tmp_path / "weights" / DINOV3_OPEN).is_dir()


def test_hub_with_another_file_than_this_version_knows(hub: Mirror, tmp_path: Path) -> None:
    listing = f"api/models/{TRELLIS2}/tree/{weights_list.REVISIONS[TRELLIS2]}"
    listed = json.loads(hub.files[listing])
    next(item for item in listed if item["path"] == SHAPE)["lfs"]["oid"] = "1" * 64
    hub.files[listing] = json.dumps(listed).encode()
    with pytest.raises(EngineError) as caught:
        fetch(tmp_path / "weights", ["shape_512"], "")
    assert "another file" in sentence(caught.value)
    assert not (tmp_path / "weights" / SHAPE).exists()


def test_plain_copy_of_the_hub_needs_no_list(hub: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A web address with the hub's layout, without its questions and answers, and with the newest revision only."""
    for path in [path for path in hub.files if path.startswith("api/")]:
        del hub.files[path]
    for path in list(hub.files):
        owner, name, _, _, *place = path.split("/")
        hub.files["/".join([owner, name, "resolve", "main", *place])] = hub.files.pop(path)
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(tmp_path / "weights", ALL, hub.url, TERMS)
    assert set(states(tmp_path / "weights").values()) == {"complete"}
    assert all("authorization" not in request.headers for request in hub.requests)


def test_token_does_not_go_over_an_open_line(hub: Mirror, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("trellis_addon.weights.source._is_safe", lambda address: False)
    fetch(tmp_path / "weights", ["dinov3"], "", TERMS)
    assert all("authorization" not in request.headers for request in hub.requests)


# A folder


def test_weights_come_from_a_folder(copy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    assert fetch(folder, ALL, str(copy), TERMS, allow_network=False) == str(copy)
    assert set(states(folder).values()) == {"complete"}
    assert relative(folder) - {MANIFEST_FILE, "licences.json"} == relative(copy)
    part = tmp_path / "part"
    with pytest.raises(Cancelled):
        fetch(part, ALL, str(copy), TERMS, Progress(is_cancelled=lambda: (part / "texturing_pipeline.json").exists()))
    assert "complete" in states(part).values() and not (part / "pipeline.json").exists()
    write_manifest(copy, make_manifest(copy))
    (copy / SHAPE).write_bytes(safetensors(3000, 99)[:-1] + b"!")
    with pytest.raises(EngineError, match="damaged"):
        fetch(tmp_path / "other", ALL, str(copy), TERMS)


def test_weights_come_from_the_downloads_of_the_hub(tmp_path: Path) -> None:
    for file, body in published(1).values():
        owner, name = file.repository.split("/")
        place = tmp_path / "hub" / f"models--{owner}--{name}" / "snapshots" / "abc" / file.place
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(body)
    for number, source in enumerate(("hub", "hub/models--microsoft--TRELLIS.2-4B/snapshots/abc", ".")):
        fetch(tmp_path / f"weights{number}", ALL, str(tmp_path / source), TERMS)
        assert set(states(tmp_path / f"weights{number}").values()) == {"complete"}


def test_folder_that_has_not_what_is_wanted(copy: Path, tmp_path: Path) -> None:
    (copy / SHAPE).unlink()
    for source, words in ((copy, SHAPE), (tmp_path / "absent", "no folder")):
        with pytest.raises(EngineError) as caught:
            fetch(tmp_path / "weights", ["shape_512"], str(source))
        assert words in sentence(caught.value)


# Terms, and the network


def test_dinov3_waits_for_its_terms(mirror: Mirror, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    with pytest.raises(LicenceError) as caught:
        fetch(folder, needed([512]), mirror.url)
    assert "DINOv3 License" in sentence(caught.value) and caught.value.licence.text in str(caught.value)
    assert not mirror.requests
    fetch(folder, ["core"], mirror.url)  # MIT asks for nothing
    began = time.time()
    accept(folder, TERMS)
    assert began - 2 < accepted(folder)["dinov3"] < time.time() + 2
    told = json.loads((folder / "licences.json").read_text(encoding="utf-8"))["dinov3"]
    assert told["name"] == "DINOv3 License" and told["text"].startswith("https://ai.meta.com/")
    fetch(folder, ["dinov3"], mirror.url)
    assert LICENCES["dinov3"].credit == "Built with DINOv3"
    (folder / "licences.json").write_text("{", encoding="utf-8")
    with pytest.raises(LicenceError):  # lost is not accepted
        fetch(folder, ["dinov3"], mirror.url)
    with pytest.raises(EngineError, match="no licence"):
        accept(folder, ["nobody's"])


def test_nothing_is_asked_for_offline(mirror: Mirror, tmp_path: Path) -> None:
    for source in ("", mirror.url):
        with pytest.raises(OfflineError) as caught:
            fetch(tmp_path / "weights", ["core"], source, allow_network=False)
        assert "Online access" in sentence(caught.value)
    assert not mirror.requests


# What is there


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
