from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.golden.stage import Desk, fake_packages


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(Machine(tmp_path / "machine"), fake_packages(tmp_path / "packages"))
