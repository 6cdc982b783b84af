from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Make a machine without a cache."""
    return Machine(tmp_path)
