"""``run --tools``: the functions of a file are called by a real model, after a question on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlxknife import GenerationOptions, SamplingParameters, ToolChoice, ToolMode, open_app
from tests.e2e.processes import Machine, Outcome
from tests.e2e.serving import starter_in
from tests.e2e.test_chat import Terminal
from tests.e2e.test_run import Bird
from tests.e2e.typing_keys import CTRL_C, typed
from tests.parrot import ANSWERS, TOOL_RESULT, parrot_folder
from tests.parrot.answers import CAPITAL, TOOL

pytestmark = pytest.mark.timeout(1200)

_ARGUMENTS = '{"city": "Berlin"}'
_CALL = f"call: get_weather {_ARGUMENTS}"
_ASKED = "Call it? [y/N] "
_ANSWER = ANSWERS[TOOL_RESULT]
_TOOLS = f'''
print("the file runs")

def get_weather(city: str) -> str:
    """Return the weather in a city."""
    print("asked for", city)
    with open("made", "a") as file:
        file.write(city)
    return {TOOL_RESULT!r}
'''


@pytest.fixture
def bird(machine: Machine) -> Bird:
    machine.root.mkdir(exist_ok=True)
    (machine.root / "tools.py").write_text(_TOOLS)
    return Bird(machine, parrot_folder())


def made(bird: Bird) -> str:
    """Return what the function did."""
    file = bird.machine.root / "made"
    return file.read_text() if file.exists() else ""


def ask(bird: Bird, *words: str) -> Outcome:
    return bird.run(TOOL, "--temperature", "0", "--tools", "tools.py", *words)


def asked(bird: Bird, *keys: tuple[str, str], words: tuple[str, ...] = ()) -> tuple[int, str]:
    """Ask on a terminal."""
    command = ("run", str(bird.folder), TOOL, "--temperature", "0", "--tools", "tools.py", *words)
    return typed(command, bird.environment(NO_COLOR="1"), bird.machine.root, keys)


def test_with_yes_the_answer_follows_from_the_result(bird: Bird) -> None:
    outcome = ask(bird, "--yes", "--out", "answer.txt")
    assert (outcome.code, outcome.out) == (0, f"{_ANSWER}\n")
    assert outcome.err.splitlines() == ["the file runs", _CALL, "asked for Berlin", f"  -> {TOOL_RESULT}"]
    assert (bird.machine.root / "answer.txt").read_text() == _ANSWER
    assert made(bird) == "Berlin"


def test_the_document_tells_the_calls(bird: Bird) -> None:
    data: dict[str, Any] = ask(bird, "--yes", "--json").data()
    assert (data["response"], data["finish_reason"]) == (_ANSWER, "stop")
    assert data["tool_calls"] == [{"name": "get_weather", "arguments": _ARGUMENTS, "result": TOOL_RESULT}]
    assert bird.run(CAPITAL, "--temperature", "0", "--tools", "tools.py", "--json").data()["tool_calls"] == []


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_without_a_terminal_a_call_needs_yes(bird: Bird, words: tuple[str, ...]) -> None:
    outcome = ask(bird, *words)
    assert (outcome.code, made(bird)) == (1, "")
    message = f"A call of get_weather needs a confirmation: its arguments are {_ARGUMENTS}"
    if words:
        assert (outcome.error()["type"], outcome.error()["message"]) == ("confirmation_required", message)
    else:
        assert outcome.out == ""
        assert outcome.err.endswith(f"error: {message}\nhint: Allow every call with --yes\n")


def test_on_a_terminal_each_call_is_shown_and_asked_for(bird: Bird) -> None:
    code, shown = asked(bird, (_ASKED, "y\n"))
    assert (code, made(bird)) == (0, "Berlin")
    assert f"{_CALL}\n{_ASKED}y\n" in shown
    assert shown.endswith(f"  -> {TOOL_RESULT}\n{_ANSWER}\n")


@pytest.mark.parametrize("keys", ["\n", "\x04"])
def test_a_call_without_a_yes_is_declined(bird: Bird, keys: str) -> None:
    code, shown = asked(bird, (_ASKED, keys), words=("--max-tokens", "60", "--max-tool-rounds", "1"))
    assert (code, made(bird)) == (0, "")
    assert "  -> The user declined this call." in shown


def test_keys_that_were_typed_before_the_question_do_not_answer_it(bird: Bird) -> None:
    code, shown = asked(bird, ("the file runs", "y\ny\n"), (_ASKED, "n\n"), words=("--max-tokens", "60"))
    assert (code, made(bird)) == (0, "")
    assert "declined" in shown


def test_ctrl_c_at_the_question_ends_the_command(bird: Bird) -> None:
    code, shown = asked(bird, (_ASKED, CTRL_C))
    assert (code, made(bird), "Traceback" in shown) == (130, "", False)


def test_a_function_is_interrupted_by_ctrl_c(bird: Bird) -> None:
    (bird.machine.root / "tools.py").write_text(
        "import time\ndef get_weather(city: str) -> str:\n    print('it waits')\n    time.sleep(600)\n"
    )
    code, shown = asked(bird, ("it waits", CTRL_C), words=("--yes",))
    assert (code, "Traceback" in shown) == (130, False)


def test_an_error_of_a_function_is_told_to_the_model(bird: Bird) -> None:
    (bird.machine.root / "tools.py").write_text("def get_weather(city: str, unit: str) -> str: ...\n")
    outcome = ask(bird, "--yes", "--max-tokens", "60")
    assert outcome.code == 0
    assert "  -> Error: the arguments do not fit: Object missing required field `unit`" in outcome.err


def test_a_chat_asks_for_each_call_and_keeps_it(bird: Bird) -> None:
    with Terminal(bird, "--temperature", "0", "--tools", "tools.py") as chat:
        assert "tools: get_weather" in chat.greeting
        assert _CALL in chat.enter(TOOL)
        assert chat.enter("y").endswith(f"asked for Berlin\n  -> {TOOL_RESULT}\n{_ANSWER}\n")
        shown = chat.enter("/show")
    assert shown.endswith(
        f"[user] {TOOL}\n[call] get_weather {_ARGUMENTS}\n[tool] {TOOL_RESULT}\n[assistant] {_ANSWER}\n"
    )
    assert made(bird) == "Berlin"


def test_ctrl_c_at_the_question_of_a_chat_stops_the_answer(bird: Bird) -> None:
    with Terminal(bird, "--temperature", "0", "--tools", "tools.py") as chat:
        chat.enter(TOOL)
        chat.press("\x03")
        assert "stopped" in chat.message()
        assert chat.enter(CAPITAL).endswith(f"{ANSWERS[CAPITAL]}\n")
    assert made(bird) == ""


@pytest.mark.stress(part="client-suites")
def test_the_starter_model_calls_the_function_and_answers(machine: Machine) -> None:
    machine.root.mkdir(exist_ok=True)
    (machine.root / "tools.py").write_text(_TOOLS)
    starter = Bird(machine, starter_in(machine))
    question = "What is the weather in Berlin? Call the function with the city of the question."
    words = ("--temperature", "0", "--tools", "tools.py", "--yes", "--max-tokens", "60", "--json")
    outcome = starter.run(question, *words, "--tool-choice", "get_weather")
    data: dict[str, Any] = outcome.data()
    assert data["tool_calls"] == [{"name": "get_weather", "arguments": _ARGUMENTS, "result": TOOL_RESULT}]
    assert data["response"]
    assert data["finish_reason"] in {"stop", "length"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tools", "none.py"), "none.py"),
        (("--tools", "tools.py", "--tool-choice", "other"), "--tool-choice names no tool: 'other'"),
        (("--tools", "tools.py", "--max-tool-rounds", "0"), "--max-tool-rounds must be between 1"),
        (("--tools", "tools.py", "--no-chat-template"), "--tools needs the chat template"),
        (("--tool-choice", "required"), "--tool-choice needs --tools"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_cannot_be_offered_is_named_before_the_model_is_looked_for(
    bird: Bird, words: tuple[str, ...], message: str
) -> None:
    outcome = bird.machine.run("run", "no-such-model", TOOL, *words)
    assert outcome.code in (1, 3)
    assert message in outcome.err


def test_from_python_the_same_function_is_forced_and_called(tmp_path: Path) -> None:
    def get_weather(city: str) -> str:
        """Return the weather in a city."""
        (tmp_path / "made").write_text(city)
        return TOOL_RESULT

    options = GenerationOptions(SamplingParameters(temperature=0.0), max_tokens=200)
    with open_app().sessions.open(str(parrot_folder())) as session:
        choice = ToolChoice(ToolMode.REQUIRED, "get_weather")
        result = session.ask(TOOL, options, tools=[get_weather], tool_choice=choice)
    assert result.answer == _ANSWER
    assert [(use.call.name, json.loads(use.call.arguments)) for use in result.tool_uses] == [
        ("get_weather", {"city": "Berlin"})
    ]
    assert (tmp_path / "made").read_text() == "Berlin"
