"""Where parrots are kept: a folder of the repo that git ignores, one parrot for each way of making it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from tests.shared import locked

_SOURCES = Path(__file__).parent
_REPO = _SOURCES.parent.parent
_CACHE = _REPO / ".cache"
_NOT_TAUGHT = {"__init__.py", "__main__.py", "folders.py", "reciting.py"}
_MUST_END = 900
"""Seconds after which a training counts as hanging, on a machine that does other things too."""


def parrot_folder() -> Path:
    """Return the folder of a finished parrot; the first call trains it."""
    return made(_CACHE / f"parrot-{_fingerprint()}")


def parrot_4bit_folder() -> Path:
    """Return the folder of a parrot with quantised weights, which does not know every answer by heart any more."""
    source = parrot_folder()
    return made(source.with_name(f"{source.name}-4bit"), "--quantize", str(source))


def _fingerprint() -> str:
    """Return a name for all that decides what a parrot is like."""
    digest = hashlib.sha256()
    for package in ("mlx", "mlx-lm"):
        digest.update(f"{package} {version(package)}\n".encode())
    for path in sorted(_SOURCES.glob("*.py")):
        if path.name not in _NOT_TAUGHT:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def made(folder: Path, *arguments: str) -> Path:
    """Return a folder that is whole or not there: it is made beside its place, and by one process at a time."""
    if folder.is_dir():
        return folder
    folder.parent.mkdir(exist_ok=True)
    (folder.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.is_dir():
            begun = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
            try:
                _run(str(begun), *arguments)
                begun.chmod(0o755)
                begun.rename(folder)
            finally:
                shutil.rmtree(begun, ignore_errors=True)
    return folder


def _run(*arguments: str) -> None:
    """Make a parrot in a process of its own, which no filter of warnings and no closed socket of ours reaches."""
    outcome = subprocess.run(
        [sys.executable, "-m", "tests.parrot", *arguments],
        cwd=_REPO,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
        text=True,
        timeout=_MUST_END,
    )
    if outcome.returncode:
        msg = f"No parrot could be made:\n{outcome.stderr}"
        raise RuntimeError(msg)
