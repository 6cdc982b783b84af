"""Processes of models that go wrong in every way, and what is left of them."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from mlxknife.adapters.worker.parent.heartbeat import Limits
from mlxknife.adapters.worker.parent.hosts import WorkerHosts
from mlxknife.domain.errors import EngineError, InternalError, KnifeError, NotEnoughMemory, WorkerLost
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import Loaded
from mlxknife.ports.engines.hosts import Host
from tests.contracts.ears import Ear, endless, gone
from tests.contracts.flock import answer, asked
from tests.fakes.loaders import COMMAND
from tests.parrot.answers import CAPITAL

_MUST_COME = 60
PARROT = "parrot"


def play(act: Coroutine[Any, Any, None]) -> None:
    asyncio.run(act)


def start(ear: Ear, place: str = PARROT, command: Sequence[str] = COMMAND, limits: Limits = Limits()) -> Host:  # noqa: B008
    return WorkerHosts(command, lambda: 0, limits).start(Location(place, (place,)), "fast", ear.hear)


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs some Python with the socket as ``line`` instead of a model."""
    head = "import os, socket, sys, time; line = socket.socket(fileno=int(sys.argv[1])); "
    return (sys.executable, "-c", head + code)


def why(place: str = PARROT, command: Sequence[str] = COMMAND, limits: Limits = Limits()) -> KnifeError:  # noqa: B008
    """Return what is told of a process that falls, when nothing of it is left."""
    found: list[KnifeError] = []

    async def act() -> None:
        ear = Ear()
        host = start(ear, place, command, limits)
        found.append((await ear.fell()).error)
        await gone(host)
        assert ear.heard_nothing

    play(act())
    (error,) = found
    return error


def test_an_error_of_loading_keeps_its_kind_and_its_hint() -> None:
    error = why("parrot large")
    assert type(error) is NotEnoughMemory
    assert (error.message, error.hint, error.param) == ("It does not fit", Hint(HintCode.FREE_MEMORY), "model")


def test_text_that_cannot_be_passed_on_is_an_error_of_loading() -> None:
    error = why("parrot strange")
    assert type(error) is EngineError
    assert "cannot be served" in error.message


def test_a_place_with_a_strange_name_is_found_or_told() -> None:
    assert why("b\udcffrd").message == "The model could not be loaded: b?rd is none"


def test_what_nobody_thought_of_is_told_with_its_last_words() -> None:
    error = why("parrot broken")
    assert type(error) is WorkerLost
    assert "ended by itself, with status 1" in error.message
    assert "ZeroDivisionError: something that nobody thought of" in error.message
    assert "Traceback" in error.__notes__[0]


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("os._exit(3)", WorkerLost, "status 3"),
        ("os.abort()", WorkerLost, "SIGABRT"),
        ("os.kill(os.getpid(), 9)", WorkerLost, "SIGKILL"),
        ("line.close(); time.sleep(600)", WorkerLost, "SIGKILL"),
        (r"line.sendall(b'\xff' * 4096); time.sleep(600)", InternalError, "no message"),
        (r"line.sendall(b'\0\0\0\x03abc'); time.sleep(600)", InternalError, "no message"),
        (r"line.sendall(b'\0\0\0\x05\x91\xa3ask'); time.sleep(600)", InternalError, "no message"),
        (r"line.sendall(b'\0\0\xff\xff' + b'\x91' * 65535); time.sleep(600)", InternalError, "no message"),
    ],
)
def test_a_process_that_talks_nonsense_or_leaves_is_told(code: str, kind: type[KnifeError], said: str) -> None:
    error = why(command=python(code))
    assert type(error) is kind
    assert said in error.message


def test_a_command_that_is_not_there_is_told_and_may_be_closed() -> None:
    assert "No process could be started" in why(command=("/nowhere/python",)).message

    async def act() -> None:
        ear = Ear()
        host = start(ear, command=("/nowhere/python",))
        host.submit(endless(1))
        host.cancel(1)
        host.close()
        await asyncio.sleep(0.05)
        assert ear.heard_nothing

    play(act())


def test_one_that_never_loads_hangs() -> None:
    error = why(command=python("time.sleep(600)"), limits=Limits(loading=0.5))
    assert "hung: it said nothing for 0.5 seconds" in error.message


def test_one_that_finishes_no_step_hangs_though_its_heart_beats() -> None:
    async def act() -> None:
        ear = Ear()
        host = start(ear, "parrot stuck", limits=Limits(stall=1.0))
        assert isinstance(await ear.next(), Loaded)
        await asyncio.sleep(1.5)  # without rows there is nothing to finish
        assert ear.heard_nothing
        host.submit(Row(1, asked(CAPITAL), 5))
        assert "finished no step for 1 seconds" in (await ear.fell()).error.message
        await gone(host)

    play(act())


def test_a_loop_that_was_busy_blames_nobody() -> None:
    async def act() -> None:
        ear = Ear()
        host = start(ear, limits=Limits(silence=2.0))
        assert isinstance(await ear.next(), Loaded)
        for _ in range(3):
            time.sleep(3.0)  # noqa: ASYNC251 - that is the point
            await asyncio.sleep(0.05)
        told = await ear.answers(host, Row(1, asked(CAPITAL), 500))
        assert told.tokens(1) == answer(CAPITAL)
        host.close()
        await gone(host)

    play(act())


def test_what_it_prints_goes_into_the_log_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")

    async def act() -> None:
        ear = Ear()
        host = start(ear, "parrot noisy")
        assert isinstance(await ear.next(), Loaded)
        while len(caplog.messages) < 1:  # noqa: ASYNC110 - a log has no event for it
            await asyncio.sleep(0.01)
        told = await ear.answers(host, Row(1, asked(CAPITAL), 500))
        assert told.tokens(1) == answer(CAPITAL)
        host.close()
        await gone(host)

    play(act())
    assert "under its breath" in caplog.messages
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_words_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")
    flood = "os.write(1, b'x' * 70000 + b'\\n'); [os.write(1, b'word %d\\n' % n) for n in range(20000)]; os._exit(4)"
    error = why(command=python(flood))
    assert error.message.endswith("status 4; it last wrote: word 19999")
    assert len(error.__notes__[0]) <= 4096
    assert len(caplog.messages) < 500
    assert max(map(len, caplog.messages)) <= 1000


def test_it_knows_no_token_of_the_hub(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    async def act() -> None:
        ear = Ear()
        host = start(ear, "parrot curious")
        assert isinstance(await ear.next(), Loaded)
        while not caplog.messages:  # noqa: ASYNC110 - a log has no event for it
            await asyncio.sleep(0.01)
        host.close()
        await gone(host)

    play(act())
    assert caplog.messages == ["token None fast"]


def test_a_large_backlog_reaches_a_process_that_is_slow_to_listen() -> None:
    async def act() -> None:
        ear = Ear()
        host = start(ear)
        long = Row(1, asked(CAPITAL) * 20_000, 500)  # more than a socket holds
        host.submit(long)
        host.submit(Row(2, asked(CAPITAL), 500))
        assert isinstance(await ear.next(), Loaded)
        await ear.until(lambda: ear.told.ended(2) is not None)
        assert ear.told.tokens(2) == answer(CAPITAL)
        host.close()
        await gone(host)

    play(act())
