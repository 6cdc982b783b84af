"""What the blocking clients of model processes promise: real processes, a process on the loop, and a plain fake."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import pytest

from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.adapters.worker.parent.heartbeat import HeartbeatLimits
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import EngineError, KnifeError, NotEnoughMemory, ValidationError, WorkerLost
from mlxknife.domain.generation.values.answer import Delta, GenerationEvent
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest
from mlxknife.ports.engines.processes import ModelClient, ModelClients
from tests.contracts.process_listener import asking, endless, load_request
from tests.fakes.clients import FakeClients, recites
from tests.fakes.processes import FakeModel, FakeProcesses
from tests.fakes.scripted_engine import COMMAND, STEP_SECONDS
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG

_MAX_WAIT = 60


_LARGE = {"parrot large": NotEnoughMemory("It does not fit")}


def _fake() -> ModelClients:
    return FakeClients(recites, _LARGE, step_seconds=STEP_SECONDS)


def _fake_process() -> ModelClients:
    models = {"parrot": FakeModel(), **{place: FakeModel(failure=error) for place, error in _LARGE.items()}}
    return BlockingClients(FakeProcesses(models, step_seconds=STEP_SECONDS))


def _scripted() -> ModelClients:
    return BlockingClients(WorkerProcesses(COMMAND, HeartbeatLimits(silence=3.0)))


@pytest.fixture(params=[_fake, _fake_process, _scripted], ids=lambda kind: kind.__name__.strip("_"))
def clients(request: pytest.FixtureRequest) -> ModelClients:
    made: ModelClients = request.param()
    return made


@pytest.fixture
def client(clients: ModelClients) -> Iterator[ModelClient]:
    with closing(clients.start()) as started:
        started.load(load_request("parrot"))
        yield started


def text(events: Iterator[GenerationEvent]) -> str:
    deltas = [event for event in events if isinstance(event, Delta)]
    return "".join(part.text for delta in deltas for part in delta.texts)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_the_first_event_says_that_the_request_is_accepted(client: ModelClient) -> None:
    events = list(client.submit(asking(CAPITAL)))
    assert isinstance(events[0], Accepted)
    assert text(iter(events)) == ANSWERS[CAPITAL]


def test_several_threads_are_answered_at_once(client: ModelClient) -> None:
    answers: dict[str, str] = {}
    questions = (CAPITAL, ECHO, GREETING)

    def answer(question: str) -> None:
        answers[question] = text(client.submit(asking(question)))

    for thread in [in_thread(lambda question=question: answer(question)) for question in questions]:  # type: ignore[misc]
        thread.join(_MAX_WAIT)
    assert answers == {question: ANSWERS[question] for question in questions}


def test_it_works_inside_a_running_loop(client: ModelClient) -> None:
    async def notebook() -> str:
        return text(client.submit(asking(CAPITAL)))

    assert asyncio.run(notebook()) == ANSWERS[CAPITAL]


def test_the_thread_that_started_it_may_end(clients: ModelClients) -> None:
    started: list[ModelClient] = []
    in_thread(lambda: started.append(clients.start())).join(_MAX_WAIT)
    with closing(started[0]) as client:
        in_thread(lambda: client.load(load_request("parrot"))).join(_MAX_WAIT)
        assert text(client.submit(asking(CAPITAL))) == ANSWERS[CAPITAL]


def test_closing_an_answer_cancels_it(client: ModelClient) -> None:
    events: Generator[GenerationEvent] = client.submit(endless())
    assert isinstance(next(events), Accepted)
    assert isinstance(next(events), Delta)
    events.close()
    assert text(client.submit(asking(CAPITAL))) == ANSWERS[CAPITAL]


def test_an_error_of_a_request_costs_no_other(client: ModelClient) -> None:
    with pytest.raises(ValidationError) as caught:
        list(client.submit(asking(CAPITAL, GenerationOptions(n=99))))
    assert caught.value.param == "n"
    assert text(client.submit(asking(CAPITAL))) == ANSWERS[CAPITAL]


def test_an_error_of_loading_is_raised_and_again_for_every_request(clients: ModelClients) -> None:
    with closing(clients.start()) as client:
        with pytest.raises(NotEnoughMemory, match="It does not fit"):
            client.load(load_request("parrot large"))
        with pytest.raises(NotEnoughMemory):
            list(client.submit(asking(CAPITAL)))


def test_closing_fails_the_requests_that_run(client: ModelClient) -> None:
    errors: list[KnifeError] = []
    events = client.submit(endless())
    next(events)

    def read() -> None:
        try:
            list(events)
        except KnifeError as exc:
            errors.append(exc)

    reader = in_thread(read)
    client.close()
    reader.join(_MAX_WAIT)
    assert [type(error) for error in errors] == [EngineError]
    with pytest.raises(EngineError, match="closed"):
        list(client.submit(asking(CAPITAL)))
    client.close()


def test_a_client_may_be_closed_before_it_loads(clients: ModelClients) -> None:
    client = clients.start()
    client.close()
    with pytest.raises(EngineError, match="closed"):
        client.load(load_request("parrot"))


def test_a_pause_holds_the_answer(client: ModelClient) -> None:
    received: list[GenerationEvent] = []
    done = threading.Event()

    def read() -> None:
        received.extend(client.submit(asking(LONG)))  # one after the other
        done.set()

    in_thread(read)
    while len(received) < 3:
        done.wait(0.01)
    client.pause()
    done.wait(0.3)
    count = len(received)
    assert not done.wait(0.5)
    assert len(received) == count
    client.resume()
    assert done.wait(_MAX_WAIT)
    assert text(iter(received)) == ANSWERS[LONG]


class TestRealProcesses:
    @pytest.fixture
    def client(self) -> Iterator[ModelClient]:
        with closing(_scripted().start()) as started:
            started.load(load_request("parrot"))
            yield started

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
    def test_a_crash_or_hang_is_an_error_of_the_contract(self, number: int) -> None:
        processes = WorkerProcesses(COMMAND, HeartbeatLimits(silence=2.0))
        with closing(BlockingClients(processes).start()) as client:
            client.load(load_request("parrot"))
            events = client.submit(endless())
            next(events)
            os.kill(_process_id(client), number)
            with pytest.raises(WorkerLost):
                list(events)
            with pytest.raises(WorkerLost):
                list(client.submit(asking(CAPITAL)))

    def test_a_request_with_values_of_wrong_types_costs_itself_alone(self, client: ModelClient) -> None:
        wrong = GenerationRequest(prompts=("text", object()))  # type: ignore[arg-type] # that is the point
        with pytest.raises(ValidationError):
            list(client.submit(wrong))
        wrong = GenerationRequest(prompts=({"a": 1},))  # type: ignore[arg-type] # likewise
        with pytest.raises(ValidationError, match="invalid"):
            list(client.submit(wrong))
        assert text(client.submit(asking(CAPITAL))) == ANSWERS[CAPITAL]

    def test_ctrl_c_ends_the_wait_for_an_answer(self, client: ModelClient) -> None:
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            list(client.submit(endless()))
        assert text(client.submit(asking(CAPITAL))) == ANSWERS[CAPITAL]


def _process_id(client: ModelClient) -> int:
    started = client._started.result()  # type: ignore[attr-defined] # noqa: SLF001 - a port has no process id
    number: int = started.process_id
    return number
