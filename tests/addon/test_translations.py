"""The interface in other languages: every string can be looked up, is translated, and reaches Blender."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

bpy = pytest.importorskip("bpy")

from conftest import disc  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
NAME = "trellis2_translated"
FILES = sorted((ROOT / "translations").glob("*.json"))
SENTENCES = sorted((ROOT / "translations" / "sentences").glob("*.json"))


@pytest.fixture
def tool() -> ModuleType:
    """tools/make_translations.py, which only a checkout has."""
    sys.path.append(str(ROOT / "tools"))
    return importlib.import_module("make_translations")


@pytest.fixture
def extension(clean: object) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    yield module
    for name in [n for n in sys.modules if n == NAME or n.startswith(NAME + ".")]:
        del sys.modules[name]


def part(name: str) -> ModuleType:
    return importlib.import_module(f"{NAME}.{name}")


def said(template: str, **values: object) -> str:
    """A message as the extension shows it."""
    made = part("trellis_addon.core.messages").message(template, **values)
    return str(part("trellis_addon.scene.words").translate(made))


def chinese(place: str = "") -> dict[str, str]:
    words = json.loads((ROOT / "translations" / place / "zh_HANS.json").read_text(encoding="utf-8"))
    assert isinstance(words, dict)
    return words


@pytest.fixture
def in_chinese(extension: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that says sentences, with Blender looking the library's up in Chinese: bpy alone has no languages."""
    words, known = part("trellis_addon.scene.words"), chinese("sentences")

    def looked_up(text: str, context: str) -> str:
        assert context == words.CONTEXT
        return known.get(text, text)

    monkeypatch.setattr(words, "pgettext_rpt", looked_up)
    return words


@pytest.mark.checkout
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_string_has_a_translation_with_the_same_values(tool: ModuleType, path: Path) -> None:
    assert not tool.faults_of(json.loads(path.read_text(encoding="utf-8")), tool.messages())


@pytest.mark.checkout
@pytest.mark.parametrize("path", SENTENCES, ids=lambda path: path.stem)
def test_every_sentence_of_the_library_has_a_translation_with_the_same_values(tool: ModuleType, path: Path) -> None:
    assert not tool.faults_of(json.loads(path.read_text(encoding="utf-8")), tool.sentences())


def test_each_language_has_the_words_and_the_sentences() -> None:
    assert [path.name for path in FILES] == [path.name for path in SENTENCES]
    assert {path.stem for path in FILES} >= {"de_DE", "zh_HANS"}


@pytest.mark.checkout
def test_no_text_is_put_together_of_parts(tool: ModuleType) -> None:
    """Neither one of the interface's, nor the template of an error or a message: it could not be looked up."""
    assert not tool.put_together() and not tool.unreadable()


@pytest.mark.checkout
def test_what_is_for_people_is_found_in_the_sources(tool: ModuleType) -> None:
    """One of each kind: a label, a tooltip, a property, an enum's item, a table, a heading, a report."""
    found = set(tool.messages())
    assert {"Generate 3D Asset", "Read the list of jobs again", "Cutout", "Whole Picture", "Baking Textures"} <= found
    assert {"Structure Sampler", "Remote", "Imported {name}", "Current File", "There is no surface"} <= found


@pytest.mark.checkout
def test_what_the_library_says_is_found_in_its_sources(tool: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "trellis_addon" / "cli").mkdir(parents=True)
    (tmp_path / "operators").mkdir()
    (tmp_path / "trellis_addon" / "module.py").write_text(SOURCE)
    (tmp_path / "trellis_addon" / "cli" / "commands.py").write_text('raise InputError("Only the terminal reads this.")')
    (tmp_path / "operators" / "button.py").write_text('x = "a word of the interface"\nraise InputError("Broken off.")')
    found = set(tool.sentences(tmp_path))
    assert found >= {"No space left on device", ", "}
    assert {text for text in found if "system" not in text and not text[0].isupper()} | {"Broken off."} <= found
    wanted = {
        "There is no file {path}.",
        "It is red.",
        "It is blue.",
        "its colour is {colour}",
        "give a number",
        "The whole of it.",
        "Own: {what}.",
        "Refused.",
        "Broken off.",
    }
    assert wanted <= found and not [text for text in found if "terminal" in text or "log" in text]
    assert tool.unreadable(tmp_path) == [f"trellis_addon/module.py:{line}" for line in (21, 22, 23)]


SOURCE = """
class TrellisError(Exception): ...
class InputError(TrellisError): ...
class FieldError(InputError): ...
class RequestError(InputError): ...
class Own(InputError):
    def __init__(self, what):
        super().__init__("Own: {what}.", what=what)


def check(path, kind):
    log.info("what the log says of it")
    if kind:
        raise InputError("It is red." if kind == 1 else "It is blue.")
    if path:
        raise FieldError("path", path, "give a number")
    raise RequestError("code", "Refused.")
    raise FieldError("path", path, message=message("The whole of it."))
    raise InputError("There is no file {path}.", path=message("its colour is {colour}", colour=3))

raise InputError(f"There is no {path}")
raise errors.FieldError("path", path, "There is no " + path)
message("{0}".format(path))
"""


@pytest.mark.checkout
def test_a_file_with_faults_is_told_of(tool: ModuleType) -> None:
    known = {"Seed": "", "Keep {count}": "保留", "Old": "旧"}
    found = tool.faults_of(known, ["Keep {count}", "Seed"])
    assert found == ["missing: Seed", "not used any more: Old", "other values: Keep {count}"]


def test_every_operator_and_panel_of_the_running_extension_is_translated(extension: ModuleType) -> None:
    """What Blender itself will look up: nothing that is registered was missed in the sources."""
    words = chinese()
    extension.register()
    try:
        missing = {text for text in _shown() if text not in words}
    finally:
        extension.unregister()
    assert not missing


def _shown() -> Iterator[str]:
    """The words of all that is registered, without what is only a name or a number."""
    names = [name for name in dir(bpy.ops.trellis2) if name != "preset_add"]  # whose properties are Blender's own
    operators = [getattr(bpy.ops.trellis2, name).get_rna_type() for name in names]
    classes = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("TRELLIS2_")]
    assert len(operators) > 30 and len(classes) > len(operators)
    for cls in classes:
        yield getattr(cls, "bl_label", "TRELLIS.2")
    groups = [cls.bl_rna for cls in classes if issubclass(cls, (bpy.types.PropertyGroup, bpy.types.AddonPreferences))]
    for rna in operators:
        yield from (rna.name, rna.description)
    for rna in (*operators, *groups):
        inherited = rna.base.properties if rna.base else ()
        for prop in rna.properties:
            if prop.identifier not in inherited and prop.name != prop.identifier and not prop.is_hidden:
                yield from filter(None, (prop.name, prop.description))
                for item in prop.enum_items_static if prop.type == "ENUM" else ():
                    yield from (text for text in (item.name, item.description) if re.search("[A-Z][a-z]", text))


def test_the_words_are_registered_with_blender_and_taken_back(
    extension: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: dict[str, dict[str, dict[tuple[str, str], str]]] = {}
    module = part("addon.translations")
    real = module.bpy.app.translations

    class Recorder:
        @staticmethod
        def register(name: str, messages: dict[str, dict[tuple[str, str], str]]) -> None:
            registered[name] = messages
            real.register(name, messages)

        @staticmethod
        def unregister(name: str) -> None:
            del registered[name]
            real.unregister(name)

    class App:
        translations = Recorder

    class Bpy:
        app = App

    monkeypatch.setattr(module, "bpy", Bpy)
    extension.register()
    (messages,) = registered.values()
    assert set(messages) == {path.stem for path in FILES}
    assert messages["zh_HANS"]["*", "Cutout"] == messages["zh_HANS"]["Operator", "Cutout"] == "抠图"
    assert (
        messages["zh_HANS"]["TRELLIS.2", "The folder {folder} cannot be read: {reason}."]
        == "无法读取文件夹 {folder}：{reason}。"
    )
    extension.unregister()
    assert not registered
    extension.register()  # Blender refuses a name that is taken, so nothing was left
    extension.unregister()


def test_blender_shows_the_words(extension: ModuleType) -> None:
    if "zh_HANS" not in bpy.app.translations.locales:
        pytest.skip("this build of bpy has no languages")
    view = bpy.context.preferences.view
    before = view.language, view.use_translate_interface
    extension.register()
    try:
        view.language, view.use_translate_interface = "zh_HANS", True
        assert bpy.app.translations.pgettext_iface("Cutout") == "抠图"
        assert bpy.app.translations.pgettext_iface("Generate 3D Asset", "Operator") == "生成 3D 资产"
        assert said("The generation failed: {reply}", reply="x") == "生成失败：x"
        extension.unregister()
        assert bpy.app.translations.pgettext_iface("Cutout") == "Cutout"
    finally:
        view.language, view.use_translate_interface = before
        if hasattr(bpy.types, "TRELLIS2_OT_generate"):
            extension.unregister()


def test_every_stage_that_an_engine_reports_has_words(extension: ModuleType) -> None:
    """Read from the sources: what is handed to `update` as a stage."""
    stages = {"Waiting", "Cancelling"}
    for folder in ("engines", "jobs", "client", "pipeline", "geometry"):
        for path in (ROOT / "trellis_addon" / folder).rglob("*.py"):
            stages |= set(re.findall(r'(?:progress|report|packing)\.update\(\s*"([^"]+)"', path.read_text("utf-8")))
    assert {"mask", "bake", "Sending", "Downloading", "Looking at the image"} <= stages
    known = part("ui.job_panels").STAGES
    assert stages <= set(known)
    assert all(words == words.strip() and words[0].isupper() for words in known.values())


def test_lines_hold_what_fits_in_any_script(extension: ModuleType) -> None:
    lines_of = part("ui.layout").lines_of
    english = "The image has no transparency and no plain background; its subject is cut out elsewhere."
    for width in (12, 20, 33):
        if all(len(word) <= width for word in english.split()):
            assert lines_of(english, width) == textwrap.wrap(english, width)
        for text in (*chinese().values(), "/home/somebody/" + "x" * 90):
            lines = lines_of(text, width)
            assert "".join(lines).replace(" ", "") == text.replace(" ", "")
            assert not any(line.startswith(("，", "。", "；", "：", "？")) for line in lines)
    assert lines_of("封闭且干净：可直接用于打印", 12) == ["封闭且干净：", "可直接用于打", "印"]
    assert lines_of("  ", 12) == []


def test_without_another_language_a_sentence_is_as_it_is(extension: ModuleType) -> None:
    words = part("trellis_addon.scene.words")
    warnings = [*part("trellis_addon.images").prepare(disc(100).crop((40, 40, 100, 100))).warnings]
    assert warnings and [words.translate(warning) for warning in warnings] == warnings


def test_a_warning_of_the_library_is_said_in_the_language_of_the_interface(in_chinese: ModuleType) -> None:
    warnings = [*part("trellis_addon.images").prepare(disc(100).crop((40, 40, 100, 100))).warnings]
    said = [in_chinese.translate(warning) for warning in warnings]
    assert said[0].startswith("主体触及") and "左、顶" in said[0]
    assert said[1].startswith("主体只有 ") and not any("{" in text for text in said)
    assert in_chinese.translate("The disk is on fire.") == "The disk is on fire."


def test_an_operator_reports_what_went_wrong_in_the_language_of_the_interface(
    extension: ModuleType, in_chinese: ModuleType, tmp_path: Path
) -> None:
    extension.register()
    try:
        with pytest.raises(RuntimeError, match="没有图像文件 .*none.png；请检查路径。"):
            bpy.ops.trellis2.image_open(filepath=str(tmp_path / "none.png"))
        with pytest.raises(RuntimeError, match="中没有 PNG、JPEG 或 WebP 图片"):
            bpy.ops.trellis2.generate_folder(directory=str(tmp_path))
    finally:
        extension.unregister()


def test_what_a_panel_writes_is_in_the_language_of_the_interface(in_chinese: ModuleType) -> None:
    lines: list[str] = []

    class Column:
        def label(self, text: str, **others: object) -> None:
            lines.append(text)

    class Layout:
        def column(self, **others: object) -> Column:
            return Column()

    class Context:
        region = type("Region", (), {"width": 4000})
        preferences = type("Preferences", (), {"system": type("System", (), {"ui_scale": 1.0})})

    busy = part("trellis_addon.client.replies").error_from({"code": "queueFull", "message": "Come later"}, 429)
    part("ui.layout").wrapped(Layout(), busy.message, Context())
    assert "".join(lines) == "服务繁忙：Come later. 请过一分钟再试。"
    assert part("ui.job_panels").stage_name("Cutting the subject out") == "正在抠出主体"


@pytest.mark.checkout
def test_no_operator_reports_an_error_as_it_is() -> None:
    """They go through `translate`, by which they are in the artist's language."""
    found = [
        path.name
        for path in sorted((ROOT / "operators").glob("*.py"))
        if re.search(r"report\([^\n]*, (str\()?\w*(error|problem|warning)\b", path.read_text(encoding="utf-8"))
    ]
    assert not found
