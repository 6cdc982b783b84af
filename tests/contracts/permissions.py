"""Denying access to files: root ignores permissions, so root becomes an unprivileged user for the length of a call."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_NOBODY = 65534


@contextlib.contextmanager
def forbidden(*paths: Path) -> Iterator[None]:
    """Remove all permissions of these paths while the block runs."""
    modes = [(path, path.stat().st_mode) for path in paths]
    is_root = os.geteuid() == 0
    for path in paths:
        path.chmod(0)
    if is_root:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for path, mode in modes:
            path.chmod(mode)


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """Give a temporary folder that every user can enter; pytest's own are private."""
    folder = Path(tempfile.mkdtemp()).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
