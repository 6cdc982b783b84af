"""Calls on the command line: who allows them, what is shown of them, and what a function may do to the program."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from mlxknife.adapters.functions.tool_functions import PythonFunctions
from mlxknife.cli.render.text import paint
from mlxknife.cli.signals import deferred_interrupts
from mlxknife.cli.tool_calls import OfferedTools, call_line, prepared, result_line, tool_choice
from mlxknife.domain.errors import ConfirmationRequired, ValidationError
from mlxknife.domain.tools.values import ToolCall, ToolChoice, ToolMode, ToolUse

_CALL = ToolCall("call_1", "weather", '{"city": "Berlin\x1b[2J\\n\u202e"}')


def never(question: str) -> bool:
    raise AssertionError(question)


def test_a_call_is_made_after_a_yes() -> None:
    assert OfferedTools().approve(_CALL, lambda question: question == "Call it?")
    assert not OfferedTools().approve(_CALL, lambda _: False)
    assert OfferedTools(is_approved=True).approve(_CALL, never)


def test_without_a_terminal_the_error_names_the_call() -> None:
    with pytest.raises(ConfirmationRequired) as caught:
        OfferedTools().approve(_CALL, lambda _: None)
    assert caught.value.message == f"A call of weather needs a confirmation: its arguments are {_CALL.arguments}"


def test_a_call_and_its_result_are_shown_without_control_characters() -> None:
    assert paint(call_line(_CALL), colour=False) == r'call: weather {"city": "Berlin\x1b[2J\n\u202e"}'
    assert paint(result_line(ToolUse(_CALL, "21\n\x1b[2J")), colour=False) == r"  -> 21\n\x1b[2J"
    assert len(paint(result_line(ToolUse(_CALL, "x" * 10_000)), colour=False)) < 300


def test_the_choice_is_a_mode_or_a_function() -> None:
    names = ("weather", "auto_pilot")
    assert tool_choice("auto", names) == ToolChoice()
    assert tool_choice("required", names) == ToolChoice(ToolMode.REQUIRED)
    assert tool_choice("weather", names) == ToolChoice(ToolMode.REQUIRED, "weather")
    with pytest.raises(ValidationError, match="names no tool: 'none'") as caught:
        tool_choice("none", names)
    assert caught.value.hint is not None
    assert caught.value.hint.fields == {"values": "auto, required, weather, auto_pilot"}


def test_what_a_function_prints_goes_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    def loud(word: str) -> str:
        """Say a word."""
        sys.stdout.write(word)
        os.write(1, b" directly")
        return word

    functions = PythonFunctions()
    assert functions.tool(prepared(loud)) == functions.tool(loud)
    assert functions.call(prepared(loud), '{"word": "aloud"}') == "aloud"
    sys.stdout.write("on stdout")
    out, err = capfd.readouterr()
    assert out == "on stdout"
    assert sorted(err.split()) == ["aloud", "directly"]


def test_the_first_ctrl_c_ends_a_function() -> None:
    def interrupted() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "not reached"

    with deferred_interrupts() as is_interrupted:
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            PythonFunctions().call(prepared(interrupted), "{}")
        assert signal.getsignal(signal.SIGINT) is handler
        os.kill(os.getpid(), signal.SIGINT)
        assert is_interrupted()


def test_an_asynchronous_function_is_refused() -> None:
    async def later() -> str:
        return ""

    with pytest.raises(ValidationError, match="asynchronous"):
        PythonFunctions().tool(prepared(later))
