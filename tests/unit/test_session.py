"""The answers of a session: what it sends to the model, and what it makes of the events."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mlxknife.domain.errors import (
    ContextLengthExceeded,
    EngineError,
    KnifeError,
    TemplateError,
    ValidationError,
    WorkerLost,
)
from mlxknife.domain.generation.values.answer import (
    Delta,
    FinishReason,
    TextDelta,
    TextKind,
    Timings,
    Usage,
)
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    KVCacheOptions,
    Message,
    SamplingParameters,
)
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from tests.fakes.clients import HELLO, FakeClients, says
from tests.fakes.system import FakeSystem
from tests.unit.session_setup import collect, join, make_sessions, open_session

_CONVERSATION = (Message("user", "Who are you?"),)


# --- the answer


def test_an_answer_is_yielded_in_deltas_and_returned_whole() -> None:
    clients = FakeClients()
    deltas, result = collect(open_session(clients).answer(_CONVERSATION))
    assert [delta.text for delta in deltas] == list(HELLO)
    assert (result.answer, result.reasoning) == ("Hello, world!", "")
    assert (result.finish_reason, result.usage, result.usage.total_tokens) == (FinishReason.STOP, Usage(3, 4), 7)
    assert clients.client.requests == [GenerationRequest(_CONVERSATION)]
    assert clients.client.cancelled == 0


def test_a_delta_is_yielded_before_the_next_token_is_generated() -> None:
    clients = FakeClients()
    answer = open_session(clients).answer(_CONVERSATION)
    assert clients.client.requests == []
    for number in range(1, 5):
        next(answer)
        assert clients.client.sent == number


def test_reasoning_and_answer_are_kept_apart() -> None:
    reasoning = [TextDelta(TextKind.REASONING, text) for text in ("Hm", "m.")]
    deltas, result = collect(open_session(FakeClients(says(*reasoning, "Yes", "."))).answer(_CONVERSATION))
    assert (join(deltas, TextKind.REASONING), join(deltas)) == ("Hmm.", "Yes.")
    assert (result.reasoning, result.answer, result.usage.completion_tokens) == ("Hmm.", "Yes.", 4)


def test_the_result_has_the_tool_calls() -> None:
    def script(request: GenerationRequest) -> Iterator[Delta]:
        del request
        yield Delta(tool_calls=(ToolCallDelta(0, "call_a", "get"), ToolCallDelta(0, arguments='{"a": ')))
        end = ToolCallDelta(1, "call_b", "stop", "{}")
        yield Delta(tool_calls=(ToolCallDelta(0, arguments="1}"), end), finish_reason=FinishReason.TOOL_CALLS)

    deltas, result = collect(open_session(FakeClients(script)).answer(_CONVERSATION))
    assert (deltas, result.answer, result.finish_reason) == ([], "", FinishReason.TOOL_CALLS)
    assert result.tool_calls == (ToolCall("call_a", "get", '{"a": 1}'), ToolCall("call_b", "stop", "{}"))


def test_one_delta_may_end_the_reasoning_and_begin_the_answer() -> None:
    both = (TextDelta(TextKind.REASONING, "Hmm."), TextDelta(TextKind.ANSWER, "Yes."))

    def script(request: GenerationRequest) -> Iterator[Delta]:
        del request
        yield Delta(texts=both)
        yield Delta(texts=(TextDelta(TextKind.ANSWER, "!"),), finish_reason=FinishReason.STOP, usage=Usage(3, 5))

    deltas, result = collect(open_session(FakeClients(script)).answer(_CONVERSATION))
    assert deltas == [*both, TextDelta(TextKind.ANSWER, "!")]
    assert (result.reasoning, result.answer, result.usage) == ("Hmm.", "Yes.!", Usage(3, 5))


def test_a_closed_answer_is_cancelled() -> None:
    clients = FakeClients()
    answer = open_session(clients).answer(_CONVERSATION)
    next(answer)
    assert clients.client.cancelled == 0
    answer.close()
    assert (clients.client.sent, clients.client.cancelled, clients.client.is_closed) == (1, 1, False)


def test_after_a_cancelled_answer_the_next_one_is_complete() -> None:
    session = open_session(FakeClients())
    answer = session.answer(_CONVERSATION)
    next(answer)
    answer.close()
    assert collect(session.answer(_CONVERSATION))[1].answer == "Hello, world!"


def test_the_options_and_the_choice_of_the_template_reach_the_model() -> None:
    clients = FakeClients()
    session = open_session(clients)
    options = GenerationOptions(SamplingParameters(top_k=3, seed=7), KVCacheOptions(bits=8), 2, ("\nTwo", "Four"))
    messages = (Message("system", "Be brief."), *_CONVERSATION)
    result = collect(session.answer(list(messages), options, use_chat_template=False))[1]
    assert clients.client.requests == [GenerationRequest(messages, options=options, use_chat_template=False)]
    assert (result.answer, result.finish_reason, result.usage) == ("Hello, ", FinishReason.LENGTH, Usage(5, 2))


@pytest.mark.parametrize(
    "error",
    [
        TemplateError("no system text"),
        ContextLengthExceeded("too long"),
        EngineError("out of memory"),
        WorkerLost("killed"),
    ],
    ids=lambda error: error.code,
)
@pytest.mark.parametrize("texts", [(), HELLO])
def test_an_error_leaves_the_deltas_before_it(texts: tuple[str, ...], error: KnifeError) -> None:
    clients = FakeClients(says(*texts, error=error))
    answer = open_session(clients).answer(_CONVERSATION)
    assert [next(answer).text for _ in texts] == list(texts)
    with pytest.raises(type(error), match=error.message):
        next(answer)
    assert not clients.client.is_closed


def test_tokens_from_the_prefix_cache_are_counted() -> None:
    def script(request: GenerationRequest) -> Iterator[Delta]:
        del request
        yield Delta(texts=(TextDelta(TextKind.ANSWER, "Hello"),))
        yield Delta(finish_reason=FinishReason.STOP, usage=Usage(3, 2, cached_tokens=2))

    assert collect(open_session(FakeClients(script)).answer(_CONVERSATION))[1].usage == Usage(3, 2, cached_tokens=2)


def test_timings_are_those_of_the_clock() -> None:
    clock = FakeSystem()
    clients = FakeClients(clock=clock, load_seconds=3.0, step_seconds=0.25)
    deltas, result = collect(make_sessions(clients, system=clock).open("one").answer(_CONVERSATION))
    assert len(deltas) == 4
    assert result.timings == Timings(load=3.0, first_token=0.25, total=1.25)


def test_an_answer_without_text_has_timings_too() -> None:
    clock = FakeSystem()
    clients = FakeClients(says(), clock=clock, step_seconds=0.5)
    result = collect(make_sessions(clients, system=clock).open("one").answer(_CONVERSATION))[1]
    assert (result.answer, result.usage, result.timings) == ("", Usage(3, 0), Timings(0.0, 0.5, 0.5))


def test_several_threads_are_answered_at_once() -> None:
    barrier = threading.Barrier(3, timeout=60)

    def script(request: GenerationRequest) -> Iterator[Delta]:
        barrier.wait()  # nothing ends before all have begun
        yield from says(request.messages[-1].content)(request)

    session = open_session(FakeClients(script))
    answers: dict[str, str] = {}

    def ask(question: str) -> None:
        answers[question] = session.ask(question).answer

    threads = [threading.Thread(target=ask, args=(question,)) for question in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == {question: question for question in "abc"}


# --- what is refused before anything is sent


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (GenerationOptions(SamplingParameters(temperature=-1.0)), "temperature"),
        (GenerationOptions(SamplingParameters(top_p="5")), "top_p"),  # type: ignore[arg-type] # that is the point
        (GenerationOptions(max_tokens="5"), "max_tokens"),  # type: ignore[arg-type] # likewise
        (GenerationOptions(stop="5"), "stop"),  # type: ignore[arg-type] # likewise
        (GenerationOptions(n=2), "n"),
        (GenerationOptions(n=0), "n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_invalid_options_are_refused_by_name(options: GenerationOptions, name: str) -> None:
    clients = FakeClients()
    with pytest.raises(ValidationError) as caught:
        collect(open_session(clients).answer(_CONVERSATION, options))
    assert caught.value.param == name
    assert clients.client.requests == []


def test_invalid_messages_are_refused() -> None:
    clients = FakeClients()
    session = open_session(clients)
    dicts: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(ValidationError, match="Message values, not of dict") as caught:
        collect(session.answer(dicts))
    assert caught.value.hint == Hint(HintCode.WRITE_MESSAGE)
    with pytest.raises(ValidationError, match="empty"):
        collect(session.answer([]))
    assert clients.client.requests == []


# --- ask


def test_ask_returns_the_whole_result() -> None:
    clients = FakeClients()
    session = open_session(clients)
    result = session.ask("Who?\n", GenerationOptions(max_tokens=3), system="Be brief.")
    assert (result.answer, result.finish_reason) == ("Hello, world", FinishReason.LENGTH)
    assert clients.client.requests[0].messages == (Message("system", "Be brief."), Message("user", "Who?"))
    with pytest.raises(ValidationError):
        session.ask(" \n")


@pytest.mark.parametrize("text", ["", " \n", None])
def test_a_blank_system_text_is_dropped(text: str | None) -> None:
    clients = FakeClients()
    open_session(clients).ask("Who?", system=text)
    assert clients.client.requests[0].messages == (Message("user", "Who?"),)
