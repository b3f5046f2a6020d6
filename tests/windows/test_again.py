"""What matters on the stand-in for Windows once more: tests from elsewhere, chosen for what they start, lock and write.

Any other test can be run so: `pytest --stand-in-windows tests/...`. Those that send a signal to a process of their own
reach its launcher there.
"""

from __future__ import annotations

from typing import Any

import pytest
from test_child import (  # noqa: F401
    _module,
    test_a_python_that_is_not_there,
    test_a_talkative_one_does_not_wait_for_a_reader,
    test_it_reports_how_far_it_is,
    test_what_it_complains_of_is_its_last_line,
)
from test_local_download import mirror, target, test_goes_on_after_every_cut  # noqa: F401
from test_locks import test_one_holds_it_until_it_lets_go  # noqa: F401
from test_worker import (  # noqa: F401
    desk,
    test_killed_in_mid_step_and_both_jobs_arrive,
    test_programs_share_one_and_the_last_one_ends_it,
)

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def _first(windows: Any) -> None:
    """Before all other fixtures: they write and start things as well."""
