"""What every ``ModelProcesses`` promises."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import attrs
import pytest

from mlxknife.adapters.worker.parent.heartbeat import HeartbeatLimits
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.errors import KnifeError, ModelNotRunnable, ValidationError, WorkerLost
from mlxknife.domain.generation.values.answer import FinishReason, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest, ModelLoaded
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, SamplingParameters
from mlxknife.ports.engines.processes import ModelProcess, ModelProcesses
from tests.contracts.process_listener import Listener, asking, endless, gone, load_request
from tests.fakes.processes import FakeModel, FakeProcess, FakeProcesses
from tests.fakes.scripted_engine import COMMAND, STEP_SECONDS
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG, REASONING
from tests.parrot_rows import END_TOKEN

pytestmark = pytest.mark.timeout(1200)

_REQUESTS = 32
REAL = (sys.executable, "-P", "-m", "mlxknife", "--worker-fd")
QUICK = HeartbeatLimits(silence=3.0)

Act: TypeAlias = Callable[[ModelProcess, Listener], Awaitable[None]]


@attrs.frozen
class Stage:
    """Processes, a model that they can load, a place without one, and how a process is killed."""

    processes: ModelProcesses
    model: LoadRequest
    nowhere: LoadRequest
    kill: Callable[[ModelProcess, int], None]


def _kill(process: ModelProcess, number: int) -> None:
    assert process.process_id is not None
    os.kill(process.process_id, number)


def _crash_fake(process: ModelProcess, number: int) -> None:
    assert isinstance(process, FakeProcess)
    error = WorkerLost(f"The model process hung, or was killed by {signal.Signals(number).name}")
    asyncio.get_running_loop().call_soon(process.crash, error)


def _fake() -> Stage:
    processes = FakeProcesses({"parrot": FakeModel()}, step_seconds=STEP_SECONDS)
    return Stage(processes, load_request("parrot"), load_request("/nowhere"), _crash_fake)


def _scripted() -> Stage:
    processes = WorkerProcesses(COMMAND, QUICK)
    return Stage(processes, load_request("parrot"), load_request("/nowhere"), _kill)


def _real() -> Stage:
    folder = str(parrot_folder())
    return Stage(WorkerProcesses(REAL, QUICK), load_request(folder), load_request(f"{folder}/nowhere"), _kill)


@pytest.fixture(
    params=[_fake, _scripted, pytest.param(_real, marks=pytest.mark.stress(part="model-processes"))],
    ids=lambda kind: kind.__name__.strip("_"),
)
def stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.param()
    return made


@asynccontextmanager
async def loaded(stage: Stage) -> AsyncIterator[tuple[ModelProcess, Listener, ModelLoaded]]:
    listener = Listener()
    process = stage.processes.start(listener.on_state)
    process.load(stage.model)
    assert listener.has_no_state
    try:
        yield process, listener, await listener.loaded()
    finally:
        process.close()
        await gone(process)


def play(act: Coroutine[Any, Any, None]) -> None:
    asyncio.run(act)


def test_it_reports_what_it_loaded(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (process, _, state):
            assert state.seconds >= 0
            assert process.process_id not in (None, os.getpid())

    play(act())


def test_a_process_may_wait_for_its_model(stage: Stage) -> None:
    async def act() -> None:
        listener = Listener()
        process = stage.processes.start(listener.on_state)
        await asyncio.sleep(0.2)
        assert listener.has_no_state
        process.load(stage.model)
        await listener.loaded()
        process.close()
        await gone(process)

    play(act())


async def answers_are_the_same_in_a_batch_as_alone(process: ModelProcess, listener: Listener) -> None:
    questions = (CAPITAL, GREETING, ECHO, LONG)

    batch = await listener.answers(process, *map(asking, questions))
    assert [one.text() for one in batch] == [ANSWERS[question] for question in questions]
    for question in questions:
        (alone,) = await listener.answers(process, asking(question))
        assert (alone.text(), alone.reason()) == (ANSWERS[question], FinishReason.STOP)
        assert alone.accepted is not None
        assert alone.accepted.prompt_tokens > 0
        assert alone.deltas[-1].usage is not None
        assert alone.deltas[-1].usage.completion_tokens > 0


async def reasoning_is_separate(process: ModelProcess, listener: Listener) -> None:
    (answer,) = await listener.answers(process, asking(REASONING))
    assert answer.text() == "The sum is 42."
    assert answer.text(kind=TextKind.REASONING) == "First 17 + 20 = 37. Then 37 + 5 = 42."


async def several_answers_and_prompts_have_an_index_each(process: ModelProcess, listener: Listener) -> None:
    (answers,) = await listener.answers(process, asking(CAPITAL, GenerationOptions(n=3)))
    assert {answers.text(index) for index in range(3)} == {ANSWERS[CAPITAL]}
    options = GenerationOptions(SamplingParameters(temperature=0.0), max_tokens=3)
    request = GenerationRequest(prompts=("one", "two"), options=attrs.evolve(options, n=2))
    (texts,) = await listener.answers(process, request)
    assert all(texts.reason(index) for index in range(4))


async def a_refused_request_names_the_field_and_costs_no_other(process: ModelProcess, listener: Listener) -> None:
    wrong = {
        "prompt": GenerationRequest(prompts=((10**6,),)),
        "n": asking(CAPITAL, GenerationOptions(n=99)),
    }

    _, other = listener.submit(process, asking(CAPITAL))
    refused = await listener.answers(process, *wrong.values())
    await listener.until(other.has_ended)
    for one, field in zip(refused, wrong, strict=True):
        assert isinstance(one.error, ValidationError)
        assert one.error.param == field
        assert one.accepted is None
    assert other.text() == ANSWERS[CAPITAL]


async def a_cancelled_request_sends_nothing_more_and_frees_its_place(process: ModelProcess, listener: Listener) -> None:
    long = [listener.submit(process, endless(END_TOKEN)) for _ in range(_REQUESTS)]
    await listener.until(lambda: all(one.deltas for _, one in long))
    _, waiting = listener.submit(process, asking(ECHO))
    for request_id, _ in long:
        process.cancel(request_id)
        process.cancel(request_id)
    counts = [len(one.deltas) for _, one in long]
    await listener.until(waiting.has_ended)
    assert waiting.text() == ANSWERS[ECHO]
    assert [len(one.deltas) for _, one in long] == counts


async def a_request_may_be_cancelled_before_it_is_accepted(process: ModelProcess, listener: Listener) -> None:
    request_id, cancelled = listener.submit(process, endless(END_TOKEN))
    process.cancel(request_id)
    (answer,) = await listener.answers(process, asking(CAPITAL))
    assert answer.text() == ANSWERS[CAPITAL]
    assert cancelled.accepted is None
    assert not cancelled.deltas


async def an_answer_ends_at_its_limit(process: ModelProcess, listener: Listener) -> None:
    requests = [asking(CAPITAL, GenerationOptions(max_tokens=limit)) for limit in (1, 2, 5)]
    for answer, limit in zip(await listener.answers(process, *requests), (1, 2, 5), strict=True):
        assert (answer.text(), answer.reason()) == (ANSWERS[CAPITAL][:limit], FinishReason.LENGTH)


async def a_paused_process_goes_on_where_it_stopped(process: ModelProcess, listener: Listener) -> None:
    _, answer = listener.submit(process, asking(LONG))
    await listener.until(lambda: bool(answer.deltas))
    process.pause()
    await asyncio.sleep(0.3)
    length = len(answer.text())
    await asyncio.sleep(0.5)
    assert len(answer.text()) == length < len(ANSWERS[LONG])
    process.resume()
    await listener.until(answer.has_ended)
    assert answer.text() == ANSWERS[LONG]


async def a_paused_process_can_be_closed(process: ModelProcess, listener: Listener) -> None:
    _, answer = listener.submit(process, endless(END_TOKEN))
    await listener.until(lambda: bool(answer.deltas))
    process.pause()


ACTS = (
    answers_are_the_same_in_a_batch_as_alone,
    several_answers_and_prompts_have_an_index_each,
    a_refused_request_names_the_field_and_costs_no_other,
    a_cancelled_request_sends_nothing_more_and_frees_its_place,
    a_request_may_be_cancelled_before_it_is_accepted,
    an_answer_ends_at_its_limit,
    a_paused_process_goes_on_where_it_stopped,
    a_paused_process_can_be_closed,
)
"""The last one leaves the process paused."""


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_requests(stage: Stage, act: Act) -> None:
    async def play_one() -> None:
        async with loaded(stage) as (process, listener, _):
            await act(process, listener)

    play(play_one())


def test_requests_to_one_real_process() -> None:
    async def play_all() -> None:
        async with loaded(_real()) as (process, listener, state):
            assert state.seconds > 0
            for act in (reasoning_is_separate, *ACTS):
                await act(process, listener)

    play(play_all())


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.stress(part="model-processes"))])
def test_a_crash_or_hang_is_reported_once_to_each_request_and_the_process_is_gone(stage: Stage, rounds: int) -> None:
    async def act() -> None:
        for number in range(rounds):
            async with loaded(stage) as (process, listener, _):
                running = [listener.submit(process, request) for request in (endless(END_TOKEN), asking(LONG))]
                await listener.until(lambda running=running: all(one.deltas for _, one in running))  # type: ignore[misc]
                stage.kill(process, (signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT)[number % 3])
                assert isinstance(await listener.error(), WorkerLost)
                assert all(isinstance(one.error, WorkerLost) or one.has_ended() for _, one in running)
                _, late = listener.submit(process, asking(CAPITAL))
                process.cancel(running[0][0])
                await gone(process)
                assert listener.has_no_state
                assert (late.accepted, late.error) == (None, None)

    play(act())


def test_closing_ends_the_process_and_calls_nothing_more(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (process, listener, _):
            number = process.process_id
            request_id, answer = listener.submit(process, endless(END_TOKEN))
            await listener.until(lambda: bool(answer.deltas))
            assert number is not None
            process.close()
            count = len(answer.deltas)
            process.close()
            listener.submit(process, asking(CAPITAL))
            process.cancel(request_id)
            await gone(process)
            with pytest.raises(ProcessLookupError):
                os.kill(number, 0)
            assert listener.has_no_state
            assert (len(answer.deltas), answer.error) == (count, None)

    play(act())


def test_a_callback_may_close_it(stage: Stage) -> None:
    async def act() -> None:
        listener = Listener()
        process = stage.processes.start(listener.on_state)
        process.load(stage.model)
        await listener.loaded()
        events: list[object] = []

        def on_event(event: object) -> None:
            events.append(event)
            process.close()

        process.submit(asking(LONG), on_event)
        await gone(process)
        await asyncio.sleep(0.05)
        assert len(events) == 1
        assert listener.has_no_state

    play(act())


def test_it_may_be_closed_before_it_has_loaded(stage: Stage) -> None:
    async def act() -> None:
        listener = Listener()
        process = stage.processes.start(listener.on_state)
        process.load(stage.model)
        process.close()
        await gone(process)
        await asyncio.sleep(0)
        assert listener.has_no_state

    play(act())


def test_a_place_without_a_model_is_an_error_of_loading(stage: Stage) -> None:
    async def act() -> None:
        listener = Listener()
        process = stage.processes.start(listener.on_state)
        process.load(stage.nowhere)
        error: KnifeError = await listener.error()
        assert type(error) is ModelNotRunnable
        assert error.message.startswith("The model could not be loaded")
        await gone(process)
        assert listener.has_no_state

    play(act())
