"""Contracts: read, refused in a sentence, and held against GLB files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trellis_addon.cli import main
from trellis_addon.contract.check import check
from trellis_addon.contract.contract import Contract, Range, find_contract
from trellis_addon.contract.glb_facts import glb_facts
from trellis_addon.contract.presets import PRESETS
from trellis_addon.core.errors import DamagedFileError, FieldError, InputError
from trellis_addon.formats.glb.check import split_glb
from trellis_addon.formats.glb.write import Material, Mesh, container, write_glb

# A box of 2 x 4 x 1 metres (glTF: x, y up, z), standing on the ground; each corner once, so that it is closed.
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (0, 4) for z in (-0.5, 0.5)], np.float32)
_SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
_FACES = np.array([t for a, b, c, d in _SIDES for t in ((a, b, c), (a, c, d))], np.uint32)
KEEPS = {
    "name": "ours",
    "height": 4,
    "front": "-Y",
    "origin": "bottom",
    "names": "SM_*",
    "triangles": [12, 12],
    "parts": 1,
    "materials": 1,
    "texture_size": 64,
    "power_of_two": True,
    "maps": ["base_color"],
    "watertight": True,
    "uvs": True,
    "applied": True,
}


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (200, 90, 30)).save(buffer, "PNG")
    return buffer.getvalue()


def asset(
    path: Path, *, faces: Any = _FACES, shift: Any = (0, 0, 0), texture: Any = (64, 64), uvs: bool = True, **node: Any
) -> Path:
    glb = write_glb(
        Mesh(
            positions=_CORNERS + np.array(shift, np.float32),
            faces=np.asarray(faces, np.uint32),
            uvs=np.ascontiguousarray(_CORNERS[:, :2]) / 4 + 0.3 if uvs else None,
            name="SM_Box",
        ),
        Material(base_colour=png(*texture) if texture else None),
    )
    document, binary = split_glb(glb)
    document["nodes"][0].update(node)
    path.write_bytes(container(document, bytes(binary)))
    return path


def broken(path: Path, rules: Any) -> list[str]:
    return [finding.rule for finding in check(glb_facts(path), find_contract(rules))]


def test_an_asset_that_keeps_every_rule(tmp_path: Path) -> None:
    file = tmp_path / "contract.json"
    file.write_text(json.dumps(KEEPS), encoding="utf-8-sig")
    box = asset(tmp_path / "box.glb")
    assert broken(box, file) == [] == broken(box, str(file))
    facts = glb_facts(box)
    assert facts.height == pytest.approx(4.0) and facts.front == "-Y" and facts.is_watertight
    assert facts.surface.triangles == 12 and facts.surface.components == 1


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("names", {"name": "Box"}),
        ("height", {"scale": [2, 2, 2]}),
        ("front", {"rotation": [0, 0.70710678, 0, 0.70710678]}),
        ("front", {"extras": {"trellis2_front": "+X"}}),
        ("origin", {"shift": (0, -2, 0)}),
        ("origin", {"translation": [0.5, 0, 0]}),
        ("triangles", {"faces": _FACES[:10]}),
        ("parts", {"faces": _FACES[[0, 1, 2, 3]]}),
        ("watertight", {"faces": _FACES[:11]}),
        ("watertight", {"faces": np.concatenate([_FACES[:11], _FACES[11:, ::-1]])}),
        ("applied", {"rotation": [0, 0.70710678, 0, 0.70710678]}),
        ("applied", {"scale": [1, 1, 3]}),
        ("texture_size", {"texture": (128, 128)}),
        ("power_of_two", {"texture": (60, 64)}),
        ("maps", {"texture": None}),
        ("uvs", {"uvs": False, "texture": None}),
    ],
)
def test_each_rule_is_caught(tmp_path: Path, rule: str, changes: dict[str, Any]) -> None:
    box = asset(tmp_path / "box.glb", **changes)
    assert rule in broken(box, KEEPS)
    assert broken(box, {rule: KEEPS[rule]}) == [rule], "and nothing that is not asked for"
    sentence = check(glb_facts(box), find_contract({rule: KEEPS[rule]}))[0].sentence
    assert sentence.endswith(".") and "{" not in sentence


def test_materials_in_use_are_counted(tmp_path: Path) -> None:
    mesh = Mesh(positions=_CORNERS, faces=_FACES[:6], name="SM_Box")
    path = tmp_path / "two.glb"
    path.write_bytes(write_glb(mesh, Material(name="A"), further=[(_FACES[6:], Material(name="B"))]))
    assert glb_facts(path).materials == ("A", "B")
    assert broken(path, {"materials": 1}) == ["materials"] and broken(path, {"materials": 2}) == []


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ({"tringles": 5}, "tringles"),
        ({"triangles": "many"}, "triangles"),
        ({"triangles": [5, 2]}, "triangles"),
        ({"triangles": [1, 2, 3]}, "triangles"),
        ({"triangles": 0}, "triangles"),
        ({"height": True}, "height"),
        ({"height": -1}, "height"),
        ({"height": float("nan")}, "height"),
        ({"front": "up"}, "front"),
        ({"front": 3}, "front"),
        ({"origin": "left"}, "origin"),
        ({"names": []}, "names"),
        ({"maps": ["colour of magic"]}, "maps"),
        ({"texture_size": 1.5}, "texture_size"),
        ({"watertight": "yes"}, "watertight"),
        ({"watertight": 1}, "watertight"),
        ({"triangles": 10**400}, "triangles"),
        ({"triangles": 1e300}, "triangles"),
        ({"triangles": 5.5}, "triangles"),
        ({"materials": {"most": 1}}, "materials"),
        ({"height": "1.8 m"}, "height"),
        ({"height": "180"}, "height"),
        ({"wall": "0.8 mm"}, "wall"),
        ({"wall": 0}, "wall"),
        ({"texture_size": 10**400}, "texture_size"),
        ({"texture_size": "2048"}, "texture_size"),
        ({"maps": [["normal"]]}, "maps"),
        ({"Triangles": 5}, "Triangles"),
        ({5: 5}, "5"),
    ],
)
def test_a_rule_that_is_none_is_named(rules: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        find_contract(rules)
    assert caught.value.field == field and field in str(caught.value)


@pytest.mark.parametrize("source", ["", None, 5, [1], b"unity"])
def test_what_is_no_contract_at_all(source: Any) -> None:
    with pytest.raises(FieldError, match="give a JSON file of rules, or one of unreal"):
        find_contract(source)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_editors_put_marks_before_a_file(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "contract.json"
    file.write_text('{"names": "Größe_*", "watertight": null}', encoding=encoding)
    assert find_contract(file) == Contract(names=("Größe_*",))
    file.write_text('{"triangles": 5, "parts": 1, "triangles": 7}', encoding=encoding)
    with pytest.raises(FieldError, match="triangles: 5 .* twice"):
        find_contract(file)


@pytest.mark.parametrize(
    "content", ["", " ", "{", "{}", '{"name": "Ours"}', "null", "[]", "7", "[" * 100_000, "\x00", '{"parts": 1,}']
)
def test_a_file_that_is_no_contract(tmp_path: Path, content: str) -> None:
    file = tmp_path / "contract.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"contract\.json"):
        find_contract(file)


def test_a_file_of_ours_says_where_it_goes_wrong(tmp_path: Path) -> None:
    file = tmp_path / "contract.json"
    file.write_text('{\n  "parts": 1, // one\n  "triangles": 5\n}', encoding="utf-8")
    with pytest.raises(InputError, match="line 2, column 15"):
        find_contract(file)


def test_every_preset_is_a_contract() -> None:
    for name in PRESETS:
        assert find_contract(name).name
    assert find_contract(" Unreal ").names == ("SM_*",)
    assert find_contract({"height": [1, 2], "origin": "center"}) == Contract(height=Range(1, 2), origin="centre")
    with pytest.raises(FieldError, match="unreal, unity, godot, print, film"):
        find_contract("unrael")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(KEEPS), encoding="utf-8")
    good = asset(tmp_path / "good.glb")
    asset(tmp_path / "worse.glb", shift=(0, 1, 0))
    assert main(["check", f"{good}", "--contract", f"{rules}"]) == 0
    assert "good.glb: keeps the contract" in capsys.readouterr().out
    assert main(["check", f"{tmp_path}", "--contract", f"{rules}"]) == 1
    shouting = tmp_path / "shouting"
    shouting.mkdir()
    (shouting / "BOX.GLB").write_bytes(good.read_bytes())
    assert main(["check", f"{shouting}", "--contract", f"{rules}"]) == 0
    said = capsys.readouterr().out
    assert "good.glb: keeps" in said and "worse.glb: breaks 1 of its rules\n  origin: Its origin is 1 m away" in said

    (tmp_path / "cut.glb").write_bytes(good.read_bytes()[:100])
    for arguments, words in (
        ([f"{tmp_path / 'cut.glb'}", "--contract", "unity"], "cut.glb"),
        ([f"{tmp_path / 'none.glb'}", "--contract", "unity"], "There is no file"),
        ([f"{tmp_path / 'none'}", "--contract", "unity"], "There is no file"),
        ([f"{rules}", "--contract", "unity"], "is no GLB"),
        ([f"{good}", "--contract", "unrael"], "unrael"),
    ):
        assert main(["check", *arguments]) == 1
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said
    with pytest.raises(DamagedFileError):
        glb_facts(tmp_path / "cut.glb")


def test_what_stands_in_a_file_says_nothing_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = tmp_path / "rules.json"
    for content in ({"names": "\x1b[31mred*"}, {"\x1b[31m" + "r" * 1000: 1}):
        rules.write_text(json.dumps(content), encoding="utf-8")
        assert main(["check", f"{asset(tmp_path / 'good.glb')}", "--contract", f"{rules}"]) == 1
        said = "".join(capsys.readouterr())
        assert "\x1b" not in said and "\\x1b[31m" in said and len(said) < 500
