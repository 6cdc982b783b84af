"""Our server and its peers, each started once in a process group of its own, with the same model folder."""

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

from processes import make_environment, timed_environment, versions

OURS, LM, VLLM, KNIFE = "ours", "mlx_lm.server", "vllm-mlx", "mlx-knife"
OURS_MLX_BLAS = "ours with MLX's BLAS"
PEERS = (LM, VLLM, KNIFE)
CHAT = "/v1/chat/completions"
_BENCH = Path(__file__).resolve().parent.parent.parent / ".bench"
_BACKEND = ("mlx[cpu]",) if sys.platform == "linux" else ()
_ENVIRONMENTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    LM: ("mlx-lm", ("mlx-lm==0.32.2", *_BACKEND)),
    VLLM: ("vllm-mlx", ("vllm-mlx==0.6.0", *_BACKEND)),
    KNIFE: ("peer", ("mlx-knife==2.0.8", *_BACKEND)),
}
"""The environment of each peer below .bench/ and its requirements. catalog.py uses the last one, too."""
_START_TIMEOUT = 180.0
_STOP_TIMEOUT = 10.0
_MAX_REASON = 400


@dataclass
class Server:
    """One server. ``name`` is its name in the table."""

    name: str
    command: Sequence[str]
    home: Path
    port: int
    model: str
    process: subprocess.Popen[bytes] | None = None
    problem: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of this server only."""
    only_measure: str = ""
    """The one measurement that this server takes part in; empty for all."""

    def is_measured_in(self, what: str) -> bool:
        """Return whether a measurement includes this server."""
        return self.is_running and self.only_measure in ("", what)

    @property
    def is_running(self) -> bool:
        """Whether the server answers requests."""
        return self.process is not None and not self.problem

    def start(self, path: str = CHAT) -> None:
        """Start the server and wait for its first answer. ``problem`` says why there is none."""
        if self.problem:
            return
        log = self.home / f"{self.name}.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                self.command,
                env={**timed_environment(self.home), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home,
            )
        end, last = time.monotonic() + _START_TIMEOUT, ""
        while time.monotonic() < end and self.process.poll() is None:
            last = self._failure(path)
            if not last:
                return
            time.sleep(0.2)
        tail = log.read_text(errors="replace").strip()[-_MAX_REASON:]
        self.problem = f"does not serve: {last or 'it ended'}; {tail}"
        self.stop()

    def stop(self) -> None:
        """End the server and its children."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_TIMEOUT)
        self.process = None

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET request."""
        return self._send("GET", path, None)

    def _failure(self, path: str) -> str:
        """Return why a first request fails, or an empty string when it succeeds."""
        request = {"messages": [{"role": "user", "content": " a"}], "model": self.model, "max_tokens": 2}
        try:
            status, body = (
                self._send("POST", path, json.dumps(request).encode())
                if path == CHAT
                else self._send("GET", path, None)
            )
        except (OSError, http.client.HTTPException) as exc:
            return type(exc).__name__
        return "" if status == http.client.OK else f"{status} {body[:_MAX_REASON].decode('utf-8', 'replace')}"

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def ours(home: Path, *, model: str | None) -> Server:
    """Return our server, with or without a model."""
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


def ours_without_blas(home: Path, *, model: str, only_measure: str) -> Server:
    """Return our server with the BLAS of MLX, which the peers use, and not the faster one that it installs."""
    server = ours(home, model=model)
    hidden = home / "hidden"
    for package in ("faiss", "cv2"):  # the packages whose BLAS our server would load
        (hidden / package).mkdir(parents=True)
        (hidden / package / "__init__.py").touch()
    server.name, server.only_measure = OURS_MLX_BLAS, only_measure
    server.variables = {"PYTHONPATH": str(hidden)}
    return server


def peers(home: Path, model_name: str, folder: Path) -> Iterator[Server]:
    """Yield the peers, each with its own dependencies; one that cannot be installed has a ``problem``."""
    for name in PEERS:
        port = _free_port()
        folder_name, requirements = _ENVIRONMENTS[name]
        try:
            programs = make_environment(_BENCH / folder_name, requirements)
        except SystemExit as exc:  # the benchmark goes on without this peer
            yield Server(name, (), home, port, "", problem=f"cannot be installed: {str(exc)[-_MAX_REASON:]}")
            continue
        model = model_name if name == KNIFE else str(folder)
        packages = [requirement.partition("==")[0] for requirement in requirements if "==" in requirement]
        found = versions(programs / "python", sorted({*packages, "mlx", "mlx-lm"}))
        yield Server(name, _command(name, programs, model, port), home, port, model, versions=found)


def _command(name: str, programs: Path, model: str, port: int) -> list[str]:
    address = ["--host", "127.0.0.1", "--port", str(port)]
    if name == LM:
        return [str(programs / "mlx_lm.server"), "--model", model, *address]
    if name == VLLM:
        return [str(programs / "vllm-mlx"), "serve", model, *address, "--continuous-batching"]
    return [str(programs / "mlxk"), "serve", "--model", model, *address]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
