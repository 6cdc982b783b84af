from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(hub=tmp_path / "hub", home=tmp_path / "workspaces")
