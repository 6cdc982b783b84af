"""The tool loop: calls are made, their results go back to the model, and the rounds end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mlxknife.domain.errors import ConfirmationRequired, ValidationError
from mlxknife.domain.generation.services.session import AnswerProgress
from mlxknife.domain.generation.services.tool_loop import ToolLoop
from mlxknife.domain.generation.values.answer import (
    Delta,
    FinishReason,
    GenerationResult,
    TextDelta,
    TextKind,
    Usage,
)
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta, ToolChoice, ToolMode, ToolUse
from tests.fakes.clients import FakeClients, Script
from tests.unit.session_setup import open_session

_ASKED = (Message("user", "What is the sum?"),)


def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


def calls(*made: tuple[str, str], then: str = "It is done.", rounds: int = 1) -> Script:
    """Return a script that makes calls in some rounds, and answers with a text after them or without tools."""

    def script(request: GenerationRequest) -> Iterator[Delta]:
        answered = sum(message.role == "assistant" for message in request.messages)
        may_call = request.tools and request.tool_choice.mode is not ToolMode.NONE
        if answered < rounds and may_call:
            for index, (name, arguments) in enumerate(made):
                call = ToolCallDelta(index, f"call_{answered}_{index}", name, arguments)
                yield Delta(tool_calls=(call,), usage=Usage(10, index + 1))
            yield Delta(finish_reason=FinishReason.TOOL_CALLS, usage=Usage(10, len(made)))
            return
        yield Delta(texts=(TextDelta(TextKind.ANSWER, then),), usage=Usage(20, 4))
        yield Delta(finish_reason=FinishReason.STOP, usage=Usage(20, 4))

    return script


def loop_over(script: Script, approve: Callable[[ToolCall], bool] = lambda _: True, rounds: int = 8) -> ToolLoop:
    return open_session(FakeClients(script)).with_tools([add], approve=approve, max_tool_rounds=rounds)


def run(loop: ToolLoop, choice: ToolChoice | None = None) -> tuple[list[TextDelta | ToolUse], GenerationResult]:
    events = list[TextDelta | ToolUse]()
    answer = loop.answer(_ASKED, None, choice)
    while True:
        try:
            events.append(next(answer))
        except StopIteration as end:
            result: GenerationResult = end.value
            return events, result


def test_a_call_is_made_and_its_result_leads_to_the_answer() -> None:
    loop = loop_over(calls(("add", '{"first": 2, "second": 3}')))
    events, result = run(loop)
    call = ToolCall("call_0_0", "add", '{"first": 2, "second": 3}')
    use = ToolUse(call, "5")
    assert events == [use, TextDelta(TextKind.ANSWER, "It is done.")]
    assert (result.answer, result.finish_reason) == ("It is done.", FinishReason.STOP)
    assert (result.tool_calls, result.tool_uses) == ((), (use,))
    assert result.usage == Usage(30, 5)
    assert loop.messages == [
        *_ASKED,
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "5", name="add", tool_call_id="call_0_0"),
    ]


def test_every_call_of_an_answer_is_made_in_order() -> None:
    _, result = run(loop_over(calls(("add", '{"first": 1, "second": 1}'), ("add", '{"first": 2, "second": 2}'))))
    assert [use.result for use in result.tool_uses] == ["2", "4"]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("add", '{"first": "x", "second": 1}', "first"),
        ("add", "{", "arguments"),
        ("subtract", "{}", "no tool 'subtract'"),
    ],
)
def test_a_wrong_call_is_answered_with_what_is_wrong(name: str, arguments: str, said: str) -> None:
    _, result = run(loop_over(calls((name, arguments))))
    (use,) = result.tool_uses
    assert use.result.startswith("Error: ")
    assert said in use.result
    assert result.answer == "It is done."


def test_a_declined_call_is_not_made() -> None:
    made = list[str]()

    def decline(call: ToolCall) -> bool:
        made.append(call.arguments)
        return False

    _, result = run(loop_over(calls(("add", '{"first": 1, "second": 1}')), decline))
    assert [use.result for use in result.tool_uses] == ["The user declined this call."]
    assert made == ['{"first": 1, "second": 1}']


def test_after_the_last_round_the_model_must_answer_without_a_tool() -> None:
    loop = loop_over(calls(("add", '{"first": 1, "second": 1}'), rounds=100), rounds=3)
    _, result = run(loop)
    assert len(result.tool_uses) == 3
    assert result.answer == "It is done."


def test_a_forced_tool_is_forced_once() -> None:
    clients = FakeClients(calls(("add", '{"first": 1, "second": 1}'), rounds=2))
    loop = open_session(clients).with_tools([add])
    run(loop, ToolChoice(ToolMode.REQUIRED, "add"))
    choices = [request.tool_choice for request in clients.client.requests]
    assert choices == [ToolChoice(ToolMode.REQUIRED, "add"), ToolChoice(), ToolChoice()]


def test_without_a_choice_to_call_calls_are_left_to_the_caller() -> None:
    def stubborn(request: GenerationRequest) -> Iterator[Delta]:
        del request
        yield Delta(tool_calls=(ToolCallDelta(0, "a", "add", "{}"),), finish_reason=FinishReason.TOOL_CALLS)

    _, result = run(loop_over(stubborn), ToolChoice(ToolMode.NONE))
    assert result.tool_calls == (ToolCall("a", "add", "{}"),)
    assert result.tool_uses == ()


def test_ask_makes_calls_too() -> None:
    session = open_session(FakeClients(calls(("add", '{"first": 4, "second": 5}'))))
    assert [use.result for use in session.ask("?", tools=[add]).tool_uses] == ["9"]


def test_ask_asks_before_each_call_and_ends_after_so_many_rounds() -> None:
    session = open_session(FakeClients(calls(("add", '{"first": 1, "second": 1}'), rounds=100)))
    result = session.ask("?", tools=[add], approve=lambda _: False, max_tool_rounds=2)
    assert [use.result for use in result.tool_uses] == ["The user declined this call."] * 2
    with pytest.raises(ValidationError, match="max_tool_rounds"):
        session.ask("?", tools=[add], max_tool_rounds=0)


def test_what_an_approval_raises_ends_the_answer_and_leaves_a_conversation_without_open_calls() -> None:
    def refuse(call: ToolCall) -> bool:
        if call.arguments == "{}":
            raise ConfirmationRequired(call.name)
        return True

    loop = loop_over(calls(("add", '{"first": 1, "second": 1}'), ("add", "{}")), refuse)
    with pytest.raises(ConfirmationRequired):
        run(loop)
    assert loop.messages == [*_ASKED]


def test_the_progress_of_the_last_answer_is_told() -> None:
    progress = AnswerProgress()
    session = open_session(FakeClients(calls(("add", '{"first": 1, "second": 1}'))))
    run(session.with_tools([add], progress=progress))
    assert progress.usage == Usage(20, 4)


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="same name"):
        open_session(FakeClients()).with_tools([add, add])
