"""Messages: English made of a template and its values, said in any language; what is none of ours stays as it is."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import disc

from trellis_addon import api, images, stages
from trellis_addon.client import replies
from trellis_addon.client.backends import Backend, connect
from trellis_addon.client.client import Client
from trellis_addon.core import errors
from trellis_addon.core.errors import (
    BackendError,
    DeviceMemoryError,
    EngineError,
    FieldError,
    ImageError,
    NetworkError,
    TrellisError,
)
from trellis_addon.core.messages import (
    Message,
    all_from_wire,
    all_to_wire,
    enumeration,
    from_store,
    from_wire,
    message,
    reason_of,
    sentences,
    to_store,
    to_wire,
    translated,
)
from trellis_addon.engines import registry
from trellis_addon.formats import latents
from trellis_addon.formats.glb.check import check_glb, check_glb_file
from trellis_addon.images.cutout import apply_mask, remove_studio_background
from trellis_addon.jobs import money
from trellis_addon.jobs.job import Asset
from trellis_addon.jobs.store import JobStore
from trellis_addon.service.lifetime import exit_causes
from trellis_addon.service.protocol import error_object
from trellis_addon.task import settings, task
from trellis_addon.transfer.errors import BrokenOff, disk_trouble, refused

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES: dict[str, dict[str, str]] = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "translations" / "sentences").glob("*.json")
}
ENGLISH = re.compile(r"[a-z]{2,} [a-z]{2,} [a-z]{2,}")


def said_in(language: str, sentence: object) -> str:
    known = LANGUAGES[language]
    return translated(sentence, lambda template: known.get(template) or template)


def in_chinese(sentence: object) -> str:
    return said_in("zh_HANS", sentence)


def as_english(sentence: object) -> str:
    return translated(sentence, lambda template: template)


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
    (lambda tmp: stages.rework(Asset(tmp / "a b.glb", "a b", {}), store=JobStore(tmp)), ("“a b”", "rebake")),
    (lambda tmp: money.set_limit(JobStore(tmp), "week", 1.0), ('"week"', "允许：day、month")),
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


@pytest.mark.parametrize(("go_wrong", "wanted"), REAL)
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
    assert as_english(raised.value) == str(raised.value)


def test_what_the_service_says_is_said_piece_by_piece() -> None:
    """The frame is ours, the service's own words are as they are, or ours again when it is our service."""
    theirs = replies.error_from({"code": "insufficientCredits", "message": "Top up to continue using the API"}, 402)
    assert in_chinese(theirs) == "余额不足：Top up to continue using the API. 请为账户充值后重试。"
    refusal = FieldError("settings.resolution", 700, message("allowed: {allowed}", allowed=[512, 1024, 1536]))
    ours = replies.error_from({**error_object(refusal), "code": "invalidValue"}, 400)
    assert str(ours) == f"The service does not take the task: {refusal}"
    assert in_chinese(ours) == "服务不接受此任务：settings.resolution：无法使用 700；允许：512、1024、1536。"
    failed = replies.error_from({"code": "inferenceFailed", "message": str(EngineError("The reactor is cold."))})
    assert in_chinese(failed) == "生成失败：The reactor is cold."


def test_what_came_beside_a_message_is_not_relied_on() -> None:
    """A service that is none of ours may send anything: only what makes the very message is taken for its template."""
    text = "The image is 3 x 4 pixels."
    template, values = "The image is {width} x {height} pixels.", {"width": 3, "height": 4}
    assert from_wire(text, {"template": template, "values": values}).values == values
    for wrong in (
        {},
        {"template": template},
        {"template": template, "values": {"width": 3, "height": 5}},
        {"template": template, "values": {"width": 3}},
        {"template": 7, "values": values},
        {"template": "{width.__class__}", "values": values},
        {"template": "{width:>999999999}", "values": values},
        {"template": "{width[0]}", "values": values},
        {"template": "{0}", "values": values},
        {"template": "{width!r}", "values": values},
        {"template": "{", "values": values},
    ):
        found = from_wire(text, wrong)
        assert found == text and not found.values
        assert replies.error_from({"code": "inferenceFailed", "message": text, **wrong}).values["reply"] == text
    deep: dict[str, Any] = {"message": "x", "template": "{a}", "values": {"a": "x"}}
    for _ in range(50):
        deep = {"message": "x", "template": "{a}", "values": {"a": deep}}
    assert str(from_wire("x", deep)) == "x"


def test_messages_go_over_the_wire_and_into_the_store_whole() -> None:
    inner = message("its {name} has {rows} rows for {places} places", name="x{", rows=np.int64(3), places=4)
    error = DeviceMemoryError("The latents cannot be used: {why}; {items}", why=inner, items=["a", message("left")])
    wire = json.loads(json.dumps({"message": str(error), **to_wire(error.message)}))
    found = from_wire(wire["message"], wire)
    assert found == str(error) and found.values["why"].values["rows"] == 3
    assert in_chinese(found) == in_chinese(error)
    assert from_store(to_store(error.message)).values == error.values
    notes = (message("plain"), inner)
    assert [note.values for note in all_from_wire(list(notes), all_to_wire(notes))] == [{}, inner.values]
    assert all_from_wire(["a", "b"], None) == all_from_wire(["a", "b"], [{}]) == ("a", "b")


def test_what_an_earlier_version_stored_is_shown_as_it_is() -> None:
    for text in ("", "The image is 3 x 4 pixels.", '{"message": ', '{"message": 3}', '{"a": "b"}', "{0} {x"):
        assert from_store(text) == text == in_chinese(from_store(text))
        assert str(from_store(to_store(text))) == text


def test_a_clause_is_said_within_its_sentence() -> None:
    cause = exit_causes.cause_of(-9, "", 1)
    text = message(
        "The local worker ended {count} times in a row and is not started again by itself. The last time: {cause}.",
        count=3,
        cause=cause,
    )
    assert in_chinese(text) == "本地工作进程连续结束了 3 次，不再自动启动。最近一次：机器的内存已用尽，系统将其结束。"
    sides = images.prepare(disc(100).crop((20, 20, 80, 80))).warnings[0]
    assert "left, right, top and bottom edges" in sides
    assert in_chinese(sides).startswith("主体触及图片的多处边缘（左、右、顶、底）")
    both = sentences(sides, images.STUDIO_NOTICE)
    assert both == f"{sides} {images.STUDIO_NOTICE}"
    assert in_chinese(both) == in_chinese(sides) + "图像没有透明度；已移除其纯色背景。"


@pytest.mark.parametrize(
    "value", ["", " ", ".", "The disk is on fire.", "引擎：draft", "/a b/The service. is: ok", os.devnull]
)
def test_what_is_not_known_stays_as_it_is(value: str) -> None:
    assert in_chinese(value) == in_chinese(message(value)) == value


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
        "\u202e\U0001f600 \ud800",
    ],
)
def test_no_value_can_do_harm(value: str) -> None:
    """What a name or a path may hold comes out as it went in."""
    error = ImageError("There is no image file {path}; check the path.", path=value)
    assert str(error) == f"There is no image file {value}; check the path."
    assert in_chinese(error) == f"没有图像文件 {value}；请检查路径。"
    assert str(EngineError(value)) == value == in_chinese(EngineError(value))


def test_what_somebody_has_named_is_not_translated() -> None:
    assert (
        in_chinese(message('"{name}" is no mesh; choose a mesh object.', name="left"))
        == "“left”不是网格；请选择网格物体。"
    )


def test_a_message_within_a_message_is_said_however_deep() -> None:
    text: Message = message("x")
    for _ in range(40):
        text = message("The generation failed: {reply}", reply=text)
    assert in_chinese(text) == "生成失败：" * 40 + "x"


def test_a_fault_in_a_file_of_a_language_leaves_the_sentence_english() -> None:
    said = message("{count} jobs", count=3)
    for words in ("{number} Aufträge", "{count", "{count.x}", "{0}", "{count:d}{count:q}"):
        assert translated(said, lambda template, words=words: words) == "3 jobs"


def test_values_are_kept_plain_and_formatted() -> None:
    error = EngineError(
        "{path} {size:.1f} {share:.0%} {count} {items} {flag}",
        path=Path("a"), size=np.float32(1.25), share=0.5, count=np.int64(7), items=(1, "b"), flag=True,
    )  # fmt: skip
    assert str(error) == "a 1.2 50% 7 1, b True"
    assert error.values == {"path": "a", "size": 1.25, "share": 0.5, "count": 7, "items": (1, "b"), "flag": True}
    assert error.template == "{path} {size:.1f} {share:.0%} {count} {items} {flag}"
    json.dumps(error.values)
    assert str(EngineError("a {brace}")) == "a {brace}"  # without values the text is itself
    assert str(EngineError("a {{brace}} {x}", x=1)) == "a {brace} 1"
    assert enumeration(["a"]) == "a" and enumeration("abc") == "a, b and c" and sentences("", "a", "", "b") == "a b"


def test_an_error_within_an_error_keeps_its_own_template() -> None:
    inner = NetworkError("The download has to begin again.", code="downloadFailed")
    outer = NetworkError("The answer to the task got lost, and another attempt was refused. {reason}", reason=inner)
    assert outer.values["reason"].template == inner.template
    assert str(outer).endswith(str(inner)) and "refused. " in str(outer)
    assert in_chinese(outer).endswith(in_chinese(inner))
    system = reason_of(OSError(errno.ENOSPC, "No space left on device"))
    assert in_chinese(system) == LANGUAGES["zh_HANS"]["No space left on device"]
    caused = EngineError("{what} must be a list.", what=ValueError(message("left")))
    assert caused.values["what"].template == "left"


def raise_again(error: BackendError) -> None:
    try:
        raise error
    except BackendError as first:
        raise EngineError("{reason}", reason=first) from first


def test_every_error_can_be_copied_and_pickled() -> None:
    made = [
        FieldError("settings.seed", "x" * 100, "give another", code="invalidSeed", constraint={"min": 1}),
        BackendError("{host} is away", host="a", code="gone", field="f", raw={"a": 1}),
        BrokenOff("{name} broke off", 503, 2.0, name="b"),
        refused(429, "a.bin", "example.org", 90.0),
        *(getattr(errors, name)("{a} b", a=message("{c}", c=1)) for name in ("ImageError", "Cancelled", "StoreError")),
    ]
    for error in made:
        for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            assert type(twin) is type(error) and str(twin) == str(error)
            assert twin.template == error.template and twin.values == error.values
            assert {**twin.__dict__} == {**error.__dict__}
    with pytest.raises(EngineError) as second:
        raise_again(made[1])
    assert second.value.__cause__ is made[1] and str(second.value) == "a is away"


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_template_of_a_language_takes_the_values(language: str) -> None:
    """With a number for each: a format that does not fit would leave the sentence English."""
    for template, words in LANGUAGES[language].items():
        names = set(re.findall(r"(?<!{){(\w+)(?::[^}]*)?}", template))
        if names and words:
            said = message(template, **dict.fromkeys(names, 1))
            assert translated(said, lambda _, words=words: words) == words.format(**dict.fromkeys(names, 1))


ASIAN = re.compile("[\u3000-\u303f\uff00-\uffef\u4e00-\u9fff]")  # letters and punctuation


@pytest.mark.parametrize("go_wrong", [go_wrong for go_wrong, _ in REAL])
def test_a_real_error_is_said_in_german(
    go_wrong: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNWARE_API_KEY", raising=False)
    with pytest.raises(TrellisError) as raised:
        go_wrong(tmp_path)
    said = said_in("de_DE", raised.value)
    assert said != str(raised.value) and not ASIAN.search(said)


def test_punctuation_is_the_languages() -> None:
    german = {
        "The job {name} failed: {reason}": "Der Auftrag „{name}“ ist fehlgeschlagen: {reason}",
        "The image is {kind}; use {formats}.": "Das Bild ist {kind}; {formats} benutzen.",
        ", ": " / ",
        "{others} and {last}": "{others} und {last}",
    }
    image = ImageError("The image is {kind}; use {formats}.", kind="big", formats=enumeration(["PNG", "JPEG", "WebP"]))
    both = sentences(message("The job {name} failed: {reason}", name="lamp", reason=image), "So.")
    assert both == "The job lamp failed: The image is big; use PNG, JPEG and WebP. So."
    said = translated(both, lambda template: german.get(template, template))
    assert said == "Der Auftrag „lamp“ ist fehlgeschlagen: Das Bild ist big; PNG / JPEG und WebP benutzen. So."
    sides = images.prepare(disc(100).crop((20, 20, 80, 80))).warnings[0]
    assert "links, rechts, oben und unten" in said_in("de_DE", sides)


def test_no_word_of_one_language_is_in_another() -> None:
    for name, known in LANGUAGES.items():
        found = [words for words in known.values() if ASIAN.search(words)]
        assert bool(found) == (name == "zh_HANS")
