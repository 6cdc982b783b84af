"""Tools over HTTP with a real model process: a call, its result, and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import chat
from tests.parrot import ANSWERS, TOOL_RESULT, answers

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT = "/v1/chat/completions"
FUNCTION = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": FUNCTION}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--model", "parrot") as made:
        yield made


def choice_of(server: Server, body: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    reply = server.ask(CHAT, body)
    assert reply.status == 200, reply.body
    (choice,) = reply.document()["choices"]
    return choice


def test_a_call_its_result_and_the_answer(server: Server) -> None:
    choice = choice_of(server, chat("parrot", answers.TOOL, tools=TOOLS, logprobs=True))
    message = choice["message"]
    (call,) = message["tool_calls"]
    assert (choice["finish_reason"], message["content"], call["function"]["name"]) == (
        "tool_calls",
        None,
        "get_weather",
    )
    assert json.loads(call["function"]["arguments"]) == {"city": "Berlin"}
    assert choice["logprobs"]["content"] == []
    result = {"role": "tool", "tool_call_id": call["id"], "content": TOOL_RESULT}
    body: dict[str, Any] = {**chat("parrot", answers.TOOL, tools=TOOLS)}
    answered = choice_of(server, {**body, "messages": [*body["messages"], message, result]})
    assert (answered["message"]["content"], answered["finish_reason"]) == (ANSWERS[TOOL_RESULT], "stop")


def test_a_stream_has_the_same_call(server: Server) -> None:
    deltas = [chunk["choices"][0] for chunk in server.chat_stream("parrot", answers.TOOL, tools=TOOLS)]
    parts = [part for choice in deltas for part in choice["delta"].get("tool_calls", ())]
    assert parts[0]["id"].startswith("call_")
    assert parts[0]["function"] == {"name": "get_weather", "arguments": ""}
    assert json.loads("".join(part["function"]["arguments"] for part in parts)) == {"city": "Berlin"}
    assert not any(choice["delta"].get("content") for choice in deltas)
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_the_deprecated_names_give_a_function_call(server: Server) -> None:
    choice = choice_of(server, chat("parrot", answers.TOOL, functions=[FUNCTION]))
    assert json.loads(choice["message"]["function_call"]["arguments"]) == {"city": "Berlin"}
    assert choice["finish_reason"] == "function_call"


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"tools": TOOLS * 2}, "tools[1].function.name"),
        ({"functions": [FUNCTION, FUNCTION]}, "functions[1].name"),
        ({"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools[0].function.name"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "other"}}}, "tool_choice"),
        ({"functions": [FUNCTION], "function_call": {"name": "other"}}, "function_call"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"function_call": {"name": "f"}}, "function_call"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}]},
            "tools[0].function.parameters",
        ),
    ],
)
def test_what_the_model_process_refuses_is_named_as_in_the_body(
    server: Server, wrong: dict[str, Any], param: str
) -> None:
    reply = server.ask(CHAT, chat("parrot", answers.TOOL, **wrong))
    assert reply.status == 400
    error = reply.document()["error"]
    assert (error["param"], error["message"].startswith(param)) == (param, True)
