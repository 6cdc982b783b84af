"""Model processes that go wrong in every way, and the error that each of them becomes."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from mlxknife.adapters.worker.child.loop import PREPARATION_SECONDS
from mlxknife.adapters.worker.parent.heartbeat import HeartbeatLimits
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.errors import (
    EngineError,
    InternalError,
    KnifeError,
    ModelNotRunnable,
    NotEnoughMemory,
    ValidationError,
    WorkerLost,
)
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.ports.engines.processes import ModelProcess
from tests.contracts.process_listener import Listener, asking, endless, gone, load_request
from tests.fakes.scripted_engine import COMMAND, HANGING_PROMPT
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL

PARROT = "parrot"
_LIMITS = HeartbeatLimits()


def play(act: Coroutine[Any, Any, None]) -> None:
    asyncio.run(act)


def start(
    listener: Listener, place: str = PARROT, command: Sequence[str] = COMMAND, limits: HeartbeatLimits = _LIMITS
) -> ModelProcess:
    process = WorkerProcesses(command, limits).start(listener.on_state)
    process.load(load_request(place))
    return process


def python(code: str) -> tuple[str, ...]:
    """Return a command that runs Python code with the socket as ``line`` in the place of a model process."""
    head = "import os, socket, sys, time; line = socket.socket(fileno=int(sys.argv[1])); "
    return (sys.executable, "-c", head + code)


def crash(place: str = PARROT, command: Sequence[str] = COMMAND, limits: HeartbeatLimits = _LIMITS) -> KnifeError:
    """Return the error of a process that crashes, once nothing of it is left."""
    found: list[KnifeError] = []

    async def act() -> None:
        listener = Listener()
        process = start(listener, place, command, limits)
        found.append(await listener.error())
        await gone(process)
        assert listener.has_no_state

    play(act())
    (error,) = found
    return error


def test_an_error_of_loading_keeps_its_class_hint_and_field() -> None:
    error = crash("parrot large")
    assert type(error) is NotEnoughMemory
    assert (error.message, error.hint, error.param) == ("It does not fit", Hint(HintCode.FREE_MEMORY), "model")


def test_only_what_the_files_of_a_model_cause_makes_it_not_runnable() -> None:
    assert type(crash("no parrot")) is ModelNotRunnable
    assert type(crash("parrot starved")) is EngineError


def test_a_place_whose_name_is_not_utf8_can_be_loaded_or_named() -> None:
    assert crash("b\udcffrd").message == "The model could not be loaded: b?rd is none"


def test_an_unforeseen_error_is_reported_with_the_last_output() -> None:
    error = crash("parrot broken")
    assert type(error) is WorkerLost
    assert "exited with status 1" in error.message
    assert "ZeroDivisionError: an unforeseen error" in error.message
    assert "Traceback" in error.__notes__[0]


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("os._exit(3)", WorkerLost, "status 3"),
        ("os.abort()", WorkerLost, "SIGABRT"),
        ("os.kill(os.getpid(), 9)", WorkerLost, "SIGKILL"),
        ("line.close(); time.sleep(600)", WorkerLost, "SIGKILL"),
        (r"line.sendall(b'\xff' * 4096); time.sleep(600)", InternalError, "invalid message"),
        (r"line.sendall(b'\0\0\0\x03abc'); time.sleep(600)", InternalError, "invalid message"),
        (r"line.sendall(b'\0\0\0\x06\x91\xa4load'); time.sleep(600)", InternalError, "invalid message"),
        (r"line.sendall(b'\0\0\xff\xff' + b'\x91' * 65535); time.sleep(600)", InternalError, "invalid message"),
    ],
)
def test_a_process_that_exits_or_sends_nonsense_is_an_error(code: str, kind: type[KnifeError], text: str) -> None:
    error = crash(command=python(code))
    assert type(error) is kind
    assert text in error.message


def test_a_command_that_does_not_exist_is_an_error_and_can_be_closed() -> None:
    assert "No process could be started" in crash(command=("/nowhere/python",)).message

    async def act() -> None:
        listener = Listener()
        process = start(listener, command=("/nowhere/python",))
        listener.submit(process, endless())
        process.cancel(1)
        process.pause()
        process.resume()
        process.close()
        await asyncio.sleep(0.05)
        assert listener.has_no_state

    play(act())


def test_a_process_that_never_loads_hangs() -> None:
    error = crash(command=python("time.sleep(600)"), limits=HeartbeatLimits(loading=0.5))
    assert "hung: it sent nothing for 0.5 seconds" in error.message


def test_a_process_without_finished_steps_hangs_in_spite_of_its_heartbeats() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot stuck", limits=HeartbeatLimits(stall=1.0))
        await listener.loaded()
        await asyncio.sleep(1.5)  # without requests there is nothing to finish
        assert listener.has_no_state
        _, answer = listener.submit(process, asking(CAPITAL))
        assert "finished no step for 1 seconds" in (await listener.error()).message
        assert isinstance(answer.error, WorkerLost)
        await gone(process)

    play(act())


def test_further_requests_do_not_hide_that_no_step_finishes() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot stuck", limits=HeartbeatLimits(stall=1.0))
        await listener.loaded()
        answers = []
        while listener.has_no_state:
            request_id, answer = listener.submit(process, asking(CAPITAL))
            answers.append(answer)
            await asyncio.sleep(0.2)
            process.cancel(request_id - 1)
        assert "finished no step for 1 seconds" in (await listener.error()).message
        assert isinstance(answers[-1].error, WorkerLost)
        await gone(process)

    play(act())


@pytest.mark.timeout(4 * PREPARATION_SECONDS + 60)
def test_a_tokenizer_that_hangs_costs_the_process() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener)
        await listener.loaded()
        (other,) = await listener.answers(process, asking(CAPITAL))
        _, hanging = listener.submit(process, asking(HANGING_PROMPT))
        (beside,) = await listener.answers(process, asking(CAPITAL))
        assert other.text() == beside.text() == ANSWERS[CAPITAL]
        error = await listener.error()
        assert type(error) is WorkerLost
        assert error.message.endswith("Tokenizing a prompt took longer than 10 seconds")
        assert hanging.error is error
        await gone(process)

    play(act())


def test_an_abort_during_a_step_costs_the_process() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot aborting")
        await listener.loaded()
        _, answer = listener.submit(process, asking(CAPITAL))
        error = await listener.error()
        assert "SIGABRT" in error.message
        assert answer.error is error
        await gone(process)

    play(act())


def test_a_defect_in_a_preparation_costs_its_own_request() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot clumsy")
        await listener.loaded()
        (answer,) = await listener.answers(process, asking(CAPITAL))
        assert isinstance(answer.error, InternalError)
        assert "ZeroDivisionError" in answer.error.message
        process.close()
        await gone(process)

    play(act())


def test_a_busy_loop_does_not_blame_the_process() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener, limits=HeartbeatLimits(silence=2.0))
        await listener.loaded()
        for _ in range(3):
            time.sleep(3.0)  # noqa: ASYNC251 - that is the point
            await asyncio.sleep(0.05)
        (answer,) = await listener.answers(process, asking(CAPITAL))
        assert answer.text() == ANSWERS[CAPITAL]
        process.close()
        await gone(process)

    play(act())


def test_its_output_goes_into_the_log_and_nowhere_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")

    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot noisy")
        await listener.loaded()
        while len(caplog.messages) < 1:  # noqa: ASYNC110 - a log has no event for it
            await asyncio.sleep(0.01)
        (answer,) = await listener.answers(process, asking(CAPITAL))
        assert answer.text() == ANSWERS[CAPITAL]
        process.close()
        await gone(process)

    play(act())
    assert "on stderr" in caplog.messages
    assert capfd.readouterr() == ("", "")


def test_a_flood_of_output_is_limited(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")
    flood = "os.write(1, b'x' * 70000 + b'\\n'); [os.write(1, b'word %d\\n' % n) for n in range(20000)]; os._exit(4)"
    error = crash(command=python(flood))
    assert error.message.endswith("status 4; its last output: word 19999")
    assert len(error.__notes__[0]) <= 4096
    assert len(caplog.messages) < 500
    assert max(map(len, caplog.messages)) <= 1000


def test_it_gets_no_token_of_the_hub(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, "mlxknife.worker")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    async def act() -> None:
        listener = Listener()
        process = start(listener, "parrot curious")
        await listener.loaded()
        while not caplog.messages:  # noqa: ASYNC110 - a log has no event for it
            await asyncio.sleep(0.01)
        process.close()
        await gone(process)

    play(act())
    assert caplog.messages == ["token None fast"]


def test_a_request_larger_than_the_socket_buffer_arrives() -> None:
    async def act() -> None:
        listener = Listener()
        process = start(listener)
        await listener.loaded()
        long = GenerationRequest(prompts=("x" * 3_000_000,))
        large, small = await listener.answers(process, long, asking(CAPITAL))
        assert large.accepted is not None
        assert large.accepted.prompt_tokens == 3_000_000
        assert small.text() == ANSWERS[CAPITAL]
        process.close()
        await gone(process)

    play(act())


def test_values_that_cannot_be_sent_are_refused_with_the_request() -> None:
    huge = GenerationRequest(prompts=((10**30,),))
    seed = asking(CAPITAL, GenerationOptions(SamplingParameters(seed=2**70)))
    surrogate = asking("half \udce9 character")

    async def act() -> None:
        listener = Listener()
        process = start(listener)
        await listener.loaded()
        for refused in await listener.answers(process, huge, seed):
            assert isinstance(refused.error, ValidationError)
        (replaced,) = await listener.answers(process, surrogate)
        assert replaced.error is None
        process.close()
        await gone(process)

    play(act())
