"""The servers: ours and its peers, each started once, in a group of processes of its own, on the same model folder."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import make_environment, surroundings, versions

OURS, LM, VLLM, KNIFE = "ours", "mlx_lm.server", "vllm-mlx", "mlx-knife"
OURS_WITHOUT = "ours with MLX's BLAS"
PEERS = (LM, VLLM, KNIFE)
CHAT = "/v1/chat/completions"
_BENCH = Path(__file__).resolve().parent.parent.parent / ".bench"
_BACKEND = ("mlx[cpu]",) if sys.platform == "linux" else ()
_WANTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    LM: ("mlx-lm", ("mlx-lm==0.32.2", *_BACKEND)),
    VLLM: ("vllm-mlx", ("vllm-mlx==0.6.0", *_BACKEND)),
    KNIFE: ("peer", ("mlx-knife==2.0.8", *_BACKEND)),
}
"""For each peer the name of its environment below .bench/ and what is in it; catalog.py shares the last."""
_START = 180.0
_END = 10.0
_TOLD = 400


@dataclass
class Server:
    """One server, by the name that it has in the table."""

    name: str
    command: Sequence[str]
    home: Path
    port: int
    model: str
    process: subprocess.Popen[bytes] | None = None
    why_not: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    more: Mapping[str, str] = field(default_factory=dict)
    """What surrounds it beside what surrounds all."""
    only: str = ""
    """What alone is measured of it."""

    def takes_part_in(self, what: str) -> bool:
        """Whether something is measured of it."""
        return self.is_there and self.only in ("", what)

    @property
    def is_there(self) -> bool:
        """Whether it can be asked."""
        return self.process is not None and not self.why_not

    def start(self, path: str = CHAT) -> None:
        """Start it, and wait until it answers; where it does not, ``why_not`` says so."""
        if self.why_not:
            return
        log = self.home / f"{self.name}.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                self.command,
                env={**surroundings(self.home), **self.more},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home,
            )
        end, last = time.monotonic() + _START, ""
        while time.monotonic() < end and self.process.poll() is None:
            last = self._glance(path)
            if not last:
                return
            time.sleep(0.2)
        said = log.read_text(errors="replace").strip()[-_TOLD:]
        self.why_not = f"does not serve: {last or 'it ended'}; {said}"
        self.stop()

    def stop(self) -> None:
        """End it and all that it started."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_END)
        self.process = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for a document."""
        return self._ask("GET", path, None)

    def _glance(self, path: str) -> str:
        """Return what is in the way of an answer, or nothing."""
        question = {"messages": [{"role": "user", "content": " a"}], "model": self.model, "max_tokens": 2}
        try:
            status, body = (
                self._ask("POST", path, json.dumps(question).encode()) if path == CHAT else self._ask("GET", path, None)
            )
        except (OSError, http.client.HTTPException) as exc:
            return type(exc).__name__
        return "" if status == http.client.OK else f"{status} {body[:_TOLD].decode('utf-8', 'replace')}"

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def ours(home: Path, *, model: str | None) -> Server:
    """Return our server, with a model or with none."""
    port = _free_port()
    command = [sys.executable, "-m", "mlxknife", "serve", "--port", str(port), "--json"]
    if model is not None:
        command += ["--model", model]
    return Server(
        OURS,
        command,
        home,
        port,
        model or "",
        versions=versions(Path(sys.executable), ("mlxknife", "mlx", "mlx-lm", "uvicorn", "starlette")),
    )


def ours_without_blas(home: Path, *, model: str, only: str) -> Server:
    """Return our server as it is without the faster BLAS that it installs with: with MLX's own, like the peers."""
    server = ours(home, model=model)
    hidden = home / "hidden"
    for package in ("faiss", "cv2"):  # where a BLAS is looked for
        (hidden / package).mkdir(parents=True)
        (hidden / package / "__init__.py").touch()
    server.name, server.only, server.more = OURS_WITHOUT, only, {"PYTHONPATH": str(hidden)}
    return server


def peers(home: Path, name_of_model: str, folder: Path) -> Iterator[Server]:
    """Yield the peers, each as it installs; one that cannot be installed says why."""
    for name in PEERS:
        port = _free_port()
        place, requirements = _WANTED[name]
        try:
            programs = make_environment(_BENCH / place, requirements)
        except SystemExit as exc:  # the other rows can be measured without it
            yield Server(name, (), home, port, "", why_not=f"cannot be installed: {str(exc)[-_TOLD:]}")
            continue
        model = name_of_model if name == KNIFE else str(folder)
        packages = [requirement.partition("==")[0] for requirement in requirements if "==" in requirement]
        known = versions(programs / "python", sorted({*packages, "mlx", "mlx-lm"}))
        yield Server(name, _command(name, programs, model, port), home, port, model, versions=known)


def _command(name: str, programs: Path, model: str, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if name == LM:
        return [str(programs / "mlx_lm.server"), "--model", model, *where]
    if name == VLLM:
        return [str(programs / "vllm-mlx"), "serve", model, *where, "--continuous-batching"]
    return [str(programs / "mlxk"), "serve", "--model", model, *where]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
