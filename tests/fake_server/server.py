"""The parent's side of a fake server."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import msgspec

from tests.fake_server.worker import Note

_TIMEOUT = 30.0


@attrs.define
class FakeServer:
    """A process that serves a folder; ``options`` are those of ``mlxknife.http``."""

    folder: Path
    step_seconds: float = 0.0
    options: dict[str, object] = attrs.field(factory=dict)
    rows: int = 32
    """How many rows run at the same time."""
    url: str = attrs.field(default="", init=False)
    stderr: str = attrs.field(default="", init=False)
    """Its log, once it has ended."""
    _child: subprocess.Popen[str] = attrs.field(init=False)
    _files: tempfile.TemporaryDirectory[str] = attrs.field(factory=tempfile.TemporaryDirectory, init=False)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def journal(self) -> Path:
        return Path(self._files.name) / "journal"

    def notes(self, kind: str) -> list[Note]:
        """Return the notes of one kind that the model has written so far."""
        lines = self.journal.read_bytes().split(b"\n")[:-1] if self.journal.exists() else []
        return [note for line in lines if (note := msgspec.json.decode(line, type=Note)).kind == kind]

    def __enter__(self) -> Self:
        arguments = ["--step-seconds", str(self.step_seconds), "--rows", str(self.rows), "--journal", str(self.journal)]
        log = (Path(self._files.name) / "log").open("w")
        with log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.fake_server", str(self.folder), *arguments, "--options", self._options()],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._child.stdout is not None
        ready, _, _ = select.select([self._child.stdout], [], [], _TIMEOUT)
        self.url = self._child.stdout.readline().strip() if ready else ""
        if not self.url:
            self.__exit__(None, None, None)
            msg = f"The fake server did not start:\n{self.stderr}"
            raise RuntimeError(msg)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
            raise
        finally:
            assert self._child.stdout is not None
            self._child.stdout.close()
            self.stderr = (Path(self._files.name) / "log").read_text(errors="replace")
            self._files.cleanup()

    def _options(self) -> str:
        return json.dumps(self.options)
