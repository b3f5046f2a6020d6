"""Masks: a picture without alpha and without a plain background is cut out where there is a mask model."""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import QUICK, encoded, photo, sentence
from PIL import Image
from service_tools import FakeEngine, Running, local_server, only_error, picture_server, task

from trellis_addon import generate
from trellis_addon.api import prepare_task
from trellis_addon.client.backends import Backend
from trellis_addon.client.local_service import start_service
from trellis_addon.core.configuration import MASK_MODEL_VARIABLE, WEIGHTS_VARIABLE
from trellis_addon.core.errors import EngineError, ImageError
from trellis_addon.core.progress import Progress
from trellis_addon.engines.engine import Made, Order
from trellis_addon.formats.glb.check import check_glb_file
from trellis_addon.images import LATER, WHOLE, load_image
from trellis_addon.pipeline import mask as masks
from trellis_addon.pipeline.mask import BiRefNetMask, StudioMask, find_mask, model_file
from trellis_addon.task.settings import Settings

MODELS = Path(__file__).parents[1] / "data" / "mask"
ACCELERATOR = "CoreMLExecutionProvider"


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    monkeypatch.delenv(MASK_MODEL_VARIABLE, raising=False)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("onnxruntime")
    path = MODELS / "threshold.onnx"
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(path))
    return path


@pytest.fixture
def run() -> Iterator[Running]:
    running = Running(engine="draft")
    running.engine = Looking()
    yield running
    running.close()


class Looking(FakeEngine):
    """Keeps the pictures that it was given."""

    def generate(self, order: Order, progress: Progress) -> Made:
        self.images = [*getattr(self, "images", []), order.image]
        return super().generate(order, progress)


def subject(width: int = 256, height: int = 192) -> np.ndarray:
    """Where the subject of `lamp` is: (height, width), bool."""
    y, x = np.mgrid[:height, :width]
    return np.hypot(x - width / 2, y - height / 2) < height * 0.35


def lamp(width: int = 256, height: int = 192) -> Image.Image:
    """Something bright before a dark hedge; opaque."""
    coarse = np.random.default_rng(5).integers(0, 140, (height // 8, width // 8, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).copy()
    pixels[subject(width, height)] = (240, 230, 200)
    return Image.fromarray(pixels)


def text(picture: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(encoded(picture)).decode()


def overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    """The intersection over the union."""
    return float((found & wanted).sum() / (found | wanted).sum())


def alpha(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.getchannel("A"))


# --- the masks ---


@pytest.mark.parametrize("name", ["threshold", "logits_half"])
def test_the_model_says_what_the_subject_is(name: str) -> None:
    pytest.importorskip("onnxruntime")
    found = BiRefNetMask(MODELS / f"{name}.onnx").mask(lamp())
    assert found.shape == (192, 256) and found.dtype == np.float32
    assert found.min() >= 0 and found.max() <= 1
    assert found[96, 128] > 0.98 and found[2, 2] < 0.02
    assert overlap(found > 0.5, subject()) > 0.97


def test_the_mask_is_soft_only_at_the_outline() -> None:
    """A file that ends before the sigmoid must not be taken for one that ends after it."""
    pytest.importorskip("onnxruntime")
    found = BiRefNetMask(MODELS / "logits_half.onnx").mask(lamp())
    assert ((found > 0.1) & (found < 0.9)).mean() < 0.03
    grey = BiRefNetMask(MODELS / "logits_half.onnx").mask(Image.new("RGB", (40, 30), (153, 153, 153)))
    assert np.allclose(grey, 0.5, atol=0.03), "a logit of 0 is a share of one half"


def test_a_file_that_leaves_its_sizes_open_gets_1024_pixels() -> None:
    """One that gets fewer loses lines as thin as these."""
    pytest.importorskip("onnxruntime")
    lines = np.zeros((1024, 1024), bool)
    lines[::4] = True
    picture = Image.fromarray(np.where(lines[..., None], 255, 0).astype(np.uint8).repeat(3, axis=2))
    found = BiRefNetMask(MODELS / "logits_half.onnx").mask(picture)
    assert np.array_equal(found > 0.5, lines)


def test_the_studio_mask() -> None:
    plain = lamp()
    plain.paste((30, 30, 34), mask=Image.fromarray(np.where(subject(), 0, 255).astype(np.uint8)))
    found = StudioMask().mask(plain)
    assert found.shape == (192, 256) and found.dtype == np.float32 and overlap(found > 0.5, subject()) > 0.97
    assert np.array_equal(find_mask(plain), found), "where it is sure, it needs no model"
    with pytest.raises(ImageError, match="not uniform enough"):
        StudioMask().mask(lamp())


def test_the_better_mask_comes_second(model: Path) -> None:
    assert overlap(find_mask(lamp()) > 0.5, subject()) > 0.97
    for nothing in (photo().point(lambda value: value // 3), photo().point(lambda value: 200 + value // 5)):
        with pytest.raises(ImageError, match="finds no subject") as caught:
            find_mask(nothing)
        assert "with transparency" in sentence(caught.value)


def test_without_a_model_transparency_is_asked_for() -> None:
    with pytest.raises(ImageError, match="with transparency") as caught:
        find_mask(lamp())
    sentence(caught.value)


# --- where the file is ---


def test_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(MODELS / "threshold.onnx", tmp_path / "birefnet.onnx")
    assert model_file() is None, "a folder without a pipeline holds no weights"
    (tmp_path / "pipeline.json").write_text("{}")
    assert model_file() == tmp_path / "birefnet.onnx"
    (tmp_path / "birefnet" / "onnx").mkdir(parents=True)
    (tmp_path / "birefnet.onnx").rename(tmp_path / "birefnet" / "onnx" / "model.onnx")
    (tmp_path / "birefnet" / "README.md").touch()
    assert model_file() == tmp_path / "birefnet" / "onnx" / "model.onnx"
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(MODELS / "logits_half.onnx"))
    assert model_file() == MODELS / "logits_half.onnx", "what is named comes first"


def test_the_file_is_found_among_the_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "models--microsoft--TRELLIS.2-4B" / "snapshots" / "0123abc"
    path = tmp_path / "models--onnx-community--BiRefNet-ONNX" / "snapshots" / "4567def" / "onnx" / "model_fp16.onnx"
    for folder in (weights, path.parent):
        folder.mkdir(parents=True)
    (weights / "pipeline.json").write_text("{}")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(weights))
    assert model_file() is None
    shutil.copy(MODELS / "threshold.onnx", path)
    assert model_file() == path


# --- files that are no use ---


@pytest.mark.parametrize("name", ["no_picture", "grey_picture", "bytes_picture", "two_inputs"])
def test_a_model_with_other_inputs_is_refused(name: str) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(EngineError, match="no mask model: it takes input_image") as caught:
        BiRefNetMask(MODELS / f"{name}.onnx")
    assert f"{name}.onnx" in sentence(caught.value)


def test_a_model_with_another_output_is_refused() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(EngineError, match=r"three_masks\.onnx gives no usable mask .* \(1, 3, 8, 8\)") as caught:
        BiRefNetMask(MODELS / "three_masks.onnx").mask(lamp())
    sentence(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "pointer"])
def test_a_damaged_file_is_named(damage: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    whole = (MODELS / "threshold.onnx").read_bytes()
    path = tmp_path / "birefnet.onnx"
    path.write_bytes(
        {
            "truncated": whole[: len(whole) * 2 // 3],
            "empty": b"",
            "text": b"<!DOCTYPE html><html>Not found</html>",
            "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:e2eac5\nsize 972456007\n",
        }[damage]
    )
    with pytest.raises(EngineError, match="download it again") as caught:
        BiRefNetMask(path)
    assert str(path) in sentence(caught.value)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(tmp_path / "gone.onnx"))
    with pytest.raises(EngineError, match=MASK_MODEL_VARIABLE) as caught:
        find_mask(lamp())
    assert "gone.onnx" in sentence(caught.value)


def test_a_missing_onnxruntime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match="pip install onnxruntime") as caught:
        BiRefNetMask(MODELS / "threshold.onnx")
    assert "threshold.onnx" in sentence(caught.value)


# --- accelerators ---


def test_an_accelerator_that_is_not_here_is_no_error() -> None:
    pytest.importorskip("onnxruntime")
    found = BiRefNetMask(MODELS / "threshold.onnx", ["NoSuchExecutionProvider", "CUDAExecutionProvider"]).mask(lamp())
    assert overlap(found > 0.5, subject()) > 0.97


@pytest.mark.parametrize("fails_at", ["opening", "running"])
def test_where_an_accelerator_fails_the_processor_takes_over(fails_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    real = onnxruntime.InferenceSession
    asked: list[list[str]] = []

    class Accelerated:
        def __init__(self, path: str, options: Any, providers: list[str]) -> None:
            asked.append(providers)
            self.is_used = ACCELERATOR in providers
            if self.is_used and fails_at == "opening":
                raise RuntimeError("The accelerator does not know an operator.")
            self.session = real(path, options, providers=["CPUExecutionProvider"])

        def run(self, *arguments: Any) -> Any:
            if self.is_used:
                raise RuntimeError("Non-zero status code.")
            return self.session.run(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.session, name)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Accelerated)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [ACCELERATOR, "CPUExecutionProvider"])
    found = BiRefNetMask(MODELS / "threshold.onnx").mask(lamp())
    assert overlap(found > 0.5, subject()) > 0.97
    assert asked == [[ACCELERATOR, "CPUExecutionProvider"], ["CPUExecutionProvider"]]
    with pytest.raises(EngineError, match="no mask model"):
        BiRefNetMask(MODELS / "grey_picture.onnx")


# --- the service ---


def test_the_service_says_whether_it_has_one(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run.http.get("/v1").json()["maskModel"] is False
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(MODELS / "threshold.onnx"))
    assert run.http.get("/v1").json()["maskModel"] is True


def test_the_service_cuts_a_picture_out(run: Running, model: Path) -> None:
    with picture_server(encoded(lamp())) as url:
        for image in (text(lamp()), url):
            request = task(inputs={"image": image}, numberResults=2)
            run.post(request)
            assert [item["status"] for item in run.settle(request["taskUUID"])["data"]] == ["success"] * 2
    assert len(run.engine.images) == 4
    for image in run.engine.images:
        assert image.mode == "RGBA" and image.size == (256, 192)
        assert overlap(alpha(image) > 127, subject()) > 0.97
        assert alpha(image)[0, 0] == 0 and alpha(image)[96, 128] == 255


def test_pictures_that_need_no_model_do_not_meet_it(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MASK_MODEL_VARIABLE, "there-is-none.onnx")
    cut = lamp()
    cut.putalpha(Image.fromarray(np.where(subject(), 255, 0).astype(np.uint8)))
    plain = Image.new("RGB", cut.size, (30, 30, 34))
    plain.paste(cut, mask=cut)
    for picture in (cut, plain):
        request = task(inputs={"image": text(picture)})
        run.post(request)
        assert run.settle(request["taskUUID"])["data"][0]["status"] == "success"
        assert overlap(alpha(run.engine.images[-1]) > 127, subject()) > 0.97


def test_without_a_model_the_service_refuses_at_once(run: Running) -> None:
    error = only_error(run.post(task(inputs={"image": text(lamp())})))
    assert error["code"] == "invalidImage" and "with transparency" in error["message"]


def test_a_task_fails_with_what_is_wrong_with_the_model(
    run: Running, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut short.onnx"
    path.write_bytes(model.read_bytes()[:200])
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(path))
    request = task(inputs={"image": text(lamp())})
    run.post(request)
    (error,) = run.settle(request["taskUUID"])["errors"]
    assert error["code"] == "inferenceError" and str(path) in error["message"]
    monkeypatch.setenv(MASK_MODEL_VARIABLE, str(model))
    after = task(inputs={"image": text(lamp())})
    run.post(after)
    assert run.settle(after["taskUUID"])["data"][0]["status"] == "success", "the worker goes on"


# --- the client ---


def test_a_photo_becomes_an_asset(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "lamp.jpg"
    lamp().save(path, quality=95)
    service = start_service("draft")
    try:
        backend = {"backend": service.url, "key": service.token}
        asset = generate(path, output=tmp_path / "lamp.glb", seed=3, **QUICK, **backend)
        cut = masks.cut_out(load_image(path, may_leave=True))
        wanted = generate(cut, output=tmp_path / "wanted.glb", seed=3, **QUICK, **backend)
    finally:
        service.stop()
    assert check_glb_file(asset.path) and asset.name == "lamp"
    assert cut.cutout == "mask" and overlap(alpha(cut.rgba) > 127, subject()) > 0.97
    assert asset.path.read_bytes() == wanted.path.read_bytes(), "as if it had been cut out before"


def test_a_picture_is_left_only_where_that_is_allowed() -> None:
    data = encoded(lamp())
    with pytest.raises(ImageError, match="not uniform enough"):
        load_image(data)
    left = load_image(data, may_leave=True)
    assert left.cutout == LATER and alpha(left.rgba).min() == 255
    assert "not uniform enough" in left.problem and "mask model" in " ".join(left.warnings)
    with pytest.raises(ImageError, match="damaged"):
        load_image(data[:500], may_leave=True)
    with pytest.raises(ImageError, match="fully transparent"):
        load_image(encoded(Image.new("RGBA", (64, 64))), may_leave=True)


def test_others_are_sent_no_picture_that_is_not_cut_out() -> None:
    methods: list[str] = []
    replies = [(200, b"<html>"), (200, b"[1]"), (200, b'{"maskModel": "yes"}'), (401, b'{"maskModel": true}')]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        status, body = replies[len(methods)]
        methods.append(handler.command)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    left = load_image(encoded(lamp()), may_leave=True)
    with local_server(answer) as url:
        tries = [(left, Backend(url))] * len(replies)
        for picture, backend in [*tries, (left, Backend("http://127.0.0.1:1"))]:
            with pytest.raises(ImageError, match="not uniform enough"):
                prepare_task(picture, backend, Settings())
        assert methods == ["GET"] * len(replies)
        # the remote API cuts subjects out itself, and is not asked
        for picture in (left, encoded(lamp())):
            sent = prepare_task(picture, Backend("remote"), Settings()).task.image
            assert (alpha(load_image(sent, mask=WHOLE).rgba) >= 254).all()
    assert methods == ["GET"] * len(replies)
