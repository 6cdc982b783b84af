"""What the workers of one test run make once and share."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WHEELS = Path(__file__).parents[1] / ".cache" / "wheels"
"""Where the wheel of the starter is kept."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that one process at a time can hold; the file stays."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of this test run that ``make`` has filled; other workers wait for the one that fills it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with locked(folder.with_name(f"{name}.lock")):
        if not folder.exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder)
                raise
    return folder


@contextmanager
def wheels_in_use() -> Iterator[None]:
    """Keep other workers from downloading the wheel of the starter meanwhile."""
    WHEELS.parent.mkdir(exist_ok=True)
    (WHEELS.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    with locked(WHEELS.with_name("wheels.lock")):
        yield
