"""Being somebody who may not: permissions mean nothing to root, so root becomes nobody for the length of a call."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534


@contextlib.contextmanager
def forbidden(*places: Path) -> Iterator[None]:
    """Take all rights from these places while the block runs."""
    modes = [(place, place.stat().st_mode) for place in places]
    is_root = os.geteuid() == 0
    for place in places:
        place.chmod(0)
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for place, mode in modes:
            place.chmod(mode)


@contextlib.contextmanager
def open_place() -> Iterator[Path]:
    """Give a folder that everybody may reach, which pytest's own are not."""
    place = Path(tempfile.mkdtemp()).resolve()
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)
