"""The manual's button, and what a report of a fault tells and keeps to itself."""

from __future__ import annotations

import logging
import os
import platform
from pathlib import Path

import pytest
from conftest import ROOT

bpy = pytest.importorskip("bpy")

from test_extension import NAME, extension, part  # noqa: E402, F401

pytestmark = pytest.mark.usefixtures("extension")


def test_the_manual_is_there_where_the_extension_was_built() -> None:
    page = part("addon.help").manual_page()
    if "TRELLIS2_TEST_ZIP" in os.environ:
        assert page is not None and "TRELLIS.2" in page.read_text(encoding="utf-8")
    assert bpy.ops.trellis2.manual.poll() == (page is not None)
    assert (page is not None) == Path(ROOT, "manual", "manual.html").is_file()


def test_a_report_has_what_helps_and_no_secret() -> None:
    part("addon.logs").set_level("WARNING")  # as the preferences do, which a script has not
    logging.getLogger(f"{NAME}.trellis_addon.client").warning("refused: api_key=abc123def456 at http://me:pw@box/x?y=z")
    report = part("addon.help").fault_report()
    assert bpy.app.version_string in report and platform.python_version() in report and "TRELLIS.2 " in report
    assert "Run On: draft" in report and "refused:" in report
    assert not [word for word in ("abc123def456", "pw@", "y=z") if word in report]


def test_warnings_are_kept_while_it_is_on_and_not_longer() -> None:
    logs = part("addon.logs")
    logger = logging.getLogger(NAME)
    logs.set_level("WARNING")
    for number in range(60):
        logger.warning("number %d", number)
    logs.set_level("INFO")
    assert [line.rpartition(" ")[2] for line in logs.recent()] == [str(number) for number in range(10, 60)]
    logs.reset()
    assert logs.recent() == []
