"""The folder that the contract tests give to the real adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.permissions import shared_folder


@pytest.fixture
def place() -> Iterator[Path]:
    with shared_folder() as folder:
        yield folder
