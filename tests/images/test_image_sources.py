"""Where pictures come from: paths as people give them, bytes, web addresses, folders; and their names."""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import disc, sentence
from picture_files import KINDS, file_of, pixels

from trellis_addon.core.addresses import path_of_address
from trellis_addon.core.errors import ImageError, OfflineError
from trellis_addon.images import (
    EXTENSIONS,
    PreparedImage,
    clean_name,
    find_images,
    find_pictures,
    image_kind,
    load_image,
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_gives_the_same_picture(kind: str, tmp_path: Path) -> None:
    data = file_of(kind)
    path = tmp_path / f"My Ünique Box.{kind.lower()}"
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    whole = load_image(path)
    assert isinstance(whole, PreparedImage) and whole.rgba.mode == "RGBA"
    assert whole.name == "My Ünique Box"
    assert whole.cutout == ("studio" if kind == "JPEG" else "alpha")
    if kind != "JPEG":
        assert (pixels(whole.rgba) == pixels(disc(120))).all()
    sources: list[Any] = [
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        text,
        text.rstrip("="),
        "\n".join(text[i : i + 76] for i in range(0, len(text), 76)),
        base64.urlsafe_b64encode(data).decode(),
        f"data:image/{kind.lower()};base64,{text}",
        f"  DATA:image/{kind.lower()};charset=x;BASE64,{text}\n",
    ]
    for source in sources:
        again = load_image(source)
        assert (pixels(again.rgba) == pixels(whole.rgba)).all()
        assert again.sha256 == whole.sha256 and len(whole.sha256) == 64
    assert load_image(data, name="Kiste").name == "Kiste"


def test_what_is_sent_is_what_was_prepared() -> None:
    prepared = load_image(file_of("PNG"))
    again = load_image(prepared.data_uri())
    assert (pixels(again.rgba) == pixels(prepared.rgba)).all()


def test_a_file_whose_name_looks_like_base64_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = "A" * 80
    (tmp_path / name).write_bytes(file_of("PNG"))
    assert image_kind(name) == "base64"
    assert load_image(name).name.startswith("AAAA")
    with pytest.raises(ImageError):
        load_image(name, allow_path=False)


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers: dict[str, tuple[int, bytes]] = {
            "/pictures/Red%20Box.png": (200, file_of("PNG")),
            "/page.png": (200, b"<!DOCTYPE html><html>Not found</html>"),
            "/nothing.png": (200, b""),
            "/cut.png": (200, file_of("PNG")[:200]),
            "/moved.png": (302, b""),
        }
        status, body = answers.get(self.path.partition("?")[0], (404, b"no"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/pictures/Red%20Box.png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_of_web_addresses(site: str) -> None:
    prepared = load_image(f"{site}/pictures/Red%20Box.png?size=large")
    assert prepared.name == "Red Box"
    assert (pixels(prepared.rgba) == pixels(disc(120))).all()
    assert (pixels(load_image(f"{site}/moved.png").rgba) == pixels(disc(120))).all()


@pytest.mark.parametrize(
    ("path", "said"),
    [("gone.png", "404"), ("page.png", "HTML"), ("nothing.png", "empty"), ("cut.png", "cut off")],
)
def test_web_addresses_that_give_no_picture(site: str, path: str, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(f"{site}/{path}")
    sentence(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x.png", "https://", "http://[bad/x.png", "http://a b/x.png", "http://x\u2100y/"]
)
def test_web_addresses_that_lead_nowhere(url: str) -> None:
    with pytest.raises(ImageError) as caught:
        load_image(url)
    sentence(caught.value)


def test_web_addresses_need_online_access(site: str) -> None:
    with pytest.raises(OfflineError, match="Allow Online Access") as caught:
        load_image(f"{site}/pictures/Red%20Box.png", allow_network=False)
    sentence(caught.value)


def test_who_asks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Strict(_Site):
        def do_GET(self) -> None:
            asked.append(self.headers["User-Agent"])
            self.path = "/pictures/Red%20Box.png" if asked[-1].startswith("trellis2-blender/") else "/gone"
            super().do_GET()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Strict)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        load_image(f"http://127.0.0.1:{server.server_port}/a.png")
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) == 1


def test_paths_as_people_give_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a b.png", "c#1?.png", "it's.png", "'q'.png"):
        (tmp_path / name).write_bytes(file_of("PNG"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("PICTURES", str(tmp_path))
    path = str(tmp_path / "a b.png")
    for text, name in (
        ((tmp_path / "a b.png").as_uri(), "a b"),
        ((tmp_path / "a b.png").as_uri().replace("file:///", "FILE://localhost/"), "a b"),
        ("file:" + path.replace(" ", "%20"), "a b"),
        ("file://" + path, "a b"),  # not encoded, as some programs copy it
        (f"file://{path}\nfile:///other.png", "a b"),
        ("file://" + str(tmp_path / "c#1?.png"), "c#1"),
        (f'"{path}"', "a b"),
        (f"'{path}'", "a b"),
        (f" \u201c{path}\u201d \n", "a b"),
        (f'"{path}"\n"/other.png"', "a b"),
        ("~/a b.png", "a b"),
        ("$PICTURES/a b.png", "a b"),
        (str(tmp_path / "it's.png"), "it's"),
        (f'"{tmp_path / "it"}\'s.png"', "it's"),
        (Path("~") / "a b.png", "a b"),
    ):
        assert load_image(text).name == name, text
        assert load_image(file_of("PNG"), mask=text).cutout == "mask"
    monkeypatch.chdir(tmp_path)
    assert load_image("'q'.png").rgba.size == (120, 120), "the name itself has quotes"
    if os.name != "nt":
        assert load_image(path.replace(" ", "\\ ")).name == "a b", "dragged onto a terminal"
    for text in ("file:///nowhere/x%20y.png", '"nowhere.png"', "~/nowhere.png", "~nobody-here/x.png"):
        with pytest.raises(ImageError, match="no image file") as caught:
            load_image(text)
        sentence(caught.value)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("file:///C:/Users/J%C3%BCrgen/a%20b.png", "C:\\Users\\J\u00fcrgen\\a b.png"),
        ("file:///c|/a.png", "c:\\a.png"),
        ("file://C:/a.png", "C:\\a.png"),
        ("file:/C:/a.png", "C:\\a.png"),
        ("file:\\\\\\C:\\a.png", "C:\\a.png"),
        ("file://localhost/C:/a.png", "C:\\a.png"),
        ("file://server/share/a.png", "\\\\server\\share\\a.png"),
        ("file:////server/share/a.png", "\\\\server\\share\\a.png"),
    ],
)
def test_file_addresses_of_windows(address: str, path: str) -> None:
    assert path_of_address(address, on_windows=True) == path


@pytest.mark.skipif(
    sys.platform in ("win32", "darwin"), reason="needs names of bytes; on Windows and macOS every file name is Unicode"
)
def test_names_that_are_no_unicode(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    Path(os.fsdecode(path)).write_bytes(file_of("PNG"))
    for source in (os.fsdecode(path), Path(os.fsdecode(path)), Path(os.fsdecode(path)).as_uri()):
        found = load_image(source)
        assert found.name == "caf"
        found.name.encode()
    with pytest.raises(ImageError) as caught:
        load_image(os.fsdecode(path + b"?"))
    sentence(caught.value).encode()
    assert clean_name("\udce9") == "image" and clean_name("a\ud800b") == "ab"


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        ("Helmet", "Helmet"),
        ("a/b\\c:d*e", "a b c d e"),
        (" .hidden. ", "hidden"),
        ("line\nbreak\x00", "line break"),
        ("", "image"),
        ("...", "image"),
        ("Ünïcode 模型", "Ünïcode 模型"),
    ],
)
def test_names_are_cleaned(given: str, clean: str) -> None:
    assert clean_name(given) == clean


def test_long_names_are_cut_at_a_character() -> None:
    for name in ("模" * 100, "e\u0301" * 100, "x" * 500):
        cut = clean_name(name)
        assert 40 <= len(cut.encode()) <= 48 and name.startswith(cut)


def test_pictures_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.PNG", "A.jpeg", "c.webp", "d.gif", ".e.png", "f.txt"):
        (tmp_path / name).touch()
    (tmp_path / "g.png").mkdir()
    assert [path.name for path in find_images(tmp_path)] == ["A.jpeg", "b.PNG", "c.webp"]


def test_every_ending_of_the_formats_is_taken(tmp_path: Path) -> None:
    names = ["a.jfif", "b.jpe", "c.JPG", "d.png", "e.JPEG", "f.webp", "g.pjpeg"]
    for name in [*names, "h.TIF", "i.exr", "j.heic", "k.txt", ".l.tif"]:
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == names
    assert [path.name for path in find_pictures(tmp_path)] == [*names, "h.TIF", "i.exr", "j.heic"]
    assert {".jfif", ".jpe"} <= set(EXTENSIONS)
