"""The settings and the task: what is set is sent, exactly, and what is not allowed is refused with its name."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence

from trellis_addon.cli import commands as cli
from trellis_addon.cli.options import settings_of
from trellis_addon.core.errors import FieldError
from trellis_addon.jobs.store import JobStore
from trellis_addon.task.settings import BY_NAME, FIELDS, SAMPLERS, SEED_MAX, SETTABLE, Field, Settings
from trellis_addon.task.task import Task, examples, new_uuid, presets, random_seed, result_seed

SEEDS = (0, 1, 2**32, 2**53 + 1, 2**63 - 1)
IMAGE = "https://example.org/helmet.webp"


@pytest.mark.parametrize("example", examples(), ids=lambda example: example["name"])
def test_published_examples_round_trip(example: dict[str, Any], tmp_path: Path) -> None:
    request = example["request"]
    task = Task.from_request(request)
    assert task.to_request() == request
    assert json.loads(json.dumps(task.to_request())) == request
    assert Task(task.image, Settings(dict(task.settings)), task.model, task.uuid) == task
    assert presets()[example["name"]] == task.settings
    JobStore(tmp_path).add(task, name="x", backend="draft")
    assert JobStore(tmp_path).get(task.uuid).task.to_request() == request


def test_there_are_four_examples() -> None:
    assert len(presets()) == 4


# --- what is set, and what is not ---


def _allowed(field: Field) -> list[Any]:
    """Values at the edges of what a field takes."""
    if field.choices:
        return list(field.choices)
    if field.uri:
        return ["https://example.org/hook?x=1", "http://localhost:8000"]
    if field.type is bool:
        return [True, False]
    top = field.minimum + 10**6 if field.maximum is None else field.maximum
    return [field.type(field.minimum), field.type(top)]


@pytest.mark.parametrize("field", SETTABLE, ids=lambda field: field.name)
def test_set_means_set_even_to_the_default(field: Field) -> None:
    value = field.effective_default if field.effective_default is not None else _allowed(field)[0]
    settings = Settings({field.name: value})
    assert list(settings) == [field.name]
    assert _leaves(settings.to_request()) == {field.path: value}
    assert settings != Settings()
    assert settings.replace(**{field.name: None}) == Settings()


def test_what_is_not_set_is_not_sent() -> None:
    assert Settings().to_request() == {}
    assert set(Task(IMAGE).to_request()) == {"taskType", "taskUUID", "model", "inputs"}
    for field in SETTABLE:
        assert Settings().value(field.name) == field.effective_default


@pytest.mark.parametrize("field", SETTABLE, ids=lambda field: field.name)
def test_the_edges_of_what_is_allowed(field: Field) -> None:
    for value in _allowed(field):
        settings = Settings({field.name: value})
        assert settings[field.name] == value and type(settings[field.name]) is type(value)
        assert Settings({field.path: value}) == settings
        assert Settings.from_request(json.loads(json.dumps(settings.to_request()))) == settings
        text = str(value).lower() if field.type is bool else str(value)
        assert field.parse(f" {text} ") == value


def _refused(field: Field) -> list[Any]:
    """Values that a field must not take."""
    bad: list[Any] = [None, [], {}, ["1"], b"1", object]
    if field.type in (int, float):
        bad += [True, False, math.nan, math.inf, -math.inf, "text", str(field.minimum), -(10**400)]
        if field.minimum is not None:
            bad += [field.minimum - 1, field.minimum - 1e-9]
        if field.maximum is not None:
            bad += [field.maximum + 1, 10**400, 10**5000]
        if field.type is float:
            bad += [field.maximum + 1e-9]
        else:
            bad += [field.minimum + 0.5 if field.minimum is not None else 512.5, 1024.0]
        if field.step:
            bad += [field.minimum + 1, field.minimum + field.step - 1]
    if field.choices and field.type is int:
        bad += [field.choices[0] + 1, field.choices[-1] * 2]
    if field.type is bool:
        bad += [0, 1, "true", "", math.nan]
    if field.type is str:
        bad += ["", "  ", 1, True, math.nan]
        bad += (
            ["example.org", "ftp://example.org/", "http://", "https:///x", "http://[", "\x00"] if field.uri else ["x"]
        )
    return bad


@pytest.mark.parametrize("field", SETTABLE, ids=lambda field: field.name)
def test_everything_else_is_refused_with_name_value_and_range(field: Field) -> None:
    for value in _refused(field):
        with pytest.raises(FieldError) as caught:
            Settings({field.name: value})
        error = caught.value
        text = str(error)
        assert (error.field, error.value) == (field.path, value) or value != value
        assert text.startswith(field.path + ":")
        assert field.allowed in text
        for bound in (field.minimum, field.maximum, field.step):
            assert bound is None or str(bound) in text
        for choice in field.choices:
            assert str(choice) in text
        if isinstance(value, (int, float)) and abs(value) < 10**40:
            assert repr(value) in text
        assert len(text) < 400
        assert json.dumps(error.constraint)


def test_a_refusal_reads_well() -> None:
    with pytest.raises(FieldError) as caught:
        Settings(texture_size=1500)
    allowed = "a whole number from 1024 to 4096 pixels in steps of 1024."
    assert sentence(caught.value) == f"settings.textureSize: 1500 cannot be used; allowed: {allowed}"
    assert caught.value.constraint == {"type": "integer", "min": 1024, "max": 4096, "multiplier": 1024}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("texturesize", "texture_size"),
        ("resolutoin", "resolution"),
        ("seeds", "seed"),
        ("settings.texSlat.stepz", "settings.texSlat.steps"),
        ("tex_slat_guidance", "tex_slat_guidance"),
    ],
)
def test_unknown_names_get_a_hint(name: str, hint: str) -> None:
    with pytest.raises(FieldError) as caught:
        Settings({name: 1})
    assert caught.value.code == "unsupportedParameter"
    assert f"did you mean {hint}" in sentence(caught.value)


def test_unknown_names_without_a_likeness_are_refused_too() -> None:
    for request in (
        {"qwertz": 1},
        {"settings": {"qwertz": 1}},
        {"settings": {"texSlat": {"qwertz": 1}}},
        {"image": "x"},
    ):
        with pytest.raises(FieldError) as caught:
            Settings.from_request(request)
        assert caught.value.code == "unsupportedParameter"
        sentence(caught.value)


@pytest.mark.parametrize("broken", [{"settings": 3}, {"settings": {"texSlat": []}}, {"inputs": "x"}])
def test_objects_must_be_objects(broken: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        Settings.from_request(broken)


def test_names_of_python_and_of_the_protocol_are_the_same_field() -> None:
    one = Settings(texture_size=2048, tex_slat_steps=20, number_results=2)
    assert one == Settings(textureSize=2048, texSlat={"steps": 20}, numberResults=2)
    assert one == Settings({"settings.textureSize": 2048, "tex_slat": {"steps": 20}, "number_results": 2})
    assert hash(one) == hash(Settings(number_results=2, tex_slat_steps=20, texture_size=2048))
    assert len({field.name for field in FIELDS}) == len({field.path for field in FIELDS}) == len(FIELDS)
    for group in SAMPLERS:
        assert sum(field.group == group for field in FIELDS) == 4


# --- seeds ---


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_keep_every_digit(seed: int, tmp_path: Path) -> None:
    task = Task(IMAGE, Settings(seed=seed))
    assert json.loads(json.dumps(task.to_request()))["seed"] == seed
    assert BY_NAME["seed"].parse(str(seed)) == seed
    options = cli._parser("x").parse_args(["generate", "a.png", "--output", "a.glb", "--seed", str(seed)])
    assert settings_of(options) == Settings(seed=seed)
    store = JobStore(tmp_path)
    store.add(task, name="x", backend="draft")
    assert store.get(task.uuid).task == task
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as connection:
        assert connection.execute("SELECT seed FROM jobs").fetchone() == (seed,)
    connection.close()


@pytest.mark.parametrize("seed", [2**63, -1, 2**64, 1e3, 2.0**53])
def test_seeds_beyond_are_refused(seed: Any) -> None:
    with pytest.raises(FieldError, match="seed: .* from 0 to 9223372036854775807"):
        Settings(seed=seed)
    with pytest.raises(FieldError, match="from 0 to 9223372036854775807"):
        BY_NAME["seed"].parse(str(seed))


def test_further_results_count_up_and_wrap() -> None:
    assert [result_seed(7, i) for i in range(3)] == [7, 8, 9]
    assert [result_seed(SEED_MAX, i) for i in range(3)] == [SEED_MAX, 0, 1]
    assert all(0 <= random_seed() < 2**32 for _ in range(50))


# --- text ---


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("remesh", "Yes", True),
        ("remesh", "off", False),
        ("remesh", "0", False),
        ("resolution", " 1536 ", 1536),
        ("tex_slat_rescale_t", "3", 3),
        ("tex_slat_rescale_t", "2.5e0", 2.5),
        ("delivery_method", "sync", "sync"),
    ],
)
def test_text_is_read(name: str, text: str, value: Any) -> None:
    found = BY_NAME[name].parse(text)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("remesh", "maybe"),
        ("remesh", ""),
        ("resolution", "1k"),
        ("resolution", "1024.5"),
        ("resolution", ""),
        ("tex_slat_rescale_t", "nan"),
        ("tex_slat_rescale_t", "inf"),
        ("tex_slat_rescale_t", "1,5"),
        ("seed", "9" * 5000),
        ("upload_endpoint", "C:\\files"),
    ],
)
def test_text_that_cannot_be_read_is_refused(name: str, text: str) -> None:
    with pytest.raises(FieldError) as caught:
        BY_NAME[name].parse(text)
    assert BY_NAME[name].allowed in sentence(caught.value)


# --- the task ---


def _request(**changes: Any) -> dict[str, Any]:
    whole = {
        "taskType": "3dInference",
        "taskUUID": new_uuid(),
        "model": "microsoft:trellis-2@4b",
        "inputs": {"image": IMAGE},
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"taskType": ...}, "taskType"),
        ({"taskType": "imageInference"}, "taskType"),
        ({"taskUUID": ...}, "taskUUID"),
        ({"taskUUID": "1234"}, "taskUUID"),
        ({"taskUUID": 7}, "taskUUID"),
        ({"model": ...}, "model"),
        ({"model": "microsoft:trellis@1"}, "model"),
        ({"inputs": ...}, "inputs.image"),
        ({"inputs": {}}, "inputs.image"),
        ({"inputs": {"image": ""}}, "inputs.image"),
        ({"inputs": {"image": 5}}, "inputs.image"),
        ({"inputs": {"image": IMAGE, "mask": IMAGE}}, "inputs.mask"),
        ({"seed": "7"}, "seed"),
        ({"settings": {"resolution": 640}}, "settings.resolution"),
        ({"outputFormat": "OBJ"}, "outputFormat"),
    ],
)
def test_requests_are_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        Task.from_request(_request(**changes))
    assert caught.value.field == field
    sentence(caught.value)


def test_tasks_take_any_version_of_uuid_in_any_case() -> None:
    for uuid in (new_uuid(), new_uuid().upper(), "0198c1b2-7d3e-7a54-9f10-2b6c8d4e1f3a"):
        assert Task.from_request(_request(taskUUID=uuid)).uuid == uuid
    assert Task(IMAGE).uuid != Task(IMAGE).uuid


def test_long_values_do_not_fill_the_message() -> None:
    with pytest.raises(FieldError) as caught:
        Settings(delivery_method="A" * 100_000)
    assert len(sentence(caught.value)) < 200


def _leaves(request: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for key, value in request.items():
        found.update(_leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found
