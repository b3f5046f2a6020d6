"""Which tests run in every release of Blender: found by what they reach, on some of our own whose answer is known."""

from __future__ import annotations

import pytest
from conftest import run_python

pytestmark = pytest.mark.checkout


def collected(*modules: str, scope: str = "") -> set[str]:
    """The tests that a run with this scope takes, without their parameters."""
    arguments = ["-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *modules]
    environment = {"TRELLIS2_TEST_SCOPE": scope, "TRELLIS2_PASSED_FROM": "", "TRELLIS2_PASSED_TO": ""}
    done = run_python(*arguments, **environment)
    assert done.returncode in (0, 5), done.stdout + done.stderr
    return {line.rpartition("::")[2].partition("[")[0] for line in done.stdout.splitlines() if "::" in line}


def test_only_what_touches_blender_runs_in_every_release() -> None:
    pytest.importorskip("bpy")
    modules = [
        f"tests/{name}.py"
        for name in ("cli/test_cli", "api/test_rework_scene", "api/test_secrets", "task/test_settings")
    ]
    all_of_them, in_blender = collected(*modules), collected(*modules, scope="blender")
    assert in_blender >= {
        "test_generate_a_blend_with_variations_and_a_picture",  # by its fixture `clean`
        "test_batches_that_cannot_begin_are_one_sentence",  # another process, which writes a .blend
        "test_a_picture_that_cannot_be_read_does_not_stop_the_others",
        "test_the_buttons_say_why_they_are_off",  # a fixture with the extension
        "test_whole_runs",  # a script in a constant
    }
    elsewhere = {"test_help_lists_every_setting", "test_wrong_command_lines", "test_serve_answers_until_it_is_ended"}
    assert elsewhere <= all_of_them - in_blender


def test_whole_modules_are_decided_alike() -> None:
    pytest.importorskip("bpy")
    every = ["tests/scene/session/test_flow.py", "tests/scene/rebaking/test_rebake.py", "tests/project/test_install.py"]
    # what is about Blender is in each release; a batch into a .blend is not
    assert collected(*every) == collected(*every, "tests/cli/test_batch_files.py", scope="between") != set()
    # one helper of these is called `scene`, and a docstring says "blender"
    assert collected("tests/images/test_marks.py", "tests/images/test_cutout.py", scope="blender") == set()
    assert collected("tests/client/test_client.py", "tests/formats/test_glb_write.py", scope="blender") <= {
        "test_asset_says_who_made_it_and_of_what",
        "test_the_khronos_validator_takes_the_draft_engines_files",
    }
