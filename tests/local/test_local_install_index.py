"""Which wheels are wanted, and where they are found: the lock, pip's settings, package indexes of all kinds."""

from __future__ import annotations

import hashlib
import importlib
import itertools
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, sentence
from tiny_index import make_wheel
from weights_mirror import Mirror, serving

from trellis_addon.core.errors import Cancelled, EngineError
from trellis_addon.core.progress import Progress
from trellis_addon.local.environment import default_index, index
from trellis_addon.local.environment.builds import BUILDS, TORCH_VERSION, TorchBuild
from trellis_addon.local.environment.index import Finder
from trellis_addon.local.environment.lock import (
    Wanted,
    Wheel,
    best_wheel,
    installer,
    load_lock,
    select,
    tags_of,
    unpacked_size,
    wanted_by,
)
from trellis_addon.local.environment.pip_settings import PUBLIC_INDEX, PipSettings, pip_settings
from trellis_addon.local.environment.python import VERSIONS, Python, managed_python
from trellis_addon.local.machine.hardware import Machine
from trellis_addon.transfer.client import make_client

CPU = BUILDS["linux", "x86_64"]["cpu"]
LINUX = Machine("linux", "x86_64")


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_PAUSES", (0.01, 0.01))


def python_of(version: str, machine: Machine) -> Python:
    """The Python that a machine of another kind would have, with the wheels that it would take."""
    from packaging import tags

    platforms = {
        ("linux", "x86_64"): [f"manylinux_2_{minor}_x86_64" for minor in range(39, 4, -1)] + ["manylinux2014_x86_64"],
        ("linux", "arm64"): [f"manylinux_2_{minor}_aarch64" for minor in range(39, 4, -1)] + ["manylinux2014_aarch64"],
        ("windows", "x86_64"): ["win_amd64"],
        ("macos", "arm64"): [
            f"macosx_{major}_0_{arch}" for major in range(15, 10, -1) for arch in ("arm64", "universal2")
        ],
    }[machine.system, machine.arch]
    minor = int(version.split(".")[1])
    names = tags.cpython_tags((3, minor), [f"cp3{minor}"], platforms)
    more = tags.compatible_tags((3, minor), f"cp3{minor}", platforms)
    markers = dict(managed_python(machine).markers) | {"python_version": version, "python_full_version": f"{version}.5"}
    return Python("", f"{version}.5", tuple(markers.items()), tuple(map(str, itertools.chain(names, more))))


LINUX_311 = python_of("3.11", LINUX)


# --- the lock ---


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("system", [system for system in BUILDS if system != ("windows", "arm64")])
def test_there_is_a_wheel_of_everything_for_everybody(system: tuple[str, str], version: str) -> None:
    machine = Machine(*system)
    python = python_of(version, machine)
    tool = installer(load_lock(), python)
    assert tool is not None and tool.wheel is not None and tool.name == "uv"
    for build in BUILDS[system].values():
        wanted = select(load_lock(), python, build)
        names = [one.name for one in wanted]
        assert len(names) == len(set(names)) and "uv" not in names
        assert {"torch", "numpy", "scipy", "httpx", "uvicorn", "warp-lang", "onnxruntime", "packaging"} <= set(names)
        torch = next(one for one in wanted if one.name == "torch")
        assert torch.version == build.version
        # only the default index's build for Linux comes in pieces that the lock knows
        is_cuda = system[0] == "linux" and build.key == "cuda"
        assert any(name.startswith("nvidia-") for name in names) == is_cuda == ("triton" in names)
        assert all(one.wheel is not None for one in wanted if one.name != "torch")
        assert (torch.wheel is not None) or build.index
        assert sum(one.wheel.size for one in wanted if one.wheel) > (1.5e9 if is_cuda else 1e8)


def test_every_wheel_has_a_size_and_a_checksum() -> None:
    for package in load_lock():
        for wheel in package.wheels:
            assert wheel.size > 0 and len(wheel.sha256) == 64 and wheel.file.endswith(".whl")
            assert "" not in tags_of(wheel.file)


@pytest.mark.checkout
def test_the_lock_answers_the_project() -> None:
    make_lock = importlib.import_module("make_lock")
    assert make_lock.missing() == [], "python tools/make_lock.py writes it anew"
    locked = json.loads(make_lock.TARGET.read_text())
    tested = importlib.import_module("environments").TORCH
    assert tested == f"torch=={TORCH_VERSION}"
    assert locked["torch"] == TORCH_VERSION and make_lock.written(locked) == make_lock.TARGET.read_text()
    assert make_lock.serves("a-1-cp310-abi3-manylinux2014_x86_64.whl") and make_lock.serves("a-1-py2.py3-none-any.whl")
    for other in (
        "cp311-cp311-musllinux_1_2_x86_64",
        "cp314-cp314t-win_amd64",
        "cp310-cp310-win_amd64",
        "py2-none-any",
    ):
        assert not make_lock.serves(f"a-1-{other}.whl")


def test_the_best_wheel_is_taken() -> None:
    names = [
        "py3-none-any",
        "cp310-abi3-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp312-cp312-win32",
    ]
    wheels = [Wheel(f"a-1-{name}.whl") for name in names] + [Wheel("no wheel at all.whl")]
    for expected in (2, 1, 0):
        assert best_wheel(wheels, LINUX_311) == wheels[expected]
        wheels[expected] = Wheel("x")
    assert best_wheel(wheels, LINUX_311) is None
    with pytest.raises(EngineError, match=r"no markupsafe .* for Python 3\.9") as error:
        select(load_lock(), replace(LINUX_311, version="3.9", tags=("py3-none-any",)), CPU)
    sentence(error.value)


def test_what_a_build_asks_for_besides(tmp_path: Path) -> None:
    requires = (
        "filelock",
        "nvidia-cublas-cu12==12.6.4.1; platform_system == 'Linux'",
        "triton==3.7.1 ; platform_system == 'Linux' and platform_machine == 'x86_64'",
        "pywin32==1.0; platform_system == 'Windows'",
        "optree>=0.13.0; extra == 'optree'",
    )
    name, content = make_wheel("torch", f"{TORCH_VERSION}+cu126", {}, requires=requires)
    (tmp_path / name).write_bytes(content)
    known = [Wanted("filelock", "1", None)]
    more = wanted_by(tmp_path / name, LINUX_311, known)
    assert more == [Wanted("nvidia-cublas-cu12", "12.6.4.1", None), Wanted("triton", "3.7.1", None)]
    name, content = make_wheel("torch", "1", {}, requires=("nvidia-cublas-cu12>=12",))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match="asks for nvidia-cublas-cu12>=12") as error:
        wanted_by(tmp_path / name, LINUX_311, known)
    sentence(error.value)
    (tmp_path / name).write_bytes(b"PK")
    for act in (lambda: wanted_by(tmp_path / name, LINUX_311, known), lambda: unpacked_size(tmp_path / name)):
        with pytest.raises(EngineError, match="is no wheel") as error:
            act()
        sentence(error.value)


# --- pip's settings ---


def test_the_settings_of_pip_and_uv(tmp_path: Path) -> None:
    machine, user = tmp_path / "machine.conf", tmp_path / "user.conf"
    machine.write_text(
        "[global]\nindex-url = https://a/simple\ncert = /ca.pem\nfind_links = /opt/wheels\n  https://l/\n"
    )
    user.write_text(
        "[global]\nextra-index-url = https://b/simple file:///c\n[install]\nindex-url = https://u%40:p@d/s\n"
    )
    files = [tmp_path / "nothing", machine, user]
    assert pip_settings({}, []) == PipSettings(indexes=(PUBLIC_INDEX,))
    assert pip_settings({}, files) == PipSettings(
        ("https://u%40:p@d/s", "https://b/simple", "file:///c"), ("/opt/wheels", "https://l/"), "/ca.pem", ""
    )
    variables = {
        "PIP_INDEX_URL": "https://e",
        "UV_INDEX_URL": "https://f",
        "PIP_PROXY": "http://p:3128",
        "PIP_CERT": "x",
    }
    told = pip_settings(variables, files)
    assert told.indexes[0] == "https://e" and (told.proxy, told.certificate) == ("http://p:3128", "x")
    assert pip_settings({"UV_DEFAULT_INDEX": "https://f", "UV_INDEX": "own=https://g/s?a=b"}, []).indexes == (
        "https://f", "https://g/s?a=b",
    )  # fmt: skip
    assert pip_settings({"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/w"}, files) == PipSettings((), ("/w",), "/ca.pem", "")
    user.write_text("no section\n")
    assert pip_settings({}, files).indexes == ("https://a/simple",), "what pip cannot read either is passed over"


@pytest.mark.skipif(
    os.name != "posix",
    reason="pip's files lie in other places on Windows; what is in them is read alike, by the other tests",
)
def test_pips_files_are_found_where_pip_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    named = tmp_path / "named.conf"
    named.write_text("[global]\nindex-url = https://named\n")
    for folder, url in ((".pip", "https://old"), (".config/pip", "https://user")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pip.conf").write_text(f"[global]\nindex-url = {url}\n")
    assert pip_settings({}).indexes[0] == "https://user"
    assert pip_settings({"PIP_CONFIG_FILE": str(named)}).indexes[0] == "https://named"
    assert pip_settings({"PIP_CONFIG_FILE": os.devnull}).indexes == (PUBLIC_INDEX,)


def test_the_index_that_nobody_names_is_pips_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    public = pytest.importorskip("pip._internal.models.index").PyPI.simple_url
    default_index._asked.cache_clear()
    monkeypatch.setenv("PIP_INDEX_URL", "https://elsewhere/simple")
    assert default_index.default_index() == public

    brought = [way for way in default_index._pips() if way[-1].endswith(".whl/pip")]
    for ways in (brought, []):  # of a Python without pip, and of one that does not even bring it along
        default_index._asked.cache_clear()
        monkeypatch.setattr(default_index, "_pips", lambda ways=ways: iter([["no-such-program"], *ways]))
        if ways:
            assert default_index.default_index() == public
    with pytest.raises(EngineError, match="PIP_INDEX_URL") as caught:
        default_index.default_index()
    sentence(caught.value)
    default_index._asked.cache_clear()


@pytest.mark.checkout
def test_no_line_names_the_host_of_a_package_registry() -> None:
    host = ".".join(("pypi", "org"))
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md", "*.toml"], cwd=ROOT, capture_output=True, text=True)
    assert not [name for name in listed.stdout.split() if host in (ROOT / name).read_text(encoding="utf-8")]


# --- indexes ---

TORCH = Wanted("torch", f"{TORCH_VERSION}+cpu", None)
GOOD = f"torch-{TORCH_VERSION}+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"
DIGEST = "ab" * 32


def find(wanted: Wanted, build: TorchBuild = CPU, **settings: tuple[str, ...]) -> object:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        return Finder(PipSettings(**settings), client).find(wanted, LINUX_311, build)


def page(*links: str) -> bytes:
    return ("<!doctype html><body>" + "".join(f"<a href='{link}'>x</a>\n" for link in links)).encode()


def test_a_page_of_links() -> None:
    escaped = GOOD.replace("+", "%2B")
    others = [GOOD.replace("cp311", "cp312"), GOOD.replace("+cpu", ""), f"torch-{TORCH_VERSION}+cpu.tar.gz"]
    body = page(*others, f"../../f/{escaped}#sha256={DIGEST}&x=y")
    with serving(
        Mirror({"simple/torch/": body, "based/torch/": body.replace(b"<body>", b"<base href='/b/c/d/'>")})
    ) as mirror:
        found = find(TORCH, indexes=(f"{mirror.url}/simple/",))
        assert (found.url, found.path) == (f"{mirror.url}/f/{escaped}", None)
        assert found.wheel == Wheel(GOOD, 0, DIGEST)
        assert find(TORCH, indexes=(f"{mirror.url}/based",)).url == f"{mirror.url}/b/f/{escaped}"
        assert "application/vnd.pypi.simple.v1+json" in mirror.requests[0].headers["accept"]
        login = find(TORCH, indexes=(mirror.url.replace("http://", "http://me:secret@") + "/simple",))
        assert login.url == f"{mirror.url}/f/{escaped}".replace("http://", "http://me:secret@")
        assert mirror.requests[-1].headers["authorization"].startswith("Basic ")


def test_json() -> None:
    files = [
        {"filename": GOOD, "url": "../../packages/x.whl", "hashes": {"sha256": DIGEST}, "size": 7},
        {"filename": "torch-2.tar.gz", "url": "https://elsewhere/torch-2.tar.gz", "hashes": {}},
    ]
    with serving(Mirror({"simple/torch/": json.dumps({"files": files}).encode()})) as mirror:
        mirror.headers = {"Content-Type": "application/vnd.pypi.simple.v1+json"}
        found = find(TORCH, indexes=(f"{mirror.url}/simple",))
        assert found.wheel == Wheel(GOOD, 7, DIGEST) and found.url == f"{mirror.url}/packages/x.whl"
        for broken in (b"{}", b"[]", b'{"files": [{}]}', b"<html>", b'{"files": 7}'):
            mirror.files["simple/torch/"] = broken
            with pytest.raises(EngineError, match="is no package index") as error:
                find(TORCH, replace(CPU, index=""), indexes=(f"{mirror.url}/simple",))
            sentence(error.value)


def test_the_nearest_place_is_taken_and_one_that_fails_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / GOOD).write_bytes(b"x")
    with serving(Mirror({"simple/torch/": page(f"{GOOD}#sha256={DIGEST}")})) as mirror:
        near = find(TORCH, find_links=(str(tmp_path),), indexes=(f"{mirror.url}/simple",))
        assert near.path == tmp_path / GOOD and not mirror.requests
        there = (
            f"file://{tmp_path}/nothing",
            "http://127.0.0.1:9/simple",
            f"{mirror.url}/none",
            f"{mirror.url}/simple",
        )
        assert find(TORCH, indexes=there).url == f"{mirror.url}/simple/torch/{GOOD}"
        # PyTorch's own index is asked last, and only for what is PyTorch's
        own = replace(CPU, index=f"{mirror.url}/simple")
        assert find(TORCH, own, indexes=()).url.endswith(GOOD)
        with pytest.raises(EngineError, match="No package index has x.whl"):
            find(Wanted("torch", TORCH_VERSION, Wheel("x.whl")), own, indexes=(f"{mirror.url}/none",))


def test_a_file_address_of_an_index(tmp_path: Path) -> None:
    folder = tmp_path / "my index" / "torch"
    folder.mkdir(parents=True)
    (folder / GOOD).write_bytes(b"x")
    address = (tmp_path / "my index").as_uri()
    assert find(TORCH, indexes=(address,)).path == folder / GOOD
    (folder / "index.html").write_bytes(page(f"sub/{GOOD}#sha256={DIGEST}"))
    found = find(TORCH, indexes=(address,))
    assert found.path == folder / "sub" / GOOD and found.wheel.sha256 == DIGEST


def test_a_wheel_of_the_lock_is_that_wheel() -> None:
    wheel = Wheel(GOOD, 5, hashlib.sha256(b"mine!").hexdigest())
    with serving(Mirror({"s/torch/": page(f"{GOOD}#sha256={DIGEST}", GOOD.replace("2_28", "2_29"))})) as mirror:
        assert find(replace(TORCH, wheel=wheel), indexes=(f"{mirror.url}/s",)).wheel == wheel
        with pytest.raises(EngineError, match="has no|No package index has"):
            find(
                replace(TORCH, wheel=replace(wheel, file="torch-9.whl")),
                replace(CPU, index=""),
                indexes=(f"{mirror.url}/s",),
            )


def test_what_nobody_vouches_for_is_not_taken() -> None:
    with serving(Mirror({"s/torch/": page(GOOD)})) as mirror:
        with pytest.raises(EngineError, match="tells the checksum") as error:
            find(TORCH, replace(CPU, index=""), indexes=(f"{mirror.url}/s",))
        sentence(error.value)


def test_refusals_are_sentences_without_the_password() -> None:
    with serving(Mirror({})) as mirror:
        for status in (401, 403, 500, 503):
            mirror.refusals = [(status, {})] * 3
            with pytest.raises(EngineError, match=f"answers {status}") as error:
                find(TORCH, replace(CPU, index=""), indexes=(mirror.url.replace("//", "//me:secret@"),))
            assert "secret" not in sentence(error.value)


def test_looking_can_be_cancelled() -> None:
    with serving(Mirror({})) as mirror, httpx.Client(trust_env=False) as client:
        finder = Finder(PipSettings((mirror.url,)), client)
        with pytest.raises(Cancelled):
            finder.find_all([TORCH] * 50, LINUX_311, CPU, Progress(is_cancelled=lambda: True))


def test_what_did_not_answer_is_asked_again_and_a_dead_host_only_once() -> None:
    with serving(Mirror({"s/torch/": page(f"{GOOD}#sha256={DIGEST}")})) as mirror:
        mirror.refusals = [(503, {}), (500, {})]
        assert find(TORCH, indexes=(f"{mirror.url}/s",)).wheel.sha256 == DIGEST
        mirror.refusals, mirror.requests = [(503, {})] * 99, []
        with httpx.Client(trust_env=False) as client:
            finder = Finder(PipSettings((f"{mirror.url}/s",)), client)
            for name in ("torch", "numpy", "scipy"):
                with pytest.raises(EngineError, match="answers 503"):
                    finder.find(replace(TORCH, name=name), LINUX_311, replace(CPU, index=""))
        assert len(mirror.requests) == 3


def test_a_proxy_of_pips_is_used() -> None:
    # a proxy is asked for whole addresses, of which the server takes off the first letter
    pages = {"ttp://index.invalid/s/torch/": page(f"{GOOD}#sha256={DIGEST}")}
    with serving(Mirror(pages)) as mirror, make_client(proxy=mirror.url) as client:
        finder = Finder(PipSettings(("http://index.invalid/s",)), client)
        assert finder.find(TORCH, LINUX_311, CPU).url == f"http://index.invalid/s/torch/{GOOD}"
