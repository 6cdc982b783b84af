"""Where the real clients are kept: a virtual environments below a folder of the repo that git ignores."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.shared import locked

_CACHE = Path(__file__).parents[2] / ".cache"
NEWEST = ("openai==3.54.0",)
OTHERS = ("openai==2.54.0", "litellm==1.106.2", "langchain-openai==1.7.3")
"""What stands on OpenAI's client, with the one that it can stand on."""
_MUST_END = 900
"""Seconds after which an installation counts as hanging."""


def python(requirements: tuple[str, ...]) -> Path:
    """Return the interpreter that has some clients; the first call installs them."""
    wanted = " ".join((*requirements, sys.version, sys.prefix))
    folder = _CACHE / f"clients-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    interpreter, stamp = folder / "bin" / "python", folder / ".whole"
    if stamp.is_file():
        return interpreter
    _CACHE.mkdir(exist_ok=True)
    (_CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not stamp.is_file():  # an environment knows its own place, so it cannot be made beside it and moved
            shutil.rmtree(folder, ignore_errors=True)
            _must(sys.executable, "-m", "venv", str(folder))
            _must(str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements)
            stamp.touch()
    return interpreter


def _must(*command: str) -> None:
    """Run a command with the surroundings of the caller, where the settings of pip are; raise where it fails."""
    with tempfile.TemporaryFile("w+") as output:
        code = subprocess.run(
            command,
            env=os.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
            timeout=_MUST_END,
        ).returncode
        output.seek(0)
        if code:
            msg = f"The clients could not be installed:\n{output.read()}"
            raise RuntimeError(msg)
