"""The library's sentences in another language: real errors are said in it, and what is none of ours stays as it is."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import disc

from trellis_addon import api, images, stages
from trellis_addon.client import replies
from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.core.errors import EngineError, FieldError, TrellisError
from trellis_addon.core.templates import LONGEST, Templates, literals_of, values_in
from trellis_addon.engines import registry
from trellis_addon.formats import latents
from trellis_addon.formats.glb.check import check_glb, check_glb_file
from trellis_addon.images.cutout import apply_mask, remove_studio_background
from trellis_addon.jobs import money
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.service import exit_causes as endings
from trellis_addon.task import settings, task
from trellis_addon.transfer.errors import disk_trouble, refused

ROOT = Path(__file__).resolve().parents[2]
CHINESE: dict[str, str] = json.loads((ROOT / "translations" / "sentences" / "zh_HANS.json").read_text("utf-8"))
TEMPLATES = Templates(CHINESE)
ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")


def in_chinese(text: object) -> str:
    return TEMPLATES.said(str(text), lambda template: CHINESE.get(template, template))


def connected(backend: Backend) -> None:
    with connect(backend):
        raise AssertionError("nothing should be connected to")


def broken_provenance(folder: Path) -> None:
    (folder / "a.json").write_text("[")
    Asset.from_file(folder / "a.glb")


def thrown(error: Exception) -> None:
    raise error


# What goes wrong, and what must be in the sentence in any language, or is the heart of it in this one.
REAL: list[tuple[Callable[[Path], Any], tuple[str, ...]]] = [
    (lambda tmp: settings.Settings(resolution=700), ("settings.resolution", "700", "允许：")),
    (lambda tmp: settings.Settings(texture_size=7), ("settings.textureSize", "7", "允许：")),
    (lambda tmp: settings.Settings(tex_slat_steps="many"), ('"many"', "的整数")),
    (lambda tmp: settings.Settings(remesh="perhaps"), ('"perhaps"', "true 或 false")),
    (lambda tmp: settings.Settings(resolutoin=512), ("resolutoin", "resolution")),
    (lambda tmp: settings.Settings(shape_slat=3), ("{'steps': 12}",)),
    (lambda tmp: task.check_uuid("{0}"), ('"{0}"', "UUID")),
    (lambda tmp: images.load_image(tmp / "none.png"), ("none.png",)),
    (lambda tmp: images.load_image(tmp), ("批处理",)),
    (lambda tmp: images.load_image(b""), ("图像为空",)),
    (lambda tmp: images.load_image(b"%PDF-1.7" + bytes(40)), ("PDF 文件；请使用",)),
    (lambda tmp: images.load_image(b"\x89PNG\r\n\x1a\n" + bytes(40)), ("图像",)),
    (lambda tmp: images.load_image("https://example.org/a.png", allow_network=False), ("偏好设置 > 系统",)),
    (lambda tmp: remove_studio_background(disc(4).convert("RGB")), ("PNG 或 WebP",)),
    (lambda tmp: apply_mask(disc(40), disc(60).resize((60, 30))), ("60 x 30", "40 x 40")),
    (lambda tmp: check_glb(b"no"), ("2 字节",)),
    (lambda tmp: check_glb_file(tmp / "none.glb"), ("none.glb", "没有这样的文件")),
    (lambda tmp: latents.check_latents(bytes(20)), ("safetensors",)),
    (lambda tmp: latents.check_latents(b"PK\x03\x04" + bytes(20)), ("pickle",)),
    (lambda tmp: api.check_output(Path("a.png")), ('"a.png"', ".glb 结尾")),
    (lambda tmp: broken_provenance(tmp), ("a.json",)),
    (lambda tmp: stages.rework(tmp / "a b.glb", store=JobStore(tmp)), ("“a b”", "rebake")),
    (lambda tmp: money.set_limit(JobStore(tmp), "week", 1.0), ('"week"', "允许：day, month")),
    (lambda tmp: money.set_limit(JobStore(tmp), "day", -1.0), ("-1.0", "美元")),
    (lambda tmp: connected(Backend("remote", "", False)), ("联机访问",)),
    (lambda tmp: connected(Backend("nowhere", "", True)), ('"nowhere"', "http://")),
    (lambda tmp: Client("http://localhost", "bad\nkey"), ("密钥",)),
    (lambda tmp: registry.engine_for("x:y", "trellis2"), ('"x:y"',)),
    (lambda tmp: thrown(refused(429, "a.bin", "example.org", 90.0)), ("a.bin", "example.org", "从中断处继续")),
    (lambda tmp: thrown(refused(503, "a.bin", "example.org")), ("503", "从中断处继续")),
    (lambda tmp: thrown(disk_trouble("a", "/b", OSError(errno.ENOSPC, "full"))), ("/b", "磁盘已满")),
    (lambda tmp: thrown(disk_trouble("a", "/b", PermissionError(13, "Permission denied"))), ("/b", "权限不足")),
    (lambda tmp: thrown(replies.first_error({}, 503)), ("服务发生故障：它应答状态 503。请稍后再试。",)),
]  # fmt: skip


@pytest.mark.parametrize("go_wrong, wanted", REAL)
def test_a_real_error_is_said_in_chinese(
    go_wrong: Callable[[Path], Any], wanted: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    with pytest.raises(TrellisError) as raised:
        go_wrong(tmp_path)
    said = in_chinese(raised.value)
    assert re.search("[\u4e00-\u9fff]", said) and not ENGLISH.search(said), said
    for words in wanted:
        assert words in said


def test_what_the_service_says_is_said_piece_by_piece() -> None:
    """The frame is ours, the service's own words are as they are, or ours again when it is our service."""
    theirs = replies.error_from({"code": "insufficientCredits", "message": "Top up to continue using the API"}, 402)
    assert in_chinese(theirs) == "余额不足：Top up to continue using the API. 请为账户充值后重试。"
    ours = str(FieldError("settings.resolution", 700, "allowed: 512, 1024, 1536"))
    said = in_chinese(replies.error_from({"code": "invalidValue", "message": ours}, 400))
    assert said == "服务不接受此任务：settings.resolution：无法使用 700；允许：512, 1024, 1536。"
    failed = replies.error_from({"code": "inferenceFailed", "message": str(EngineError("The reactor is cold."))})
    assert in_chinese(failed) == "生成失败：The reactor is cold."


def test_a_clause_is_said_within_its_sentence() -> None:
    cause = endings.cause_of(-9, "", 1)
    text = f"The local worker ended 3 times in a row and is not started again by itself. The last time: {cause}."
    assert in_chinese(text) == "本地工作进程连续结束了 3 次，不再自动启动。最近一次：机器的内存已用尽，系统将其结束。"
    sides = images.prepare(disc(100).crop((20, 20, 80, 80))).warnings[0]
    assert "left, right, top and bottom edges" in sides
    assert in_chinese(sides).startswith("主体触及图片的多处边缘（左、右、顶、底）")
    both = f"{sides} The image has no transparency; its plain background was removed."
    assert in_chinese(both) == in_chinese(sides) + "图像没有透明度；已移除其纯色背景。"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "The disk is on fire.",
        "引擎：draft",
        "cannot be read",
        "/home/a b/The service. is: busy; ok",
        os.devnull,
    ],
)
def test_what_is_not_known_stays_as_it_is(text: str) -> None:
    assert in_chinese(text) == text


@pytest.mark.parametrize(
    "value",
    [
        "{0}",
        "{",
        "}}{{",
        "{0.__class__}",
        "%s \\1 (?P<x>.*) [a-z]+$",
        "a\nb\r\n\x00c",
        "x" * 3000,
        ". : ; " * 400,
        "is damaged: " * 200,
        "\u202e\U0001f600 \ud800",
    ],
)
def test_no_value_can_do_harm(value: str) -> None:
    """What a name or a path may hold comes out as it went in."""
    said = in_chinese(f"There is no image file {value}; check the path.")
    assert said == f"没有图像文件 {value}；请检查路径。"


def test_what_somebody_has_named_is_not_translated() -> None:
    assert in_chinese('"left" is no mesh; choose a mesh object.') == "“left”不是网格；请选择网格物体。"


def test_a_value_that_reads_like_a_sentence_is_one() -> None:
    """It cannot be told apart; but it ends, however deeply one stands in another."""
    text = "x"
    for _ in range(40):
        text = f"The generation failed: {text}"
    assert in_chinese(text).startswith("生成失败：生成失败：")


@pytest.mark.parametrize(
    "text",
    ["a: " * 1300, "is damaged: x; " * 260, "The image is " + "{0} x " * 600, "The generation. " * 240],
)
def test_a_text_made_to_take_long_does_not(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tried every way to divide it, and each part again, would never end."""
    looked_for: list[str] = []
    find = Templates.find
    monkeypatch.setattr(Templates, "find", lambda self, text: looked_for.append(text) or find(self, text))
    in_chinese(f"The generation failed: {text}. Try again later.")
    assert 0 < len(looked_for) <= 1500


def test_a_text_that_is_too_long_is_none_of_ours() -> None:
    text = "Try again later. " * LONGEST
    assert in_chinese(text) == text


def test_the_template_with_the_most_words_is_taken() -> None:
    templates = Templates(["{0} is {1}", "{0} is not a list", "a {0} is not a list", "{0}"])
    for text, template, values in (
        ("a thing is not a list", "a {0} is not a list", ("thing",)),
        ("this thing is not a list", "{0} is not a list", ("this thing",)),
        ("this is a list", "{0} is {1}", ("this", "a list")),
    ):
        assert templates.find(text) == (template, literals_of(template), values)
    assert templates.find("nothing") is None  # a template without words says nothing


def test_a_template_falls_into_what_stands_around_its_values() -> None:
    assert literals_of("{0} x {1}") == ("", " x ", "")
    assert literals_of("give {{'steps': 12}}") == ("give {'steps': 12}",)
    assert values_in("give {'steps': 12}", literals_of("give {{'steps': {0}}}")) == ("12",)
