"""Hostile schemas over HTTP, as the form of an answer and as tools, beside other rows that stream."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.processes import Machine
from tests.e2e.serving import Server, parrot_in, serving
from tests.e2e.talking import Reply, chat, gathered
from tests.parrot import answers

pytestmark = [pytest.mark.allow_hosts(["127.0.0.1"]), pytest.mark.timeout(600)]

CHAT = "/v1/chat/completions"
_BESIDE = (answers.LONG, answers.CODE)
_TOGETHER = 5
_STRING = {"type": "string"}


def _deep(depth: int) -> Any:  # noqa: ANN401 - a schema
    schema: Any = True
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def _properties(count: int, **more: object) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": _STRING for number in range(count)}, **more}


_TREE = {"type": "object", "properties": {"next": {"$ref": "#"}, "all": {"type": "array", "items": {"$ref": "#"}}}}
_ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}
_ITSELF = {"$defs": {"a": {"$ref": "#/$defs/a"}}, "type": "object", "properties": {"x": {"$ref": "#/$defs/a"}}}
_TWOFOLD: list[Any] = [[{"properties": {f"{name}{part}": {}}} for name in "ab"] for part in range(12)]
HOSTILE: dict[str, Any] = {
    "10,000 properties": _properties(10_000),
    "900 properties": _properties(900, additionalProperties=False),
    "properties that must all be there": _properties(900, required=[f"p{number}" for number in range(900)]),
    "a schema that contains itself": _TREE,
    "a value that never ends": _ENDLESS,
    "a reference to itself": _ITSELF,
    "4,000 references, one after the other": {
        "$defs": {f"a{number}": {"$ref": f"#/$defs/a{number + 1}"} for number in range(4_000)} | {"a4000": True},
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a0"}},
    },
    "a pattern that explodes": {"type": "object", "properties": {"a": {"pattern": "((a{1,100}){1,100}){1,100}b"}}},
    "a long pattern": {"type": "object", "properties": {"a": {"pattern": "(a|b)*" * 2_000}}},
    "100,000 values": {"type": "object", "properties": {"a": {"enum": [f"v{number}" for number in range(100_000)]}}},
    "5,000 values": {"type": "object", "properties": {"a": {"enum": [f"v{number}" for number in range(5_000)]}}},
    "depth 900": _deep(900),
    "depth 40": {"type": "object", "properties": {"a": _deep(37)}},
    "4,096 alternatives": {"type": "object", "allOf": [{"anyOf": pair} for pair in _TWOFOLD]},
    "a huge multiple": {"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 99_999_989}}},
    "huge counts": _properties(1) | {"minProperties": 2**31 - 1},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("home"))
    parrot_in(machine)
    with serving(machine, "--model", "parrot") as made:
        made.patience = 120.0
        yield made


def _sent(server: Server, use: str, schema: Any) -> Reply:  # noqa: ANN401
    function = {"name": "f", "parameters": schema, "strict": True}
    form: dict[str, Any] = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    if use == "form":
        form = {"response_format": {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema}}}
    return server.ask(CHAT, chat("parrot", answers.JSON, max_tokens=12, temperature=1.5, seed=3, **form))


@pytest.mark.parametrize("use", ["form", "strict tool"])
def test_hostile_schemas_are_refused_or_served_and_other_rows_end_exactly(server: Server, use: str) -> None:
    worker = server.worker()
    with ThreadPoolExecutor(_TOGETHER) as pool:
        names = list(HOSTILE)
        for batch in (names[first : first + _TOGETHER] for first in range(0, len(names), _TOGETHER)):
            beside = [server.chat_stream("parrot", question, temperature=0) for question in _BESIDE]
            replies = pool.map(lambda name: _sent(server, use, HOSTILE[name]), batch)
            for name, reply in zip(batch, replies, strict=True):
                assert _is_served_or_named(reply), (name, reply.body)
            assert [gathered(stream).texts[0] for stream in beside] == [answers.ANSWERS[one] for one in _BESIDE]
    assert server.worker() == worker


def _is_served_or_named(reply: Reply) -> bool:
    if reply.status == 200:
        return True
    error = reply.document()["error"]
    # a tool is part of the prompt, too, which may be too long with it
    is_too_long = error["code"] in ("context_length_exceeded", "request_too_large")
    is_named = str(error["param"]).startswith(("response_format", "tools"))
    return reply.status in (400, 413) and (is_named or is_too_long)
