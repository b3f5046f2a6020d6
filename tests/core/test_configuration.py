"""What the environment, the preferences and a command line say: who counts, and that nothing is left behind."""

from __future__ import annotations

import ast
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

from trellis_addon.core.configuration import (
    KEY_VARIABLE,
    VARIABLES,
    WEIGHTS_VARIABLE,
    Configuration,
    choose,
    configuration,
    is_given,
    overrule,
)


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    yield
    choose(weights="")
    overrule(weights="")


def test_the_environment_counts_more_than_a_choice_and_less_than_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert configuration().weights == "" and not is_given("weights")
    choose(weights="/chosen")
    assert configuration().weights == "/chosen" and not is_given("weights")
    monkeypatch.setenv(WEIGHTS_VARIABLE, "")
    assert configuration().weights == "/chosen", "an empty variable says nothing"
    monkeypatch.setenv(WEIGHTS_VARIABLE, "/studio")
    assert configuration().weights == "/studio" and is_given("weights")
    overrule(weights="/told")
    assert configuration().weights == "/told"
    overrule(weights="")
    choose(weights="")
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    assert configuration().weights == ""


def test_a_choice_reaches_processes_and_not_this_one_s_environment() -> None:
    before = dict(os.environ)
    choose(weights="/chosen")
    assert configuration().variables[WEIGHTS_VARIABLE] == "/chosen"
    assert dict(os.environ) == before


def test_a_quoted_tilde_is_the_user_s_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, "~/weights")
    assert configuration().weights == os.path.expanduser("~/weights") != "~/weights"
    monkeypatch.setenv(KEY_VARIABLE, "~secret")
    assert configuration().api_key == "~secret"


def test_it_is_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = configuration()
    monkeypatch.setenv(WEIGHTS_VARIABLE, "/later")
    assert taken.weights == "" and WEIGHTS_VARIABLE not in taken.variables
    with pytest.raises(dataclasses.FrozenInstanceError):
        taken.weights = "/other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        taken.variables["X"] = "y"  # type: ignore[index]


def test_every_field_has_its_variable_and_secrets_are_not_chosen() -> None:
    assert {field.name for field in dataclasses.fields(Configuration)} == {*VARIABLES, "variables"}
    with pytest.raises(ValueError, match="secret"):
        choose(api_key="k")
    assert KEY_VARIABLE not in configuration().variables or os.environ.get(KEY_VARIABLE)


@pytest.mark.checkout
def test_nobody_else_reads_the_environment() -> None:
    readers = []
    for folder in ("trellis_addon", "addon", "operators", "ui"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if any(isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") for node in ast.walk(tree)):
                readers.append(path.relative_to(ROOT))
    assert readers == [Path("trellis_addon/core/configuration.py")]
