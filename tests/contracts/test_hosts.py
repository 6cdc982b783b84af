"""What every ``Hosts`` promises."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from tokenizers import Tokenizer

from mlxknife.adapters.worker.parent.heartbeat import Limits
from mlxknife.adapters.worker.parent.hosts import WorkerHosts
from mlxknife.domain.errors import EngineError, ValidationError, WorkerLost
from mlxknife.domain.generation.values.generation import FinishReason
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import Fell, HostEvent, Loaded
from mlxknife.ports.engines.hosts import Host, Hosts
from tests.contracts.ears import Ear, endless, gone
from tests.contracts.flock import answer, asked, mixed
from tests.fakes.hosts import FakeHost, FakeHostedModel, FakeHosts
from tests.fakes.loaders import COMMAND, STEP_SECONDS, scripted, scripted_model
from tests.parrot import parrot_folder
from tests.parrot.answers import CAPITAL, ECHO, LONG

pytestmark = pytest.mark.timeout(1200)

_PLACES = 32
REAL = (sys.executable, "-P", "-m", "mlxknife", "--worker-fd")
QUICK = Limits(silence=3.0)


@attrs.frozen
class Stage:
    """Hosts, a model that they can start, a place without one, and how a process of theirs is killed."""

    hosts: Hosts
    location: Location
    nowhere: Location
    kill: Callable[[Host, int], None]


def _at(place: str) -> Location:
    return Location(place, (place,))


def _kill(host: Host, number: int) -> None:
    assert host.process_id is not None
    os.kill(host.process_id, number)


def _kill_fake(host: Host, number: int) -> None:
    assert isinstance(host, FakeHost)
    loop = asyncio.get_running_loop()
    loop.call_soon(host.die, WorkerLost(f"It hung, or was ended by {signal.Signals(number).name}"))


def _fake() -> Stage:
    bird = FakeHostedModel(scripted_model(), scripted)
    return Stage(FakeHosts({"parrot": bird}, step_seconds=STEP_SECONDS), _at("parrot"), _at("/nowhere"), _kill_fake)


def _scripted() -> Stage:
    return Stage(WorkerHosts(COMMAND, lambda: 0, QUICK), _at("parrot"), _at("/nowhere"), _kill)


def _real() -> Stage:
    folder = str(parrot_folder())
    return Stage(WorkerHosts(REAL, lambda: 2**26, QUICK), _at(folder), _at(f"{folder}/nowhere"), _kill)


@pytest.fixture(params=[_fake, _scripted, _real], ids=lambda kind: kind.__name__.strip("_"))
def stage(request: pytest.FixtureRequest) -> Stage:
    made: Stage = request.param()
    return made


@asynccontextmanager
async def loaded(stage: Stage) -> AsyncIterator[tuple[Host, Ear, Loaded]]:
    ear = Ear()
    host = stage.hosts.start(stage.location, "fast", ear.hear)
    assert ear.heard_nothing
    try:
        event = await ear.next()
        assert isinstance(event, Loaded), event
        yield host, ear, event
    finally:
        host.close()
        await gone(host)


def play(act: Coroutine[Any, Any, None]) -> None:
    asyncio.run(act)


def test_it_tells_what_it_loaded(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, _, event):
            model = event.model
            written = Tokenizer.from_str(model.tokenizer)
            question = f"<|im_start|>user\n{CAPITAL}<|im_end|>\n<|im_start|>assistant\n"
            assert tuple(written.encode(question, add_special_tokens=False).ids) == asked(CAPITAL)
            assert model.vocabulary_size >= written.get_vocab_size()
            assert model.chat_template is not None
            assert "<|im_start|>" in model.chat_template
            assert model.special_tokens["eos_token"] == "<|im_end|>"
            assert model.can_batch
            assert event.seconds >= 0
            assert host.process_id not in (None, os.getpid())

    play(act())


def test_rows_say_the_same_together_as_alone(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, ear, _):
            together = await ear.answers(host, *mixed())
            assert together.tokens(0) == answer(CAPITAL)
            for row in mixed():
                alone = await ear.answers(host, row)
                assert alone.tokens(row.id) == together.tokens(row.id)
                assert alone.ended(row.id) is together.ended(row.id) is not None
            assert [len(step.top) for step in together.steps[5]] == [3] * len(together.steps[5])

    play(act())


def test_what_is_refused_is_told_by_name_and_hurts_nobody(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, ear, _):
            strange = {
                2: Row(2, (*asked(CAPITAL), 10**6), 500),
                3: Row(3, (10**30,), 500),
                4: Row(4, asked(CAPITAL), 500, logit_bias=((10**9, 1.0),)),
                5: Row(5, (-(10**30),), 500),
            }
            errors: dict[int, Exception] = {}
            host.submit(Row(1, asked(CAPITAL), 500))
            for row in strange.values():
                host.submit(row)
            while len(errors) < len(strange) or ear.told.ended(1) is None:
                event = await ear.next()
                assert isinstance(event, BatchStep)
                errors |= {error.row: error.error for error in event.errors}
            assert ear.told.tokens(1) == answer(CAPITAL)
            assert errors.keys() == strange.keys()
            for number, field in ((2, "prompt"), (3, "prompt"), (4, "logit_bias"), (5, "prompt")):
                error = errors[number]
                assert isinstance(error, ValidationError)
                assert (error.message.partition(" ")[0], error.param) == (field, field)
                assert error.hint

    play(act())


def test_a_row_that_is_cancelled_leaves_its_place(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, ear, _):
            for number in range(_PLACES):
                host.submit(endless(number))
            host.submit(Row(99, asked(ECHO), 500))
            await ear.until(lambda: len(ear.told.tokens(0)) > 3)
            assert 99 not in ear.told.steps
            for number in range(_PLACES):
                host.cancel(number)
                host.cancel(number)
            await ear.until(lambda: ear.told.ended(99) is not None)
            assert ear.told.tokens(99) == answer(ECHO)
            again = await ear.answers(host, Row(100, asked(CAPITAL), 500))  # by now nothing is on its way any more
            assert again.tokens(100) == answer(CAPITAL)
            assert again.steps.keys() == {100}

    play(act())


def test_a_row_ends_where_there_are_enough(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, ear, _):
            told = await ear.answers(host, *(Row(most, asked(CAPITAL), most) for most in (1, 2, 5)))
            for most in (1, 2, 5):
                assert (told.tokens(most), told.ended(most)) == (answer(CAPITAL)[:most], FinishReason.LENGTH)

    play(act())


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.stress)])
def test_a_process_that_dies_or_hangs_is_told_once_and_is_gone(stage: Stage, rounds: int) -> None:
    async def act() -> None:
        for number in range(rounds):
            async with loaded(stage) as (host, ear, _):
                host.submit(endless(1))
                host.submit(Row(2, asked(LONG), 500))
                await ear.until(lambda told=ear.told: len(told.tokens(1)) > 5)  # type: ignore[misc]
                stage.kill(host, (signal.SIGKILL, signal.SIGSTOP, signal.SIGABRT)[number % 3])
                fell = await ear.fell()
                assert isinstance(fell.error, WorkerLost)
                host.submit(Row(3, asked(CAPITAL), 500))
                host.cancel(1)
                await gone(host)
                assert ear.heard_nothing

    play(act())


def test_closing_ends_the_process_and_nothing_more_is_told(stage: Stage) -> None:
    async def act() -> None:
        async with loaded(stage) as (host, ear, _):
            number = host.process_id
            host.submit(endless(1))
            await ear.until(lambda: len(ear.told.tokens(1)) > 5)
            assert number is not None
            host.close()
            before = ear.heard_nothing
            host.close()
            host.submit(Row(2, asked(CAPITAL), 500))
            host.cancel(1)
            await gone(host)
            with pytest.raises(ProcessLookupError):
                os.kill(number, 0)
            assert ear.heard_nothing == before

    play(act())


def test_it_may_be_closed_by_what_it_tells(stage: Stage) -> None:
    async def act() -> None:
        events: list[HostEvent] = []
        hosts: list[Host] = []

        def hear(event: HostEvent) -> None:
            events.append(event)
            if isinstance(event, Loaded):
                hosts[0].submit(endless(1))
            else:
                hosts[0].close()

        hosts.append(stage.hosts.start(stage.location, "fast", hear))
        await gone(hosts[0])
        assert [type(event) for event in events] == [Loaded, BatchStep]

    play(act())


def test_it_may_be_closed_before_it_has_loaded(stage: Stage) -> None:
    async def act() -> None:
        ear = Ear()
        host = stage.hosts.start(stage.location, "fast", ear.hear)
        host.close()
        await gone(host)
        await asyncio.sleep(0)
        assert ear.heard_nothing

    play(act())


def test_what_is_no_model_falls(stage: Stage) -> None:
    async def act() -> None:
        ear = Ear()
        host = stage.hosts.start(stage.nowhere, "fast", ear.hear)
        event = await ear.next()
        assert isinstance(event, Fell)
        assert type(event.error) is EngineError
        assert event.error.message.startswith("The model could not be loaded")
        await gone(host)
        assert ear.heard_nothing

    play(act())
