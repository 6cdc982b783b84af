"""The rounds: each thing is measured of each server in turns, so that what else the machine does meets all alike."""

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

from processes import say

from serving import measures, starter
from serving import model as tiny
from serving.servers import OURS, Server

RAW = "raw"
Measure = Callable[[Server, Random], dict[str, float]]
_ENOUGH = 15.0
"""A measure that took a peer longer than so many seconds is made only once more."""
_AGAIN = 5
"""How often a round measures the bare generator and our server, in turns: one time is little for a ratio near one."""


class Found:
    """What was measured: the values of ``(what, who)`` by the number of the round."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.round = 0
        self.values: dict[tuple[str, str], dict[int, float]] = {}
        self.troubles: dict[tuple[str, str], str] = {}
        """What servers answered instead, the last of it."""

    def add(self, what: str, who: str, value: float) -> None:
        """Note a value of this round."""
        self.values.setdefault((what, who), {})[self.round] = value

    def of(self, what: str, who: str) -> dict[int, float]:
        """Return the values; some rounds may have none."""
        return self.values.get((what, who), {})


def measure(servers: Sequence[Server], folder: Path, rounds: int, found: Found) -> None:
    """Measure all that runs, after one round that is not counted."""
    slow = set[tuple[str, str]]()
    random = Random(1)  # noqa: S311 - any words will do
    running = [server for server in servers if server.is_there and not server.only]
    with _raw(folder) as raw:
        for number in range(rounds + 1):
            say(f"round {number} of {rounds}" if number else "warming up")
            into = found if number else Found()
            into.round = number
            for size in measures.SIZES:
                questions = [tiny.text_of(random, measures.PROMPT) for _ in range(size)]
                bare = partial(raw.speed, questions, measures.TOKENS)
                one = partial(_one, into, slow, what=f"at {size}", work=_throughput(size), random=random)
                _beside_raw(into, f"at {size}", bare, one, running)
            for name, work in _OTHERS:
                for server in (one for one in servers if one.takes_part_in(name)):
                    _one(into, slow, server, what=name, work=work, random=random)
            turns = [tiny.text_of(random, count) for count in (measures.CHAT_PROMPT, measures.FEW)]
            for name, seconds in zip(("cold", "second"), raw.first_tokens(turns, 2 * measures.FEW), strict=True):
                into.add(f"turn {name}", RAW, seconds)


def measure_starter(servers: Sequence[Server], folder: Path, rounds: int, found: Found) -> None:
    """Measure how fast those that run answer with the starter, after one round that is not counted."""
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
            say(f"starter, round {number} of {rounds}" if number else "starter, warming up")
            into = found if number else Found()
            into.round = number
            for size in measures.SIZES if number else measures.SIZES[:1]:
                what = f"starter at {size}"
                bare = partial(raw.speed, [starter.question(random) for _ in range(size)], starter.TOKENS)
                one = partial(_one, into, slow, what=what, work=work_for(size), random=random)
                _beside_raw(into, what, bare, one, [server for server in servers if server.is_there])


def _beside_raw(
    found: Found, what: str, bare: Callable[[], float], one: Callable[[Server], None], servers: Sequence[Server]
) -> None:
    """Measure all servers once, and ours and the bare generator in turns several times; their medians count."""
    speeds: dict[str, list[float]] = {RAW: [], OURS: []}
    for again in range(_AGAIN if found.round else 1):
        speeds[RAW].append(bare())
        for server in servers if again == 0 else servers[:1]:
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


def _one(found: Found, slow: set[tuple[str, str]], server: Server, *, what: str, work: Measure, random: Random) -> None:
    """Measure one thing of one server; what went wrong takes the place of a value."""
    if (what, server.name) in slow and server.name != OURS and found.values.get((f"{what} seconds", server.name)):
        return
    began = time.monotonic()
    try:
        values = work(server, random)
    except measures.Unanswered as exc:
        if server.name == OURS:
            sys.exit(f"benchmark stopped: {what}: our server answered wrongly: {exc}")
        found.troubles[what, server.name] = str(exc)
        values = {}
    spent = time.monotonic() - began
    found.add(f"{what} seconds", server.name, spent)
    if spent > _ENOUGH:
        slow.add((what, server.name))
    for name, value in values.items():
        found.add(f"{what} {name}", server.name, value)


class _Raw:
    """The bare generator."""

    def __init__(self, asked: IO[str], said: IO[str]) -> None:
        """Take the two ends of its process."""
        self._asked = asked
        self._said = said

    def speed(self, questions: Sequence[str], tokens: int) -> float:
        """Return tokens per second over answers that begin together."""
        speed: float = self._answer({"questions": questions, "tokens": tokens})
        return speed

    def first_tokens(self, turns: Sequence[str], tokens: int) -> list[float]:
        """Return the seconds until the first token of the two turns of a chat."""
        seconds: list[float] = self._answer({"turns": turns, "tokens": tokens})
        return seconds

    def _answer(self, order: dict[str, Any]) -> Any:  # noqa: ANN401
        print(json.dumps(order), file=self._asked, flush=True)
        line = self._said.readline()
        if not line:
            sys.exit("benchmark stopped: the bare generator ended")
        return json.loads(line)


@contextmanager
def _raw(folder: Path) -> Iterator[_Raw]:
    """Lend the bare generator, in a process that waits while others are measured."""
    script = Path(__file__).parent / "raw.py"
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, said = process.stdin, process.stdout
        assert asked is not None and said is not None  # noqa: S101, PT018 - for mypy
        said.readline()
        try:
            yield _Raw(asked, said)
        finally:
            asked.close()
