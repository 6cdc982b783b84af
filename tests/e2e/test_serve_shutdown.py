"""Shutdown: by each signal, by SIGKILL, and with many open streams; no process is left over."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.holding import Hold
from tests.e2e.processes import Machine
from tests.e2e.serving import Server, eventually, parrot_in, serving
from tests.e2e.talking import Stream
from tests.parrot import ANSWERS, answers
from tests.scorecard import Scorecard

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

ENDS = {"256": -100, "258": -100}
"""A logit bias with which the parrot never ends."""


@pytest.fixture
def home(machine: Machine) -> Machine:
    parrot_in(machine)
    return machine


def endless(server: Server, n: int = 1) -> Stream:
    return server.chat_stream("parrot", answers.LONG, n=n, logit_bias=ENDS, max_tokens=1900)


def read_to_end(stream: Stream) -> Stream:
    list(stream)
    return stream


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)]
)
def test_a_signal_ends_it_and_all_its_processes_after_the_running_answer(home: Machine, number: int, code: int) -> None:
    with serving(home) as server:
        assert server.chat("parrot", answers.GREETING).text() == ANSWERS[answers.GREETING]
        assert len(server.family()) >= 2, "the process of the model and that of the template"
        is_killed = number == signal.SIGKILL
        stream = endless(server) if is_killed else server.chat_stream("parrot", answers.LONG)
        stream.begun()
        server.send_signal(number)
        assert read_to_end(stream).is_done is not is_killed
        assert server.wait() == code
        assert not any("Traceback" in line for line in server.lines)
        assert server.process.stdout is not None
        assert server.process.stdout.read() == ""


def test_it_can_be_ended_while_a_model_is_loading(home: Machine) -> None:
    hold = Hold(home.root)
    hold.begin()
    with serving(home, "--model", "parrot", program=(*hold.program, "serve"), **hold.variables) as server:
        eventually(lambda: hold.is_reached)
        assert server.end(signal.SIGTERM) == 0


def test_it_ends_although_its_processes_are_stopped(home: Machine) -> None:
    with serving(home) as server:
        server.chat("parrot", answers.GREETING)
        for number in server.family():
            os.kill(number, signal.SIGSTOP)
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("count", "number", "code"),
    [
        (5, signal.SIGINT, 130),
        pytest.param(100, signal.SIGINT, 130, marks=pytest.mark.stress(part="shutdown")),
        pytest.param(100, signal.SIGTERM, 0, marks=pytest.mark.stress(part="shutdown")),
    ],
)
def test_open_streams_end_with_an_error_event(
    home: Machine, scorecard: Scorecard, count: int, number: signal.Signals, code: int
) -> None:
    with serving(home) as server:
        with ThreadPoolExecutor(count) as pool:
            streams = list(pool.map(lambda _: endless(server, max(1, 20 // count)), range(count)))
            rests = [pool.submit(read_to_end, stream) for stream in streams]
            began = time.monotonic()
            server.send_signal(number)
            server.log(f"stops ({number.name})")
            ended = [rest.result() for rest in rests]
        for stream in ended:
            assert not stream.is_done
            assert stream.error["error"]["message"].startswith("The server is stopping")
            assert stream.error["error"]["retryable"]
        assert server.wait() == code
    scorecard.record(counts={"streams": count}, figures={"ended s": round(time.monotonic() - began, 1)})


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        pytest.param(signal.SIGINT, signal.SIGINT, marks=pytest.mark.stress(part="shutdown")),
        pytest.param(signal.SIGINT, signal.SIGTERM, marks=pytest.mark.stress(part="shutdown")),
    ],
)
def test_a_second_signal_ends_it_at_once_without_a_traceback(home: Machine, first: int, second: int) -> None:
    with serving(home) as server:
        stream = endless(server).begun()
        server.send_signal(first)
        server.log("stops")
        with pytest.raises(ConnectionError):
            server.ask("/health")
        assert server.end(second) == 128 + second
        assert not read_to_end(stream).is_done
    assert not [line for line in server.lines if "ERROR" in line or "Traceback" in line]
