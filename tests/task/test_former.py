"""What other versions have written is read: by its former names, and as far as it is known."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence
from service_tools import PIXEL

from trellis_addon.jobs.store import JobStore
from trellis_addon.task import former
from trellis_addon.task.former import kept_settings, passed_over, preset_settings, todays
from trellis_addon.task.presets import preset_script, shipped
from trellis_addon.task.settings import BY_PATH, Settings
from trellis_addon.task.task import Task

# As if a version before this one had called things otherwise.
RENAMED = {"settings.gridSize": "settings.resolution", "structure.steps": "settings.sparseStructure.steps", "mood": ""}
VALUES = {"settings.textureFormat": {"jpeg": "webp"}, "model": {"microsoft:trellis-2@3b": "microsoft:trellis-2@4b"}}
OLD = {"settings": {"gridSize": 512, "textureFormat": "jpeg"}, "structure": {"steps": 20}, "mood": "calm", "seed": 7}
NOW = {"settings": {"resolution": 512, "textureFormat": "webp", "sparseStructure": {"steps": 20}}, "seed": 7}


@pytest.fixture
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former, "RENAMED", RENAMED)
    monkeypatch.setattr(former, "VALUES", VALUES)


def test_former_names_stand_for_todays(renamed: None) -> None:
    assert todays(OLD) == NOW and todays(NOW) == NOW
    assert kept_settings(OLD) == (Settings.from_request(NOW), ())


def test_a_job_of_former_names_goes_on(renamed: None, tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    job = store.add(Task(PIXEL, Settings(resolution=1024)), name="pot", backend="remote")
    request = {"taskType": "3dInference", "taskUUID": job.uuid, "model": "microsoft:trellis-2@3b", **OLD}
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as connection, connection:
        connection.execute("UPDATE jobs SET request = ?", (json.dumps(request),))
    (found,) = store.recent()
    assert found.settings == Settings.from_request(NOW) and found.task.model == "microsoft:trellis-2@4b"


def test_a_preset_of_former_names_is_used(renamed: None) -> None:
    script = preset_script(Settings(seed=7)).replace("settings.seed =", "settings.grid_size = '512'\nsettings.seed =")
    script += "settings.mood = 'calm'\nsettings.steps = 20\nsettings.texture_format = 'jpeg'\n"
    assert preset_settings(script) == (Settings.from_request(NOW), ())


@pytest.mark.parametrize("name", shipped())
def test_a_preset_is_read_as_it_was_written(name: str) -> None:
    settings = shipped()[name]
    assert preset_settings(preset_script(settings)) == (settings, ())
    large = settings.replace(seed=2**63 - 1, ttl=60, include_cost=True, webhook_url="https://a.example/b?c=d'e\"")
    assert preset_settings(preset_script(large)) == (large, ())


UNKNOWN: dict[str, Any] = {
    "settings": {"wings": 2, "resolution": 2048, "textureSize": 4096},
    "taskUUID": "x",
    "seed": 1,
}


def test_what_only_a_later_version_knows_is_left_out_and_told() -> None:
    settings, unknown = kept_settings(UNKNOWN)
    assert settings == {"texture_size": 4096, "seed": 1} and unknown == ("settings.wings", "settings.resolution")
    assert "settings.wings, settings.resolution" in sentence(Exception(passed_over(unknown)))
    script = preset_script(Settings(texture_size=4096)) + 'settings.wings = 2\nsettings.resolution = "2048"\n'
    assert preset_settings(script) == (Settings(texture_size=4096), ("wings", "resolution"))


@pytest.mark.parametrize("request_", [None, 5, "text", [], {"settings": 5}, {"settings": {"texSlat": [1]}}, {"a": {}}])
def test_what_is_no_request_at_all_has_no_settings(request_: Any) -> None:
    assert kept_settings(request_)[0] == {}


@pytest.mark.parametrize(
    "line", ["import os", "settings.seed = str(5)", "print(5)", "other.seed = '5'", "seed = '5'", "("]
)
def test_a_script_that_does_more_is_left_to_blender(line: str) -> None:
    assert preset_settings(preset_script(Settings(seed=1)) + line) is None


def test_every_former_name_leads_to_a_setting() -> None:
    """Of the real table: no name leads nowhere, and none is both today's and a former one."""
    for old, path in former.RENAMED.items():
        assert old not in BY_PATH and (path in BY_PATH or not path)
    for path, values in former.VALUES.items():
        assert path in BY_PATH
        for new in values.values():
            BY_PATH[path].check(new)
