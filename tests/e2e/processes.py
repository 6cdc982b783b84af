"""Running the installed programs as a user does, with nothing of the tester's own surroundings."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from tests.builder import CacheBuilder, Files, write_workspace
from tests.fork_server.install import programs_folder

BIN = Path(sys.executable).parent
MUST_END = 60
"""Seconds after which a program counts as hanging."""


@attrs.frozen
class Outcome:
    """What a process left behind."""

    code: int
    out: str
    err: str

    def document(self) -> dict[str, object]:
        """Return the one JSON document on stdout; anything else there, or any NaN, is a failure."""
        value = json.loads(self.out, parse_constant=_refuse)
        assert isinstance(value, dict)
        return value

    def data(self) -> dict[str, object]:
        document = self.document()
        data = document["data"]
        assert document["status"] == "success"
        assert isinstance(data, dict)
        return data

    def error(self) -> dict[str, object]:
        document = self.document()
        error = document["error"]
        assert (document["status"], document["data"]) == ("error", None)
        assert isinstance(error, dict)
        return error

    def names(self) -> list[str]:
        models = self.data()["models"]
        assert isinstance(models, list)
        return [model["name"] for model in models]


def _refuse(constant: str) -> object:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


@attrs.frozen
class Machine:
    """A user's home with a cache and workspaces in it."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def home(self) -> Path:
        return self.root / "workspaces"

    @property
    def cache(self) -> CacheBuilder:
        return CacheBuilder(self.hub)

    def workspace(self, name: str, files: Files | None = None) -> Path:
        return write_workspace(self.home / name, files)

    def bare_environment(self) -> dict[str, str]:
        """Return what every process needs: no cache, no workspaces, no settings named."""
        user = self.root / "user"
        user.mkdir(exist_ok=True, parents=True)
        path = os.pathsep.join((programs_folder(), str(BIN), os.environ.get("PATH", "")))
        kernels = os.environ["MLXK_TEMP"]
        return {"PATH": path, "HOME": str(user), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "MLXK_TEMP": kernels}

    def environment(self, **variables: str) -> dict[str, str]:
        places = {"HF_HUB_CACHE": str(self.hub), "MLXK_WORKSPACE_HOME": str(self.home)}
        return self.bare_environment() | places | variables

    def run(
        self,
        *words: str,
        program: str = "mlxk",
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Outcome:
        """Run a program with its output into pipes."""
        done = subprocess.run(
            [str(BIN / program), *words],
            env=self.environment() if environment is None else environment,
            cwd=cwd or self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=MUST_END,
        )
        return Outcome(done.returncode, _text(done.stdout), _text(done.stderr))

    def shell(self, script: str, **variables: str) -> Outcome:
        """Run a line of bash."""
        done = subprocess.run(
            ["bash", "-c", script],
            env=self.environment(**variables),
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=MUST_END,
        )
        return Outcome(done.returncode, _text(done.stdout), _text(done.stderr))

    def on_terminal(self, *words: str, **variables: str) -> Outcome:
        """Run ``mlxk`` with stdout and stderr on one terminal; what it shows is in ``out``."""
        mine, theirs = pty.openpty()
        try:
            with subprocess.Popen(
                [str(BIN / "mlxk"), *words],
                env=self.environment(**variables),
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
            ) as process:
                os.close(theirs)
                theirs = -1
                shown = read_all(mine)
                code = process.wait(MUST_END)
        finally:
            os.close(mine)
            if theirs >= 0:
                os.close(theirs)
        return Outcome(code, _text(shown).replace("\r\n", "\n"), "")


def read_all(terminal: int) -> bytes:
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side is gone
            return b"".join(chunks)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
