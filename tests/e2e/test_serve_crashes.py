"""Crashes, hangs and failed loads of model processes, and switches between models: the server survives them."""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

import attrs
import pytest

from tests.e2e.fuzzing import TEXT
from tests.e2e.holding import Hold
from tests.e2e.load import megabytes, open_files
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, eventually, parrot_in, serving
from tests.e2e.talking import Reply, Stream, chat, gathered
from tests.e2e.wire import Line, get, kilobytes, post
from tests.fake_server import FakeServer
from tests.parrot import ANSWERS, answers, parrot_folder
from tests.parrot_rows import NAN_TOKEN
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ENDS = {"256": -100, "258": -100}
"""A logit bias with which the parrot never ends."""
_PATIENCE = 120.0
"""Seconds that a response may take among hundreds of crashes, on a busy machine."""
DEADLY = (signal.SIGKILL, signal.SIGABRT, signal.SIGSTOP)


@pytest.fixture
def home(machine: Machine) -> Machine:
    for name in ("parrot", "other"):
        parrot_in(machine, name)
    return machine


@attrs.define
class TimedRequest:
    """A running request, and when it ended."""

    ended: float = 0.0

    def stream(self, stream: Stream) -> Stream:
        list(stream)
        self.ended = time.monotonic()
        return stream

    def whole(self, server: Server) -> Reply:
        reply = server.chat("parrot", answers.LONG, logit_bias=ENDS, max_tokens=1900)
        self.ended = time.monotonic()
        return reply


def crash_once(server: Server, number: int) -> tuple[float, float]:
    """Signal the model process while it answers.

    Return the seconds until every running request had its error, and those that the next request took.
    """
    streams = [server.chat_stream("parrot", answers.LONG, n=n, logit_bias=ENDS, max_tokens=1900) for n in (1, 2)]
    timed = [TimedRequest() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        waiting = pool.submit(timed[0].whole, server)
        for stream in streams:
            stream.begun()
        eventually(lambda: running(server) == 3)
        worker = server.worker()
        began = time.monotonic()
        os.kill(worker, number)
        for stream, one in zip(streams, timed[1:], strict=True):
            pool.submit(one.stream, stream)
        reply = waiting.result()
    for stream in streams:
        assert not stream.is_done
        assert stream.error["status"] == "error"
        assert stream.error["request_id"].startswith("req_")
        assert (stream.error["error"]["type"], stream.error["error"]["retryable"]) == ("worker_lost", True)
    assert (reply.status, reply.error()["type"]) == (503, "worker_lost")
    assert reply.headers["retry-after"]
    again = time.monotonic()
    assert server.chat("parrot", answers.GREETING).text() == ANSWERS[answers.GREETING], server.lines[-20:]
    assert server.worker() != worker
    return max(one.ended for one in timed) - began, time.monotonic() - again


def running(server: Server) -> int:
    """Return the number of running requests."""
    page = server.ask("/metrics").body.decode()
    return sum(
        int(float(line.split()[-1])) for line in page.splitlines() if line.startswith("mlxknife_requests_running")
    )


def test_running_requests_get_an_error_when_the_model_process_crashes_and_the_next_one_works(home: Machine) -> None:
    with serving(home, "--model", "parrot") as server:
        for number in DEADLY:
            crash_once(server, number)
        assert server.ask("/health").status == 200


@attrs.define
class Crashes:
    """What many crashes of one server took."""

    reported: dict[signal.Signals, list[float]] = attrs.field(factory=lambda: {number: [] for number in DEADLY})
    next_answers: list[float] = attrs.field(factory=list)

    def add(self, number: signal.Signals, server: Server) -> None:
        seconds, next_answer = crash_once(server, number)
        self.reported[number].append(seconds)
        self.next_answers.append(next_answer)

    def record(self, scorecard: Scorecard) -> None:
        seen = {number.name: seconds for number, seconds in self.reported.items() if seconds}
        if not seen:
            return
        medians = {f"{name} reported s, median": round(statistics.median(seconds), 3) for name, seconds in seen.items()}
        longest = {f"{name} reported s, longest": round(max(seconds), 3) for name, seconds in seen.items()}
        nexts = {"median": statistics.median(self.next_answers), "longest": max(self.next_answers)}
        figures = medians | longest | {f"next answer s, {name}": round(value, 3) for name, value in nexts.items()}
        scorecard.record(counts={name: len(seconds) for name, seconds in seen.items()}, figures=figures)


@pytest.mark.stress(part="worker-kills")
def test_five_hundred_crashes_are_reported_and_the_next_request_works(home: Machine, scorecard: Scorecard) -> None:
    """A hang is noticed after eight seconds, so there are fewer of them."""
    numbers = [signal.SIGKILL, signal.SIGABRT] * 240 + [signal.SIGSTOP] * 20
    Random(scorecard.seed).shuffle(numbers)
    crashes = Crashes()
    with serving(home, "--model", "parrot") as server:
        server.patience = _PATIENCE
        crash_once(server, signal.SIGKILL)
        before = kilobytes(server.pid), open_files(server.pid)
        try:
            for number in numbers:
                crashes.add(number, server)
        finally:
            crashes.record(scorecard)  # also of a run that did not get to its end
        grown, files = kilobytes(server.pid) - before[0], open_files(server.pid) - before[1]
    scorecard.record(figures={"front grew MB": megabytes(grown), "open files more": files})
    assert max(crashes.reported[signal.SIGKILL] + crashes.reported[signal.SIGABRT]) <= 5
    assert max(crashes.reported[signal.SIGSTOP]) <= 15
    assert megabytes(grown) <= 32
    assert files <= 4


def test_a_switch_of_models_breaks_no_stream(home: Machine) -> None:
    with serving(home, "--max-loaded", "1") as server:
        streams = [server.chat_stream("parrot", answers.LONG, max_tokens=200).begun() for _ in range(2)]
        with ThreadPoolExecutor(3) as pool:
            answer = pool.submit(lambda: server.chat("other", answers.CAPITAL).text())
            rests = list(pool.map(gathered, streams))
        assert answer.result() == ANSWERS[answers.CAPITAL]
        for rest in rests:
            assert rest.choices[0].finish == "length"
            assert ANSWERS[answers.LONG][:200].endswith(rest.texts[0])
        assert len(server.workers()) == 1


def switch_once(server: Server, busy: int) -> None:
    """Stream from ``busy`` of the two loaded models, while the third one replaces one of them."""
    loaded = loaded_names(server)
    (coming,) = {"parrot", "other", "third"}.difference(loaded)
    streams = [server.chat_stream(name, answers.LONG, max_tokens=150).begun() for name in loaded[:busy] * 2]
    with ThreadPoolExecutor(len(streams) + 1) as pool:
        answer = pool.submit(lambda: server.chat(coming, answers.CAPITAL).text())
        rests = list(pool.map(gathered, streams))
    assert answer.result() == ANSWERS[answers.CAPITAL]
    for rest in rests:
        assert rest.choices[0].finish == "length"
        assert ANSWERS[answers.LONG][:150].endswith(rest.texts[0])
    assert coming in loaded_names(server)
    assert len(server.workers()) == 2


def loaded_names(server: Server) -> list[str]:
    return [one["name"] for one in server.ask("/health").document()["models"]]


@pytest.mark.parametrize("rounds", [2, pytest.param(50, marks=pytest.mark.stress(part="worker-kills"))])
def test_a_model_that_is_unloaded_for_another_breaks_no_stream(home: Machine, rounds: int) -> None:
    parrot_in(home, "third")
    with serving(home, "--max-loaded", "2") as server:
        for name in ("parrot", "other"):
            server.chat(name, answers.GREETING).text()
        for number in range(rounds):
            switch_once(server, 1 + number % 2)


def test_two_models_stay_loaded_where_two_are_allowed(home: Machine) -> None:
    with serving(home, "--max-loaded", "2", "--model", "parrot", "--model", "other") as server:
        assert server.envelope["data"]["model"] == "parrot"
        eventually(lambda: server.ask("/ready").status == 200)
        for name in ("parrot", "other"):
            server.chat(name, answers.CAPITAL).text()
        both = server.workers()
        assert len(both) == 2
        for name in ("parrot", "other", "parrot"):
            assert server.chat(name, answers.GREETING).text() == ANSWERS[answers.GREETING]
        assert server.workers() == both


def test_an_idle_model_is_unloaded_and_a_busy_one_is_not(home: Machine) -> None:
    with serving(home, "--idle-unload", "0.1") as server:
        stream = server.chat_stream("parrot", answers.LONG, logit_bias=ENDS, max_tokens=500).begun()
        assert gathered(stream).choices[0].finish == "length"
        eventually(lambda: not server.workers())
        assert server.chat("parrot", answers.GREETING).text() == ANSWERS[answers.GREETING]


def test_a_crash_while_a_model_loads_is_an_error_of_the_waiting_requests_and_of_no_other(home: Machine) -> None:
    hold = Hold(home.root)
    with serving(home, "--model", "parrot", program=(*hold.program, "serve"), **hold.variables) as server:
        running_stream = server.chat_stream("parrot", answers.LONG, logit_bias=ENDS, max_tokens=1500).begun()
        parrot = server.worker()
        hold.begin()
        body = chat("other", answers.CAPITAL)
        with ThreadPoolExecutor(3) as pool:
            waiting = [
                pool.submit(server.ask, "/v1/chat/completions", body | {"stream": stream})
                for stream in (True, False, True)
            ]
            eventually(lambda: hold.is_reached and waiting_for_a_model(server) == 3)
            (loading,) = set(server.workers()) - {parrot}
            os.kill(loading, signal.SIGKILL)
            replies = [one.result() for one in waiting]
        hold.end()
        for reply in replies:
            assert (reply.status, reply.error()["type"]) == (503, "worker_lost")
            assert reply.headers["retry-after"]
        assert server.chat("other", answers.CAPITAL).text() == ANSWERS[answers.CAPITAL]
        assert gathered(running_stream).choices[0].finish == "length"


def waiting_for_a_model(server: Server) -> int:
    """Return the number of admitted requests that do not run in a model process."""
    page = server.ask("/metrics").body
    return sum(
        int(float(value)) * (-1 if name == b"running" else 1)
        for name, value in re.findall(rb"^mlxknife_requests_(in_flight|running)\S* (\S+)$", page, re.MULTILINE)
    )


def test_an_error_of_one_answer_ends_its_request_and_no_other() -> None:
    """The prompt of two answers has a token that makes the model fail."""
    with FakeServer(parrot_folder(), step_seconds=0.02) as server, Line(server.port) as other, Line(server.port) as one:
        model = parrot_folder().name
        prompt = [[1, 2, 3], [1, NAN_TOKEN]]
        other.send(
            post(TEXT, json.dumps({"model": model, "prompt": "a", "max_tokens": 100, "temperature": 1}).encode())
        )
        for stream in (False, True):
            body = {"model": model, "prompt": prompt, "n": 2, "temperature": 1, "stream": stream}
            reply = one.ask(post(TEXT, json.dumps(body).encode()))
            error = json.loads(reply.body.rpartition(b"data: ")[2] if reply.status == 200 else reply.body)["error"]
            assert error["type"] == "generation_failed"
            assert b"[DONE]" not in reply.body
        answer = other.reply()
        assert answer is not None
        assert json.loads(answer.body)["usage"]["completion_tokens"] == 100
        health = json.loads(one.ask(get("/health")).body)
        assert [loaded["running"] for loaded in health["models"]] == [0]


def test_a_model_that_cannot_be_loaded_is_an_error_and_others_are_served(home: Machine) -> None:
    broken = parrot_in(home, "broken") / "config.json"
    broken.write_text(json.dumps(json.loads(broken.read_text()) | {"intermediate_size": 96}))
    with serving(home) as server:
        for _ in range(2):
            error = server.chat("broken", answers.GREETING).error()
            assert (error["type"], error["code"]) == ("model_not_runnable", "model_not_runnable")
            assert "could not be loaded" in error["message"]
            assert str(home.root) not in error["message"]
        assert server.chat("parrot", answers.GREETING).text() == ANSWERS[answers.GREETING]
        third = server.chat("broken", answers.GREETING)
        assert (third.status, third.error()["retryable"]) == (422, False)
        assert "broken" not in [one["id"] for one in server.ask("/v1/models").document()["data"]]
