"""A chat whose model calls functions: what is asked, what stays in the conversation, and how Ctrl-C ends it."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from mlxknife.cli.answer_form import answer_form
from mlxknife.cli.chat.loop import ChatLoop, ChatModels
from mlxknife.cli.chat.state import Conversation
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.cli.tool_calls import OfferedTools, prepared
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, Usage
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from tests.fakes.clients import FakeClients
from tests.unit.session_setup import make_sessions
from tests.unit.test_chat_loop import TypedLines

_CALL = ToolCall("call_1", "add", '{"first": 2, "second": 3}')
_TOLD = Message("assistant", "I add.", tool_calls=(_CALL,))


def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


def stopping(first: int, second: int) -> int:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    return first + second


def script(request: GenerationRequest) -> Iterator[Delta]:
    """Call a function for each question, and tell its result."""
    last = request.messages[-1]
    if last.role == "user" and request.tools:
        yield Delta(texts=(TextDelta(TextKind.ANSWER, "I add."),), usage=Usage(1, 1))
        call = ToolCallDelta(0, _CALL.id, _CALL.name, _CALL.arguments)
        yield Delta(tool_calls=(call,), finish_reason=FinishReason.TOOL_CALLS, usage=Usage(1, 2))
        return
    yield Delta(
        texts=(TextDelta(TextKind.ANSWER, f"It is {last.content}."),),
        finish_reason=FinishReason.STOP,
        usage=Usage(2, 3),
    )


class Question:
    """Lines of a user who answers the questions of the chat."""

    def __init__(self, answer: bool | BaseException | None) -> None:  # noqa: FBT001 - what a user answers
        self._answer = answer
        self._lines = ["What is 2 + 3?", "/show"]
        self.asked: list[str] = []

    def confirm(self, question: str) -> bool | None:
        self.asked.append(question)
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def read(self, prompt: str, more: str) -> str:
        return TypedLines(*[self._lines.pop(0)] if self._lines else []).read(prompt, more)


def chatted(
    lines: Question, *, function: Callable[..., object] = add, is_approved: bool = False
) -> tuple[FakeClients, str]:
    """Return the clients after a chat, and what was printed."""
    clients, out = FakeClients(script), io.StringIO()
    function.__name__ = "add"
    tools = OfferedTools((prepared(function),), is_approved=is_approved)
    conversation = Conversation(GenerationOptions(), "Be brief.", tools=tools)
    sessions = make_sessions(clients)
    models = ChatModels(sessions.check, sessions.open, "one")
    ChatLoop(models, conversation, lines, partial(AnswerPrinter, out, (TextKind.ANSWER,))).run()
    return clients, out.getvalue()


def test_a_call_is_asked_for_made_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Question(answer=True)
    clients, printed = chatted(lines)
    assert (lines.asked, printed) == (["Call it?"], "I add.\nIt is 5.\n")
    assert clients.client.requests[-1].messages == (
        Message("system", "Be brief."),
        Message("user", "What is 2 + 3?"),
        _TOLD,
        Message("tool", "5", name="add", tool_call_id="call_1"),
    )
    notes = capsys.readouterr().err.splitlines()
    assert notes[:2] == [f"call: add {_CALL.arguments}", "  -> 5"]
    assert notes[-5:] == [
        "[user] What is 2 + 3?",
        "[assistant] I add.",
        f"[call] add {_CALL.arguments}",
        "[tool] 5",
        "[assistant] It is 5.",
    ]


def test_a_declined_call_is_told_to_the_model() -> None:
    _, printed = chatted(Question(answer=False))
    assert printed == "I add.\nIt is The user declined this call..\n"


def test_with_yes_nothing_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Question(answer=None)
    _, printed = chatted(lines, is_approved=True)
    assert (lines.asked, printed) == ([], "I add.\nIt is 5.\n")
    assert capsys.readouterr().err.startswith("call: add")


def test_without_a_terminal_the_answer_ends_and_the_chat_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    chatted(Question(answer=None))
    err = capsys.readouterr().err
    assert "error: A call of add needs a confirmation" in err
    assert "[user]" not in err.partition("model: ")[2]  # the question is not part of the conversation


@pytest.mark.parametrize("is_asked", [True, False])
def test_ctrl_c_leaves_a_conversation_without_open_calls(capsys: pytest.CaptureFixture[str], *, is_asked: bool) -> None:
    if is_asked:
        _, printed = chatted(Question(KeyboardInterrupt()))
    else:
        _, printed = chatted(Question(answer=True), function=stopping)
    assert printed == "I add.\n"
    notes = capsys.readouterr().err.splitlines()
    assert "stopped" in notes
    assert notes[-2:] == ["[user] What is 2 + 3?", "[assistant] I add."]


def test_an_error_on_the_form_names_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    def refusing(request: GenerationRequest) -> Iterator[Delta]:
        assert request.options.constraint is not None
        msg = "it cannot be compiled"
        raise ValidationError(msg, param="constraint")
        yield Delta()

    form = answer_form(None, json_object=False, regex="x", choice=None)
    assert form is not None
    sessions = make_sessions(FakeClients(refusing))
    models = ChatModels(sessions.check, sessions.open, "one")
    conversation = Conversation(GenerationOptions(constraint=form.constraint), form=form)
    ChatLoop(models, conversation, TypedLines("Hi"), partial(AnswerPrinter, io.StringIO(), (TextKind.ANSWER,))).run()
    assert capsys.readouterr().err == "error: --regex: it cannot be compiled\n"
