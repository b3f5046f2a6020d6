"""Installing on the stand-in for Windows once more: see `test_again.py`."""

from __future__ import annotations

import pytest
from test_again import _first  # noqa: F401
from test_local_install import (  # noqa: F401
    _lock_of_them,
    chosen,
    index,
    machine,
    packages,
    test_one_at_a_time,
    test_the_command_line,
    test_the_library_is_copied_by_version,
)

pytestmark = pytest.mark.once
