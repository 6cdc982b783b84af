"""What a server holds while clients use it: memory and open files, sampled from /proc beside the clients."""

from __future__ import annotations

import json
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import attrs

from tests.e2e.fuzzing import CHAT
from tests.e2e.serving import Server
from tests.e2e.talking import chat
from tests.e2e.wire import kilobytes, line, post
from tests.parrot import ANSWERS, answers

_PATIENCE = 120.0
"""Seconds that a response may take, on a busy machine."""


@attrs.frozen
class Sample:
    """What the two processes of a server hold at one time."""

    at: float
    front_kb: int
    worker_kb: int
    open_files: int
    """Of the front."""


@attrs.define
class Samples:
    """The samples of one server, oldest first."""

    front: int
    worker: int
    taken: list[Sample] = attrs.field(factory=list)

    def take(self) -> Sample:
        """Add a sample, and return it."""
        made = Sample(time.monotonic(), kilobytes(self.front), kilobytes(self.worker), open_files(self.front))
        self.taken.append(made)
        return made

    @contextmanager
    def every(self, seconds: float) -> Iterator[None]:
        """Take samples in a thread while the block runs. A process that has gone fails the block."""
        ended = threading.Event()
        failures = list[OSError]()

        def run() -> None:
            try:
                while not ended.wait(seconds):
                    self.take()
            except OSError as exc:
                failures.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        assert not failures, failures

    def figures(self, name: str, of: Callable[[Sample], float]) -> dict[str, float]:
        """Return the means of the first and of the last third, and the peak."""
        first, last = self.thirds(of)
        peak = max(of(sample) for sample in self.taken)
        return {
            f"{name}, first third": round(first, 1),
            f"{name}, last third": round(last, 1),
            f"{name}, peak": round(peak, 1),
        }

    def thirds(self, of: Callable[[Sample], float], warm_up: float = 0.1) -> tuple[float, float]:
        """Return the means of the first and of the last third, without the first share of the time."""
        values = [of(sample) for sample in self.taken]
        values = values[int(len(values) * warm_up) :]
        size = max(1, len(values) // 3)
        return statistics.mean(values[:size]), statistics.mean(values[-size:])


@attrs.define
class NormalClient:
    """A client in a thread of its own that asks all the time, and reads what it gets."""

    port: int
    model: str
    seconds: list[float] = attrs.field(factory=list)
    """How long each request took, from the connection on."""

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask while the block runs. Every answer must be right, or the block fails in the end."""
        ended = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(self._ask_until, ended)
            try:
                yield
            finally:
                ended.set()
            asking.result()

    def figures(self) -> dict[str, float]:
        """Return the median of its times, and the longest."""
        longest = round(max(self.seconds), 3)
        return {"normal s, median": round(percentile(self.seconds, 0.5), 3), "normal s, longest": longest}

    def _ask_until(self, ended: threading.Event) -> None:
        body = json.dumps(chat(self.model, answers.GREETING)).encode()
        while not ended.wait(0.2):
            began = time.monotonic()
            with line(self.port, _PATIENCE) as one:
                one.send(post(CHAT, body, "Connection: close"))
                reply = one.reply()
            assert reply is not None, f"no answer, {len(self.seconds)} before"
            assert reply.status == 200, reply
            assert json.loads(reply.body)["choices"][0]["message"]["content"] == ANSWERS[answers.GREETING]
            self.seconds.append(time.monotonic() - began)


def of_server(server: Server) -> Samples:
    """Return the samples of a server with one loaded model; the first is taken."""
    made = Samples(server.pid, server.worker())
    made.take()
    return made


def open_files(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def megabytes(kilobytes: float) -> float:
    return round(kilobytes / 1024, 1)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
