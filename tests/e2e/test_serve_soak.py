"""A server that clients use for a long time: all answers are right, and it holds no more in the end than before."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from random import Random

import attrs
import pytest

from tests.e2e.fuzzing import CHAT, TEXT
from tests.e2e.load import Samples, megabytes, of_server, percentile
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import Stream, chat, gathered, sent
from tests.parrot import ANSWERS, answers
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

_CLIENTS = 4
_LONGEST_PAUSE = 0.5
_PROMPTS = 20
_PATIENCE = 120.0
"""Seconds that a response may take, on a busy machine."""
_QUESTIONS = (answers.GREETING, answers.CAPITAL, answers.CODE, answers.STOP, answers.UNICODE)


@attrs.define
class Client:
    """One client, which does one thing after the other and rests in between."""

    server: Server
    random: Random
    done: Counter[str] = attrs.field(factory=Counter)
    seconds: list[float] = attrs.field(factory=list)
    """How long each answer took."""

    @property
    def things(self) -> tuple[Callable[[], None], ...]:
        """What it does; answers and streams come twice as often as the others."""
        return (self.answer, self.stream, self.several, self.leave, self.look, self.mistake, self.answer, self.stream)

    def run(self, until: float, is_over: threading.Event) -> None:
        """Go on until a time; a failure of one client ends all."""
        try:
            self.answer()
            while time.monotonic() < until and not is_over.is_set():
                thing = self.random.choice(self.things)
                thing()
                self.done[thing.__name__] += 1
                is_over.wait(self.random.uniform(0, _LONGEST_PAUSE))
        except BaseException:
            is_over.set()
            raise

    def answer(self) -> None:
        question = self.random.choice(_QUESTIONS)
        began = time.monotonic()
        assert self.server.chat("parrot", question).text() == ANSWERS[question]
        self.seconds.append(time.monotonic() - began)

    def stream(self) -> None:
        question = self.random.choice(_QUESTIONS)
        with closing(self._opened(CHAT, chat("parrot", question))) as stream:
            assert gathered(stream).texts == [ANSWERS[question]]

    def several(self) -> None:
        """Ask for several answers. New prompts for ever would fill the prefix cache until the end."""
        seed = self.random.randrange(_PROMPTS)
        prompts = [nonsense(Random(seed + number)) for number in range(2)]
        body = {"prompt": prompts, "n": 2, "max_tokens": 30, "logprobs": 3, "temperature": 1.0, "seed": seed}
        reply = self.server.ask(TEXT, {"model": "parrot", **body})
        assert (reply.status, len(reply.document()["choices"])) == (200, 4)

    def leave(self) -> None:
        """Disconnect in the middle of an answer."""
        with closing(self._opened(CHAT, chat("parrot", answers.LONG))) as stream:
            stream.begun()

    def look(self) -> None:
        for path in ("/health", "/metrics", "/v1/models", "/v1/models/parrot"):
            assert self.server.ask(path).status == 200

    def mistake(self) -> None:
        wrong = self.random.choice(({"temperature": -1}, {"messages": [{"role": "x", "content": "y"}]}, {"n": "many"}))
        assert self.server.ask(CHAT, chat("parrot", "?") | wrong).status in (400, 422)

    def _opened(self, path: str, body: dict[str, object]) -> Stream:
        connection = self.server.connect()
        response = sent(connection, path, {**body, "stream": True}, {})
        assert response.status == 200, response.read()
        return Stream(connection, response)


def nonsense(random: Random) -> str:
    return "".join(random.choices("abcdefghijklmnop ", k=random.randint(10, 600)))


def soak(home: Machine, seconds: float, seed: int) -> tuple[list[Client], Samples]:
    """Run the clients; return them, and what the server held meanwhile."""
    with serving(home, "--model", "parrot") as server:
        server.patience = _PATIENCE
        for thing in Client(server, Random(seed)).things:
            thing()
        samples, is_over = of_server(server), threading.Event()
        clients = [Client(server, Random(f"{seed} {number}")) for number in range(_CLIENTS)]
        with samples.every(min(1.0, seconds / 60)), ThreadPoolExecutor(_CLIENTS) as pool:
            until = time.monotonic() + seconds
            for ended in [pool.submit(client.run, until, is_over) for client in clients]:
                ended.result()
        assert server.workers() == [samples.worker], "the model process is another one"
        assert not any("Traceback" in line for line in server.lines)
    return clients, samples


@pytest.mark.parametrize(
    ("seconds", "growth"), [(3.0, 64.0), pytest.param(1800.0, 32.0, marks=pytest.mark.stress(part="soak"))]
)
def test_a_server_in_use_holds_no_more_in_the_end(
    machine: Machine, scorecard: Scorecard, seconds: float, growth: float
) -> None:
    """``growth`` is how many megabytes the mean of the last third may be above that of the first."""
    parrot_in(machine)
    clients, samples = soak(machine, seconds, scorecard.seed)
    took = [second for client in clients for second in client.seconds]
    scorecard.record(
        counts=sum((client.done for client in clients), Counter[str]()),
        figures={
            **samples.figures("front MB", lambda one: megabytes(one.front_kb)),
            **samples.figures("worker MB", lambda one: megabytes(one.worker_kb)),
            **samples.figures("open files", lambda one: one.open_files),
            "answer s, median": round(percentile(took, 0.5), 3),
            "answer s, 99 of 100": round(percentile(took, 0.99), 3),
        },
    )
    for of in (lambda one: one.front_kb, lambda one: one.worker_kb):
        first, last = samples.thirds(of)
        assert megabytes(last - first) <= growth, scorecard.recorded
    files = samples.thirds(lambda one: one.open_files)
    assert files[1] - files[0] <= _CLIENTS, scorecard.recorded
