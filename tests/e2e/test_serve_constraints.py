"""The form of answers over HTTP with a real model process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import chat, whole
from tests.parrot import answers

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["a", "ö"]}},
    "required": ["x", "kind"],
    "additionalProperties": False,
}
WILD = {"temperature": 1.5, "seed": 5}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    return machine


@pytest.fixture(scope="module")
def server(machine: Machine) -> Iterator[Server]:
    with serving(machine, "--model", "parrot") as made:
        yield made


def format_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}}


def body_of(path: str, **more: object) -> dict[str, Any]:
    body = chat("parrot", answers.GREETING) if path == CHAT else {"model": "parrot", "prompt": "Hi"}
    return {**body, "max_tokens": 200, **WILD, **more}


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_an_answer_is_valid_under_the_schema(server: Server, path: str) -> None:
    reply = server.ask(path, body_of(path, n=3, **format_of(SCHEMA)))
    assert reply.status == 200, reply.body
    ended = [choice.content for choice in whole(reply.document()).choices if choice.finish == "stop"]
    assert ended, "the others may have reasoned up to max_tokens"
    for text in ended:
        jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize(
    ("form", "texts"),
    [
        ({"choice": ["yes", "no"]}, {"yes", "no"}),
        ({"regex": "[ab]{2}"}, {"aa", "ab", "ba", "bb"}),
        ({"grammar": 'start: "x" | "y"'}, {"x", "y"}),
    ],
)
def test_the_other_forms_hold_too(server: Server, form: dict[str, Any], texts: set[str]) -> None:
    reply = server.ask(CHAT, body_of(CHAT, n=3, structured_outputs=form))
    ended = [choice.content for choice in whole(reply.document()).choices if choice.finish == "stop"]
    assert ended, "the others may have reasoned up to max_tokens"
    assert set(ended) <= texts


@pytest.mark.parametrize(
    ("form", "param"),
    [
        (
            format_of({"type": "object", "properties": {"a": {"not": {}}}}),
            "response_format.json_schema.schema.properties.a.not",
        ),
        (format_of({"type": "object", "colour": "red"}), "response_format.json_schema.schema.colour"),
        ({"structured_outputs": {"json": {"not": {}}}}, "structured_outputs.json.not"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"structured_outputs": {"grammar": "start: nothing"}}, "structured_outputs.grammar"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_what_cannot_be_enforced_is_refused_with_its_place(
    server: Server, path: str, form: dict[str, Any], param: str
) -> None:
    reply = server.ask(path, body_of(path, **form))
    assert reply.status == 400, reply.body
    assert reply.document()["error"]["param"] == param, reply.body


def test_the_form_begins_after_the_reasoning_of_a_stream(server: Server) -> None:
    schema = {"type": "object", "properties": {"sum": {"enum": [41, 42]}}, "required": ["sum"]}
    form = format_of({**schema, "additionalProperties": False})
    kinds, content = list[str](), ""
    for chunk in server.chat_stream("parrot", answers.REASONING, temperature=0, **form):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            kinds += [kind for kind in ("reasoning_content", "content") if delta.get(kind)]
            content += delta.get("content") or ""
    assert json.loads(content)["sum"] in (41, 42)
    assert kinds == sorted(kinds, reverse=True), "something of the reasoning came after the answer began"
    assert set(kinds) == {"reasoning_content", "content"}
    told = whole(server.chat("parrot", answers.REASONING, temperature=0, **form).document()).choices[0]
    assert (told.content, told.reasoning) == (content, answers.ANSWERS[answers.REASONING].split("\n")[1])


def test_a_forced_call_comes_after_the_reasoning_of_a_stream(server: Server) -> None:
    function = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"enum": [17]}}, "required": ["a"]}}
    tools = {"tools": [{"type": "function", "function": {**function, "strict": True}}], "tool_choice": "required"}
    kinds, arguments, names = list[str](), "", list[str]()
    for chunk in server.chat_stream("parrot", answers.REASONING, temperature=0, max_tokens=400, **tools):
        for choice in chunk["choices"]:
            delta = choice["delta"]
            kinds += [kind for kind in ("reasoning_content", "content", "tool_calls") if delta.get(kind)]
            for call in delta.get("tool_calls") or ():
                arguments += call["function"].get("arguments") or ""
                names += [call["function"]["name"]] if call["function"].get("name") else []
    assert names[0] == "add"
    assert json.loads(arguments.partition("}")[0] + "}")["a"] == 17
    assert "content" not in kinds
    assert kinds == sorted(kinds), "something of the reasoning came after the call began"
    assert kinds[0] == "reasoning_content"


@pytest.mark.parametrize("seed", [1, 5])
def test_the_command_and_the_server_give_the_same_answer_for_the_same_seed(
    machine: Machine, server: Server, seed: int
) -> None:
    words = (
        "--schema",
        json.dumps(SCHEMA),
        "--seed",
        str(seed),
        "--temperature",
        "1.2",
        "--max-tokens",
        "300",
        "--json",
    )
    data = machine.run("run", "parrot", answers.JSON, *words).data()
    body = {"temperature": 1.2, "seed": seed, "max_tokens": 300, **format_of(SCHEMA)}
    (told,) = whole(server.chat("parrot", answers.JSON, **body).document()).choices
    assert (data["response"], data["finish_reason"]) == (told.content, told.finish)
    assert json.loads(told.content)
