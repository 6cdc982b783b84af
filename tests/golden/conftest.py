from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.processes import Machine
from tests.golden.machine import GoldenMachine, fake_packages


@pytest.fixture
def golden(tmp_path: Path) -> GoldenMachine:
    return GoldenMachine(Machine(tmp_path / "machine"), fake_packages(tmp_path / "packages"))
