"""The rounds: every measurement of every server in turns, so that other load on the machine affects all alike."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import IO, Any

from processes import log

from serving import measures, starter
from serving import model as tiny
from serving.servers import OURS, Server

RAW = "raw"
Measure = Callable[[Server, Random], dict[str, float]]
_SLOW_SECONDS = 15.0
"""A measurement that takes a peer longer counts for one round only."""
_REPEATS = 5
"""The repeats for the bare generator and our server in one round, because a ratio near 1 needs several values."""


class Found:
    """The measured values, by (measurement, server) and round."""

    def __init__(self) -> None:
        """Start without values."""
        self.round = 0
        self.values: dict[tuple[str, str], dict[int, float]] = {}
        self.wrong_answers: dict[tuple[str, str], str] = {}
        """The last wrong answer of each measurement and server."""

    def add(self, what: str, who: str, value: float) -> None:
        """Add a value of the current round."""
        self.values.setdefault((what, who), {})[self.round] = value

    def of(self, what: str, who: str) -> dict[int, float]:
        """Return the values by round; some rounds may have none."""
        return self.values.get((what, who), {})


def measure(servers: Sequence[Server], folder: Path, rounds: int, found: Found) -> None:
    """Measure all running servers, after one warm-up round."""
    slow = set[tuple[str, str]]()
    random = Random(1)  # noqa: S311 - any words will do
    running = [server for server in servers if server.is_running and not server.only_measure]
    with _raw(folder) as raw:
        for number in range(rounds + 1):
            log(f"round {number} of {rounds}" if number else "warming up")
            into = found if number else Found()
            into.round = number
            for size in measures.SIZES:
                questions = [tiny.text_of(random, measures.PROMPT) for _ in range(size)]
                bare = partial(raw.speed, questions, measures.TOKENS)
                one = partial(_measure_one, into, slow, what=f"at {size}", work=_throughput(size), random=random)
                _beside_raw(into, f"at {size}", bare, one, running)
            for name, work in _OTHERS:
                for server in (one for one in servers if one.is_measured_in(name)):
                    _measure_one(into, slow, server, what=name, work=work, random=random)
            turns = [tiny.text_of(random, count) for count in (measures.CHAT_PROMPT, measures.FEW)]
            for name, seconds in zip(("cold", "second"), raw.first_tokens(turns, 2 * measures.FEW), strict=True):
                into.add(f"turn {name}", RAW, seconds)


def measure_starter(servers: Sequence[Server], folder: Path, rounds: int, found: Found) -> None:
    """Measure the throughput of all running servers with the starter, after one warm-up round."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - after the BLAS

    slow = set[tuple[str, str]]()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    random = Random(1)  # noqa: S311 - any questions will do

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    def work_for(size: int) -> Measure:
        return lambda server, random: measures.starter_throughput(server, size, random, count)

    with _raw(folder) as raw:
        for number in range(rounds + 1):
            log(f"starter, round {number} of {rounds}" if number else "starter, warming up")
            into = found if number else Found()
            into.round = number
            for size in measures.SIZES if number else measures.SIZES[:1]:
                what = f"starter at {size}"
                bare = partial(raw.speed, [starter.question(random) for _ in range(size)], starter.TOKENS)
                one = partial(_measure_one, into, slow, what=what, work=work_for(size), random=random)
                _beside_raw(into, what, bare, one, [server for server in servers if server.is_running])


def _beside_raw(
    found: Found, what: str, bare: Callable[[], float], one: Callable[[Server], None], servers: Sequence[Server]
) -> None:
    """Measure all servers once. Measure ours and the bare generator several times in turns; their medians count."""
    speeds: dict[str, list[float]] = {RAW: [], OURS: []}
    for repeat in range(_REPEATS if found.round else 1):
        speeds[RAW].append(bare())
        for server in servers if repeat == 0 else servers[:1]:
            one(server)
        speeds[OURS].append(found.of(f"{what} speed", OURS)[found.round])
    for who, several in speeds.items():
        found.add(f"{what} speed", who, statistics.median(several))


def _throughput(size: int) -> Measure:
    return lambda server, random: measures.throughput(server, size, random)


_OTHERS: tuple[tuple[str, Measure], ...] = (
    ("first", measures.first_tokens),
    ("long", measures.beside_a_long_prompt),
    ("turn", measures.second_turn),
)


def _measure_one(
    found: Found, slow: set[tuple[str, str]], server: Server, *, what: str, work: Measure, random: Random
) -> None:
    """Make one measurement of one server. Record a wrong answer of a peer; exit after one of our server."""
    if (what, server.name) in slow and server.name != OURS and found.values.get((f"{what} seconds", server.name)):
        return
    started = time.monotonic()
    try:
        values = work(server, random)
    except measures.WrongAnswer as exc:
        if server.name == OURS:
            sys.exit(f"benchmark stopped: {what}: wrong answer of our server: {exc}")
        found.wrong_answers[what, server.name] = str(exc)
        values = {}
    seconds = time.monotonic() - started
    found.add(f"{what} seconds", server.name, seconds)
    if seconds > _SLOW_SECONDS:
        slow.add((what, server.name))
    for name, value in values.items():
        found.add(f"{what} {name}", server.name, value)


class _Raw:
    """The process of the bare generator."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        """Take the pipes of the process."""
        self._stdin = stdin
        self._stdout = stdout

    def speed(self, questions: Sequence[str], tokens: int) -> float:
        """Return the tokens per second of answers that start together."""
        speed: float = self._result({"questions": questions, "tokens": tokens})
        return speed

    def first_tokens(self, turns: Sequence[str], tokens: int) -> list[float]:
        """Return the seconds to the first token of the two turns of a chat."""
        seconds: list[float] = self._result({"turns": turns, "tokens": tokens})
        return seconds

    def _result(self, job: dict[str, Any]) -> Any:  # noqa: ANN401
        print(json.dumps(job), file=self._stdin, flush=True)
        line = self._stdout.readline()
        if not line:
            sys.exit("benchmark stopped: the bare generator ended")
        return json.loads(line)


@contextmanager
def _raw(folder: Path) -> Iterator[_Raw]:
    """Run the bare generator in a process that is idle while servers are measured."""
    script = Path(__file__).parent / "raw.py"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - for mypy
        stdout.readline()
        try:
            yield _Raw(stdin, stdout)
        finally:
            stdin.close()
