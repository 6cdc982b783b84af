"""Places for the real adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contracts.permissions import open_place


@pytest.fixture
def place() -> Iterator[Path]:
    with open_place() as folder:
        yield folder
