"""Pictures in, from every source and of every kind: usable ones come through intact, the others with a sentence."""

from __future__ import annotations

import base64
import os
import random
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import disc, encoded, photo, sentence
from PIL import Image, ImageCms, ImageDraw

from trellis_addon.core.addresses import path_of_address
from trellis_addon.core.errors import ImageError, OfflineError
from trellis_addon.images import (
    EXTENSIONS,
    MAX_SIDE,
    PreparedImage,
    clean_name,
    decode,
    find_images,
    find_pictures,
    image_kind,
    load_image,
    subject_box,
)
from trellis_addon.images.pixels import parts

KINDS = ("PNG", "WEBP", "JPEG")


def studio(size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A red box on grey: what a JPEG can hold."""
    picture = Image.new("RGB", size, (210, 210, 205))
    width, height = size
    ImageDraw.Draw(picture).rectangle((width * 0.3, height * 0.2, width * 0.7, height * 0.8), (190, 30, 40))
    return picture


def file_of(kind: str) -> bytes:
    return encoded(studio() if kind == "JPEG" else disc(120), kind)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA")).astype(int)


# --- where pictures come from ---


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


# --- paths as people give them ---


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


# --- upright, whatever the camera did ---

_UNDO = {  # how the pixels lie in the file, for each orientation that says how to turn them back
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    upright = Image.new("RGB", (64, 32), (250, 250, 250))
    upright.paste((200, 0, 0), (0, 0, 32, 16))
    upright.paste((0, 0, 200), (32, 16, 64, 32))
    upright.paste((0, 160, 0), (0, 16, 32, 32))
    stored = upright.transpose(_UNDO[orientation]) if orientation in _UNDO else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    found = decode(encoded(stored, kind, exif=exif, **options))
    assert found.size == (64, 32)
    assert np.abs(pixels(found) - pixels(upright)).mean() < 2


# --- colour models ---


def png_by_hand(width: int, height: int, depth: int, colour_type: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG from its parts, with correct checksums; `extra` are chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), *extra, _chunk(b"IDAT", zlib.compress(rows)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_alpha_is_kept() -> None:
    ramp = np.zeros((64, 256, 4), np.uint8)
    ramp[..., :3] = (10, 130, 250)
    ramp[..., 3] = np.arange(256)
    for kind in ("PNG", "WEBP"):
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        assert (pixels(load_image(encoded(Image.fromarray(ramp), kind, **options)).rgba) == ramp).all()


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_sixteen_bits_are_scaled_not_clipped(colour_type: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    values = np.linspace(0, 65535, 64).astype(">u2")
    row = np.repeat(values[:, None], channels, axis=1)
    if channels in (2, 4):
        row[:, -1] = 40000
    rows = b"".join(b"\0" + row.tobytes() for _ in range(32))
    found = pixels(decode(png_by_hand(64, 32, 16, colour_type, rows)))
    wanted = values.astype(float) / 65535 * 255
    assert found.shape == (32, 64, 4)
    for channel in range(3):
        assert np.abs(found[0, :, channel] - wanted).max() <= 1.01
    assert np.abs(found[..., 3] - (40000 / 65535 * 255 if channels in (2, 4) else 255)).max() <= 1


def test_palette_with_transparency() -> None:
    picture = disc(80).convert("RGB").quantize(32)
    mask = np.asarray(disc(80).getchannel("A")) > 128
    indices = np.asarray(picture).copy()
    indices[~mask] = 200
    picture = Image.fromarray(indices, "P")
    picture.putpalette(np.random.default_rng(1).integers(0, 255, 768, np.uint8).tobytes())
    found = load_image(encoded(picture, "PNG", transparency=200))
    assert found.cutout == "alpha"
    assert ((pixels(found.rgba)[..., 3] > 0) == mask).all()


def test_transparent_colour_of_a_png_without_alpha() -> None:
    picture = studio()
    found = load_image(encoded(picture, "PNG", transparency=(210, 210, 205)))
    assert found.cutout == "alpha"
    assert ((pixels(found.rgba)[..., 3] == 255) == (pixels(picture)[..., 0] == 190)).all()


def test_grey_with_alpha() -> None:
    found = load_image(encoded(disc(80).convert("LA"), "PNG"))
    assert found.cutout == "alpha"
    assert (pixels(found.rgba)[..., 3] == pixels(disc(80))[..., 3]).all()


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_other_modes_without_alpha(mode: str) -> None:
    found = load_image(encoded(studio().convert(mode, dither=0), "PNG"))
    assert found.cutout == "studio"
    alpha = pixels(found.rgba)[..., 3]
    assert alpha[60, 80] == 255 and alpha[2, 2] == 0


def test_cmyk_jpeg() -> None:
    found = pixels(decode(encoded(studio().convert("CMYK"), "JPEG", quality=95)))
    assert np.abs(found[60, 80, :3] - (190, 30, 40)).max() < 12
    assert np.abs(found[4, 4, :3] - (210, 210, 205)).max() < 12


def test_colours_are_brought_to_srgb() -> None:
    """A profile whose red and green are swapped: pure red in the file is green on a screen."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", profile, 128)[0]
    swaps = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    for entry in range(132, 132 + 12 * count, 12):
        profile[entry : entry + 4] = swaps.get(bytes(profile[entry : entry + 4]), profile[entry : entry + 4])
    for kind, mode in (("PNG", "RGB"), ("PNG", "RGBA"), ("WEBP", "RGBA"), ("JPEG", "RGB")):
        red = Image.new("RGBA", (32, 32), (255, 0, 0, 255))
        red.putalpha(Image.linear_gradient("L").resize((32, 32)))
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        found = pixels(decode(encoded(red.convert(mode), kind, icc_profile=bytes(profile), **options)))
        assert np.abs(found[20, 20, :3] - (0, 255, 0)).max() < 6, (kind, mode)
        if mode == "RGBA":
            assert (found[..., 3] == pixels(red)[..., 3]).all()
    broken = encoded(Image.new("RGB", (32, 32), (255, 0, 0)), "PNG", icc_profile=bytes(profile[:200]))
    assert tuple(pixels(decode(broken))[5, 5]) == (255, 0, 0, 255)


# --- sizes ---


def test_a_small_subject_in_a_huge_picture_keeps_its_pixels() -> None:
    random_ = np.random.default_rng(2)
    subject = np.dstack([random_.integers(0, 255, (300, 400, 3)), np.full((300, 400), 255)]).astype(np.uint8)
    canvas = np.zeros((3200, 3600, 4), np.uint8)
    canvas[2700:3000, 100:500] = subject
    found = load_image(encoded(Image.fromarray(canvas), "PNG", compress_level=1))
    assert found.rgba.size == (400, 300)
    assert (pixels(found.rgba) == subject).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_larger_than_the_model_can_use_is_reduced(kind: str) -> None:
    big = disc(512).resize((3000, 3000)) if kind == "PNG" else studio((4400, 3000))
    found = load_image(encoded(big, kind))
    assert max(found.rgba.size) == MAX_SIDE
    left, top, right, bottom = found.rgba.getbbox()
    shown = (right - left) / (bottom - top)
    assert shown == pytest.approx(1.0 if kind == "PNG" else 4400 * 0.4 / (3000 * 0.6), abs=0.02)


def test_reducing_leaves_no_dark_fringe() -> None:
    white = np.zeros((2600, 2600, 4), np.uint8)
    white[300:2300, 100:2500] = 255  # beyond it: black, and transparent
    found = pixels(load_image(encoded(Image.fromarray(white), "PNG", compress_level=1)).rgba)
    assert found[found[..., 3] > 20][:, :3].min() >= 250


def test_what_fits_is_not_touched() -> None:
    exact = np.full((MAX_SIDE, 64, 4), 255, np.uint8)
    exact[:4, :, 3] = 0
    assert load_image(encoded(Image.fromarray(exact))).rgba.size == (64, MAX_SIDE)


def test_small_subjects_are_warned_of() -> None:
    assert any("larger picture" in w for w in load_image(encoded(disc(80))).warnings)
    assert not load_image(encoded(disc(400))).warnings
    assert any("background was removed" in w for w in load_image(encoded(studio((500, 500)))).warnings)


# --- what cannot be used ---


def _bomb() -> bytes:
    return png_by_hand(60000, 60000, 8, 6, b"\0" * 1000)


def _text_bomb() -> bytes:
    packed = zlib.compress(b"\0" * 80_000_000, 9)
    rows = b"".join(b"\0" + b"\x80" * 256 for _ in range(64))
    return png_by_hand(64, 64, 8, 6, rows, _chunk(b"zTXt", b"Comment\0\0" + packed))


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no bytes"),
    "gif": (lambda: encoded(studio(), "GIF"), "a GIF file"),
    "bmp": (lambda: encoded(studio(), "BMP"), "a BMP file"),
    "tiff": (lambda: encoded(studio(), "TIFF"), "a TIFF file"),
    "html": (lambda: b"\n <!doctype html><title>404</title>", "HTML"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    "pdf": (lambda: b"%PDF-1.7 ...", "PDF"),
    "glb": (lambda: b"glTF\x02\0\0\0", "GLB"),
    "text": (lambda: b"just some words", "not known"),
    "zeros": (lambda: bytes(5000), "not known"),
    "bomb": (_bomb, "pixels"),
    "text bomb": (_text_bomb, "damaged"),
    "transparent": (lambda: encoded(Image.new("RGBA", (64, 64))), "fully transparent"),
    "photo": (lambda: encoded(photo(), "JPEG"), "not uniform"),
    "one pixel": (lambda: encoded(Image.new("RGB", (1, 1), (9, 9, 9))), "too small"),
    "one colour": (lambda: encoded(Image.new("RGB", (64, 64), (90, 90, 90))), "no subject"),
    "signature only": (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
    "other in disguise": (lambda: b"\xff\xd8\xff\xe0" + b"\0" * 100, "damaged"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_pictures_are_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    make, said = UNUSABLE[name]
    data = make()
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    for source in (data, path, "data:image/png;base64," + base64.b64encode(data).decode()):
        with pytest.raises(ImageError, match=said) as caught:
            load_image(source)
        sentence(caught.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("no/such/picture.png", "no image file"),
        ("", "nothing was given"),
        ("   ", "nothing was given"),
        (None, "nothing was given"),
        (42, "nothing was given"),
        ("a\0b.png", "cannot be read"),
        ("x" * 9000 + ".png", "cannot be read|no image file"),
        ("data:image/png,hello", "data URI"),
        ("data:image/png;base64", "data URI"),
        ("data:image/png;base64,!!!", "nor valid Base64"),
        ("0198c1b2-7d3e-7a54-9f10-2b6c8d4e1f3a", "UUID of an upload"),
        ("A" * 200, "not known|damaged"),
        ("A" * 201, "nor valid Base64|not known"),
    ],
)
def test_unusable_sources_are_refused_with_a_sentence(source: Any, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(source)
    if not isinstance(source, str) or len(source) < 1000:
        sentence(caught.value)


def test_folders_are_refused(tmp_path: Path) -> None:
    for source in (tmp_path, str(tmp_path)):
        with pytest.raises(ImageError, match="is a folder"):
            load_image(source)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_files_are_refused(kind: str) -> None:
    data = file_of(kind)
    for share in (*np.linspace(0.001, 0.95, 40), 0.97):
        with pytest.raises(ImageError) as caught:
            load_image(data[: int(len(data) * share)])
        sentence(caught.value)
    for end in range(1, 20):  # what is missing may be of no consequence there
        _survive(data[:-end])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_taken_and_one_without_rows_is_not(progressive: bool) -> None:
    picture = Image.effect_noise((200, 150), 60).convert("RGB")
    picture.paste((200, 40, 30), (60, 40, 140, 110))
    data = encoded(picture, "JPEG", quality=90, progressive=progressive)
    whole = pixels(decode(data))
    for end in (data[:-2], data[:-1], data[:-2] + b"\xff\xff", data[:-2] + b"\r\n", b"\r\n" + data):
        assert (pixels(decode(end)) == whole).all()
    for lost in (10, 100, len(data) // 3):
        with pytest.raises(ImageError, match="cut off"):
            decode(data[:-lost])


def test_blank_lines_before_a_file() -> None:
    for kind in KINDS:
        assert (pixels(decode(b"\n\r\n " + file_of(kind))) == pixels(decode(file_of(kind)))).all()


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\0\x18ftyphevc", "HEIC"),
        (b"\0\0\0\x18ftypmsf1", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0miafavif", "AVIF"),
        (b"\0\0\0\x18ftypavis", "AVIF"),
        (b"\0\0\0\x18ftypcrx ", "camera"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\xff\x4f\xff\x51", "JPEG 2000"),
        (b"#?RADIANCE\n", "Radiance"),
        (b"#?RGBE\n", "Radiance"),
        (b"DDS |", "DDS"),
        (b"gimp xcf v011", "GIMP"),
        (b"PK\3\4" + bytes(26) + b"mimetypeapplication/x-krita", "Krita"),
        (b"PK\3\4", "ZIP"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"II+\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"\xef\xbb\xbf<svg xmlns='x'/>", "SVG"),
        ("<svg/>".encode("utf-16"), "SVG"),
        (b"qoif", "QOI"),
        (b"BLENDER-v500", "Blender file"),
        (b"P6 4 4 255\n", "Netpbm"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
    ],
)
def test_other_formats_are_named(head: bytes, said: str) -> None:
    with pytest.raises(ImageError, match=said) as caught:
        load_image(head + bytes(64))
    sentence(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_corrupted_files_give_a_picture_or_a_sentence(kind: str) -> None:
    data = file_of(kind)
    dice = random.Random(kind)
    outcomes = {_survive(_corrupt(data, dice)) for _ in range(300)}
    assert False in outcomes, "the corruptions were too mild to mean anything"


def _corrupt(data: bytes, dice: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 5, 30))):
        place = dice.randrange(len(broken) if dice.random() < 0.5 else min(len(broken), 200))
        match dice.randrange(4):
            case 0:
                broken[place] ^= 1 << dice.randrange(8)
            case 1:
                broken[place] = dice.choice((0, 0x7F, 0x80, 0xFF))
            case 2:
                del broken[place : place + dice.randrange(1, 40)]
            case 3:
                broken[place:place] = dice.randbytes(dice.randrange(1, 40))
        if not broken:
            return b""
    return bytes(broken)


def _survive(data: bytes) -> bool:
    """Whether a picture came of it; anything but a picture or an `ImageError` fails the test."""
    try:
        prepared = load_image(data)
    except ImageError as error:
        sentence(error)
        return False
    assert prepared.rgba.mode == "RGBA" and prepared.rgba.getchannel("A").getextrema()[1] > 0
    return True


# --- names and folders ---


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


# --- stray specks ---


def spotted(*places: tuple[int, int], size: int = 1) -> Image.Image:
    picture = Image.new("RGBA", (800, 800))
    ImageDraw.Draw(picture).ellipse((160, 160, 640, 640), (200, 60, 30, 255))
    for x, y in places:
        picture.paste((9, 9, 9, 255), (x, y, x + size, y + size))
    return picture


def test_stray_specks_far_from_the_subject_are_left_out_and_told_of() -> None:
    whole = (160, 160, 641, 641)
    for count, size in ((1, 1), (1, 6), (60, 1), (60, 3)):
        dice = np.random.default_rng(count)
        edge = dice.integers(0, 800 - size, count)
        places = [(1, 1), *((int(at), 3 if i % 2 else 790) for i, at in enumerate(edge[1:]))]
        picture = spotted(*places, size=size)
        assert subject_box(picture) == whole, "the picture itself"
        found = load_image(encoded(picture))
        assert subject_box(found.rgba) == whole
        said = next(warning for warning in found.warnings if "stray speck" in warning)
        assert count == 1 or any(word.isdigit() for word in said.split())
        kept = pixels(found.rgba)
        assert (kept[160:641, 160:641] == pixels(picture)[160:641, 160:641]).all() and kept[:100, :, 3].max() == 0


def test_what_may_belong_to_the_subject_stays() -> None:
    for picture in (
        spotted((20, 20), size=40),  # a part of some size
        spotted((400, 154), (630, 200)),  # within its box, or next to it
        spotted(),
    ):
        found = load_image(encoded(picture))
        assert (pixels(found.rgba) == pixels(picture)).all() and not found.warnings
    sparks = Image.new("RGBA", (400, 400))
    for x, y in np.random.default_rng(1).integers(0, 396, (300, 2)):
        sparks.paste((250, 200, 30, 255), (x, y, x + 3, y + 3))
    assert (pixels(load_image(encoded(sparks)).rgba) == pixels(sparks)).all(), "made of nothing else"
    wand = Image.new("RGBA", (800, 800))
    ImageDraw.Draw(wand).line((400, 10, 400, 400), (90, 60, 30, 255), 2)
    ImageDraw.Draw(wand).ellipse((300, 400, 500, 600), (90, 60, 30, 255))
    assert subject_box(load_image(encoded(wand)).rgba)[1] <= 10, "thin, but part of it"


def test_specks_beside_a_masked_subject() -> None:
    mask = spotted((2, 2)).getchannel("A").convert("RGB")
    picture = Image.effect_noise((800, 800), 80).convert("RGB")
    found = load_image(encoded(picture), mask=encoded(mask))
    assert subject_box(found.rgba) == (160, 160, 641, 641) and any("speck" in w for w in found.warnings)


def test_parts_of_a_mask_are_what_a_flood_would_reach() -> None:
    mask = np.random.default_rng(3).random((70, 50)) > 0.6
    found, labels = parts(mask)
    assert ((labels >= 0) == mask).all() and sum(part.area for part in found) == mask.sum()
    left = mask.copy()
    count = 0
    for seed in np.argwhere(mask):
        if not left[tuple(seed)]:
            continue
        count += 1
        waiting, reached = [tuple(seed)], []
        left[tuple(seed)] = False
        while waiting:
            y, x = waiting.pop()
            reached.append((y, x))
            for v in range(max(y - 1, 0), min(y + 2, 70)):
                for u in range(max(x - 1, 0), min(x + 2, 50)):
                    if left[v, u]:
                        left[v, u] = False
                        waiting.append((v, u))
        rows, columns = zip(*reached, strict=True)
        label = labels[tuple(seed)]
        assert (labels[list(rows), list(columns)] == label).all() and found[label].area == len(reached)
        assert found[label].box == (min(columns), min(rows), max(columns) + 1, max(rows) + 1)
    assert count == len(found)
    assert parts(np.zeros((4, 5), bool))[0] == [] and parts(np.ones((1, 1), bool))[0][0].area == 1
