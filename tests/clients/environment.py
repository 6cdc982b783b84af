"""Where the real clients are kept: environments below a folder of the repo that git ignores."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.shared import locked

_CACHE = Path(__file__).parents[2] / ".cache"
NEWER = ("openai==3.54.0",)
OTHERS = ("openai==2.54.0", "litellm==1.106.2", "langchain-openai==1.7.3")
"""What stands on OpenAI's client, with the one that it can stand on."""
AGENTS = (
    "langchain-openai==1.7.4",
    "langchain-tests==1.1.9",
    "llm==0.36",
    "openai-agents==0.24.0",
    "openai==3.57.0",
    "pydantic-ai-slim[openai]==2.68.0",
)
"""What calls tools and asks for structured output."""
INSTRUCTOR = ("instructor==1.17.0", "openai==2.54.0", "pytest==9.0.3")
"""It needs older packages than the others."""
EMBEDDINGS = (
    "cohere==7.3.1",
    "langchain-openai==1.7.3",
    "langchain-tests==1.1.9",
    "litellm==1.106.2",
    "openai==2.54.0",
)
"""What embeds and ranks documents."""
JAVASCRIPT = ("@ai-sdk/openai-compatible@2.0.92", "@ai-sdk/openai@3.0.141", "ai@6.0.326", "zod@4.6.7")
"""The newest Vercel AI SDK for Node.js 20."""
_MUST_END = 900
"""Seconds after which an installation counts as hanging."""


def python(requirements: tuple[str, ...]) -> Path:
    """Return the interpreter that has some clients; the first call installs them."""

    def install(folder: Path) -> None:  # an environment knows its own place, so it cannot be made beside it and moved
        _must(sys.executable, "-m", "venv", "--without-pip", str(folder))
        pip = (sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install")
        _must(*pip, "--quiet", "--disable-pip-version-check", "--no-compile", *requirements)

    return _installed(" ".join((*requirements, sys.version, sys.prefix)), install) / "bin" / "python"


def node_modules(packages: tuple[str, ...]) -> Path:
    """Return the folder with some clients in JavaScript; the first call installs them, without scripts of theirs."""

    def install(folder: Path) -> None:
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error")
        _must("npm", "install", "--prefix", str(folder), *options, *packages)

    return _installed(" ".join(packages), install) / "node_modules"


def _installed(wanted: str, install: Callable[[Path], None]) -> Path:
    """Return a folder that one process has filled, and that is used only when it is whole."""
    folder = _CACHE / f"clients-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    stamp = folder / ".whole"
    if stamp.is_file():
        return folder
    _CACHE.mkdir(exist_ok=True)
    (_CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    with locked(folder.with_name(f"{folder.name}.lock")):
        if not stamp.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            stamp.touch()
    return folder


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
