"""Weights that come from a mirror with a list, the hub, or a folder, under which terms, and not at all offline."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_weights
from conftest import PATIENCE, ROOT, sentence
from small_weights import ALL, SHAPE, TERMS, hash_of, published, relative, safetensors, states
from weights_mirror import Mirror, Request

from trellis_addon.core.errors import Cancelled, EngineError, OfflineError
from trellis_addon.core.progress import Progress
from trellis_addon.weights import published as weights_list
from trellis_addon.weights.fetching import disk_use, fetch, missing_bytes, origins, remove, verify
from trellis_addon.weights.licences import LICENCES, LicenceError, accept, accepted
from trellis_addon.weights.manifest import (
    MANIFEST_FILE,
    check_path,
    make_manifest,
    read_manifest,
    write_manifest,
)
from trellis_addon.weights.published import BY_KEY, DINOV3, DINOV3_OPEN, GROUPS, TRELLIS2, needed

alone, copy, mirror, hub = small_weights.alone, small_weights.copy, small_weights.mirror, small_weights.hub


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
