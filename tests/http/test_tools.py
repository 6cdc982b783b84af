"""Tools over HTTP: what a request offers, and the calls of an answer, whole and in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode
from tests.fakes.serving import calling
from tests.http.conftest import Backend, Json
from tests.http.test_chat import events

SCHEMA: Json = {"type": "object", "properties": {"a": {"type": "integer"}}}
FUNCTION: Json = {"name": "add", "description": "adds", "parameters": SCHEMA}
TOOLS: list[Json] = [{"type": "function", "function": FUNCTION}]
USER: Json = {"role": "user", "content": "hi"}
ADD, SUB = ToolCall("call_1", "add", '{"a": 1}'), ToolCall("call_2", "sub", "{}")


def test_tools_reach_the_domain(backend: Backend) -> None:
    strict = {"type": "function", "function": {"name": "now", "strict": True, "parameters": None}}
    backend.chat(tools=[*TOOLS, strict], parallel_tool_calls=False)
    (request,) = backend.engine.requests
    schema = '{"type":"object","properties":{"a":{"type":"integer"}}}'
    assert request.tools == (Tool("add", "adds", schema), Tool("now", is_strict=True))
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice(), False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice(ToolMode.AUTO)),
        ("none", ToolChoice(ToolMode.NONE)),
        ("required", ToolChoice(ToolMode.REQUIRED)),
        ({"type": "function", "function": {"name": "add"}}, ToolChoice(ToolMode.REQUIRED, "add")),
    ],
)
def test_the_tool_choice_reaches_the_domain(backend: Backend, choice: object, expected: ToolChoice) -> None:
    backend.chat(tools=TOOLS, tool_choice=choice)
    assert backend.engine.requests[-1].tool_choice == expected
    assert backend.engine.requests[-1].parallel_tool_calls


def test_the_old_names_mean_one_call_of_the_same_tools(backend: Backend) -> None:
    backend.chat(functions=[FUNCTION], function_call={"name": "add"})
    backend.chat(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "add"}})
    old, new = backend.engine.requests
    assert (old.tools, old.tool_choice) == (new.tools, new.tool_choice)
    assert (old.parallel_tool_calls, new.parallel_tool_calls) == (False, True)
    backend.chat(functions=[FUNCTION], function_call="none")
    assert backend.engine.requests[-1].tool_choice == ToolChoice(ToolMode.NONE)


def test_calls_and_their_results_reach_the_domain(backend: Backend) -> None:
    call = {"id": "call_x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    other = {"id": "call_y", "function": {"name": "sub", "arguments": "no JSON"}}
    backend.chat(
        messages=[
            {"role": "assistant", "content": None, "tool_calls": [call, other]},
            {"role": "tool", "content": [{"type": "text", "text": "4"}], "tool_call_id": "call_x"},
        ]
    )
    assert backend.engine.requests[-1].messages == (
        Message(
            "assistant", "", tool_calls=(ToolCall("call_x", "add", '{"a": 1}'), ToolCall("call_y", "sub", "no JSON"))
        ),
        Message("tool", "4", tool_call_id="call_x"),
    )


def test_a_result_whose_call_the_client_has_left_out_is_accepted(backend: Backend) -> None:
    result = {"role": "tool", "content": "4", "tool_call_id": "gone"}
    later = {"role": "tool", "content": "5", "tool_call_id": "x"}
    backend.chat(messages=[result, USER, _CALL_OF_X, later])
    ids = [message.tool_call_id for message in backend.engine.requests[-1].messages]
    assert ids == ["gone", None, None, "x"]


def test_a_function_message_answers_the_last_function_call(backend: Backend) -> None:
    function_call = {"name": "add", "arguments": "{}"}
    backend.chat(
        messages=[
            {"role": "function", "name": "odd", "content": "0"},
            {"role": "assistant", "content": None, "function_call": function_call},
            {"role": "function", "name": "add", "content": "4"},
            {"role": "assistant", "content": "again", "function_call": function_call},
            {"role": "function", "name": "add", "content": "5"},
        ]
    )
    odd, first, four, second, five = backend.engine.requests[-1].messages
    assert [message.role for message in (odd, four, five)] == ["tool"] * 3
    assert [message.tool_call_id for message in (four, five)] == [first.tool_calls[0].id, second.tool_calls[0].id]
    assert len({odd.tool_call_id, four.tool_call_id, five.tool_call_id, None}) == 4
    assert (four.name, four.content, second.content) == ("add", "4", "again")


def test_an_answer_of_calls_has_the_shape_of_openai(backend: Backend) -> None:
    backend.engine.answers = [calling(ADD, SUB)]
    (choice,) = backend.chat(tools=TOOLS)["choices"]
    assert choice == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
                {"id": "call_2", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
            ],
            "refusal": None,
        },
        "logprobs": None,
        "finish_reason": "tool_calls",
    }


def test_a_text_before_the_calls_is_kept(backend: Backend) -> None:
    backend.engine.answers = [calling(ADD, SUB, text="let me")]
    message = backend.chat(tools=TOOLS)["choices"][0]["message"]
    assert (message["content"], len(message["tool_calls"])) == ("let me", 2)


def test_an_answer_without_calls_is_as_before(backend: Backend) -> None:
    choice = backend.chat(tools=TOOLS)["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": "Hello wörld", "refusal": None}
    assert choice["finish_reason"] == "stop"


def joined(choices: Sequence[Any]) -> list[Json]:
    """Return the calls of one answer's chunks as a client puts them together."""
    calls = dict[int, Json]()
    for choice in choices:
        for part in choice["delta"].get("tool_calls", ()):
            if part["index"] not in calls:
                assert part["function"]["arguments"] == ""
                calls[part["index"]] = {**part, "function": dict(part["function"])}
            else:
                assert part.keys() == {"index", "function"}
                assert part["function"].keys() == {"arguments"}
                calls[part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return list(calls.values())


def test_a_stream_has_texts_then_calls_then_the_reason(backend: Backend) -> None:
    backend.engine.answers = [calling(ADD, SUB, text="let me")]
    *chunks, done = events(backend, tools=TOOLS, stream_options={"include_usage": True})
    assert done == "data: [DONE]"
    choices = [chunk["choices"][0] for chunk in chunks[:-1]]
    assert choices[0]["delta"] == {"role": "assistant", "content": None}
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "let me"
    assert joined(choices) == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"index": 1, "id": "call_2", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
    ]
    kinds = [next(iter(choice["delta"]), "end") for choice in choices]
    assert kinds == sorted(kinds, key=["role", "content", "tool_calls", "end"].index)
    assert ({choice["finish_reason"] for choice in choices[:-1]}, choices[-1]["finish_reason"]) == (
        {None},
        "tool_calls",
    )
    assert chunks[-1]["usage"]["total_tokens"] == 14


def test_each_of_several_answers_has_its_own_calls(backend: Backend) -> None:
    backend.engine.answers = [calling(ADD), calling(ADD, SUB, text="text"), calling(SUB)]
    messages = [choice["message"] for choice in backend.chat(tools=TOOLS, n=3)["choices"]]
    assert [message["content"] for message in messages] == [None, "text", None]
    names = [[call["function"]["name"] for call in message["tool_calls"]] for message in messages]
    assert names == [["add"], ["add", "sub"], ["sub"]]
    *chunks, _ = events(backend, tools=TOOLS, n=3)
    for index in range(3):
        own = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
        assert [call["function"]["name"] for call in joined(own)] == names[index]


def test_the_old_names_of_the_request_name_the_call_in_the_answer(backend: Backend) -> None:
    backend.engine.answers = [calling(ADD, SUB)]
    (choice,) = backend.chat(functions=[FUNCTION])["choices"]
    assert choice["message"]["function_call"] == {"name": "add", "arguments": '{"a": 1}'}
    assert "tool_calls" not in choice["message"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "function_call")
    *chunks, _ = events(backend, functions=[FUNCTION])
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    parts = [delta["function_call"] for delta in deltas if "function_call" in delta]
    assert parts[0] == {"name": "add", "arguments": ""}
    assert "".join(part["arguments"] for part in parts) == '{"a": 1}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"
    assert all("tool_calls" not in delta for delta in deltas)


def test_a_call_that_the_limit_cuts_off_is_what_it_is(backend: Backend) -> None:
    cut = [*calling(ToolCall("call_1", "add", '{"a'))[:-1], Delta(finish_reason=FinishReason.LENGTH)]
    backend.engine.answers = [cut]
    (choice,) = backend.chat(tools=TOOLS)["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"a'
    assert choice["finish_reason"] == "length"


_CALL_OF_X: Json = {
    "role": "assistant",
    "tool_calls": [{"id": "x", "function": {"name": "add", "arguments": "{}"}}],
}
WRONG: list[tuple[Json, str]] = [
    ({"tools": 5}, "tools"),
    ({"tools": [5]}, "tools[0]"),
    ({"tools": [*TOOLS, {}]}, "tools[1].type"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a" * 65}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a", "parameters": "x"}}]}, "tools[0].function.parameters"),
    ({"tools": [{"type": "function", "function": {"name": "a", "strict": 1}}]}, "tools[0].function.strict"),
    ({"tools": TOOLS * 129}, "tools"),
    ({"tool_choice": "any"}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {}}}, "tool_choice.type"),
    ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
    ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ({"functions": [{}]}, "functions[0].name"),
    ({"function_call": "required"}, "function_call"),
    ({"functions": [FUNCTION], "tools": TOOLS}, "functions"),
    ({"function_call": "auto", "tool_choice": "auto"}, "function_call"),
    (
        {"messages": [{**USER, "tool_calls": [{"id": "x", "function": {"name": "a", "arguments": ""}}]}]},
        "messages[0].tool_calls",
    ),
    ({"messages": [{**USER, "function_call": {"name": "a", "arguments": ""}}]}, "messages[0].function_call"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "a", "arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    (
        {"messages": [USER, _CALL_OF_X, {"role": "tool", "content": "4", "tool_call_id": "y"}]},
        "messages[2].tool_call_id",
    ),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG, ids=lambda value: str(value)[:60])
def test_an_error_names_the_place_in_the_body(backend: Backend, wrong: Json, param: str) -> None:
    error = backend.refused({"model": "org/model", "messages": [USER], **wrong})
    assert error["param"] == param
    assert error["message"].startswith(param)


@pytest.mark.parametrize(
    ("of_domain", "body", "of_body"),
    [
        ("tools[0].function.parameters.properties.a", {"tools": TOOLS}, "tools[0].function.parameters.properties.a"),
        ("tools[0].function.parameters.not", {"functions": [FUNCTION]}, "functions[0].parameters.not"),
        ("tools[0].function.name", {"functions": [FUNCTION]}, "functions[0].name"),
        ("tools", {"tools": TOOLS}, "tools"),
        ("tools", {"functions": [FUNCTION]}, "functions"),
        ("tool_choice", {"tool_choice": "required"}, "tool_choice"),
        ("tool_choice", {"function_call": {"name": "x"}}, "function_call"),
        ("messages[2].tool_calls[1].function.arguments", {}, "messages[2].tool_calls[1].function.arguments"),
        (
            "messages[2].tool_calls[0].function.arguments",
            {"functions": [FUNCTION]},
            "messages[2].function_call.arguments",
        ),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_an_error_of_the_model_process_has_the_name_of_the_body(
    backend: Backend, of_domain: str, body: Json, of_body: str, *, stream: bool
) -> None:
    backend.engine.prepare_error = ValidationError(f"{of_domain} is wrong", param=of_domain)
    error = backend.refused({"model": "org/model", "messages": [USER], "stream": stream, **body})
    assert (error["param"], error["message"]) == (of_body, f"{of_body} is wrong")
