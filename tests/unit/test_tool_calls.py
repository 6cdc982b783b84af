"""Tool calls in the text of an answer: what is a call, when its parts come, and what is text."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolCall, ToolCallDelta
from tests.tool_streams import TOOLS, split, splitter, values, written

_HERMES = '<tool_call>\n{"name": "get", "arguments": {"city": "Bern"}}\n</tool_call>'
_BERN = ("get", {"city": "Bern"})


def _events(family: ToolFamily, parts: Sequence[str]) -> list[list[str | ToolCallDelta]]:
    """Return the events that each part brings."""
    one = splitter(family)
    return [list(one.feed(part)) for part in parts]


def test_json_arguments_come_as_they_are_written() -> None:
    parts = ["Hm. <tool", '_call>\n{"name": "get", "argu', 'ments": {"ci', 'ty": "Be', 'rn"}', "}\n</tool_", "call>\n"]
    assert _events(ToolFamily.HERMES, parts) == [
        ["Hm."],
        [],
        [ToolCallDelta(0, "call_0", "get"), ToolCallDelta(0, arguments='{"ci')],
        [ToolCallDelta(0, arguments='ty": "Be')],
        [ToolCallDelta(0, arguments='rn"}')],
        [],
        [],
    ]


def test_marked_arguments_come_one_by_one() -> None:
    begin = ["<tool_call>\n<function=get>\n<par", "ameter=city>\nBe", "rn\n</parameter>\n"]
    end = ["<parameter=count>\n3\n</parameter>", "\n</function>", "\n</tool_call>"]
    assert _events(ToolFamily.QWEN3_CODER, [*begin, *end]) == [
        [],
        [ToolCallDelta(0, "call_0", "get")],
        [ToolCallDelta(0, arguments='{"city": "Bern"')],
        [ToolCallDelta(0, arguments=', "count": 3')],
        [ToolCallDelta(0, arguments="}")],
        [],
    ]


@pytest.mark.parametrize(
    "family", [ToolFamily.LFM2, ToolFamily.LLAMA_PYTHON, ToolFamily.GEMMA_FUNCTION, ToolFamily.GEMMA4]
)
def test_calls_that_are_not_json_come_as_a_whole(family: ToolFamily) -> None:
    events = [event for events in _events(family, written(family, [_BERN, _BERN])) for event in events]
    assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == ["", '{"city": "Bern"}'] * 2


def test_text_is_held_back_only_while_it_may_begin_a_call() -> None:
    assert _events(ToolFamily.HERMES, ["a <tool", "bar> b", " <", "b", "c\n", "d"]) == [
        ["a"], [" <toolbar> b"], [], [" <b"], ["c"], ["\nd"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (ToolFamily.HERMES, '<tool_call>\n{"name": "unknown", "arguments": {}}\n</tool_call>'),
        (ToolFamily.HERMES, "<tool_call> is how Hermes begins a call"),
        (ToolFamily.HERMES, '<tool_call>\n{"name": "get", "arguments": 7}\n</tool_call>'),
        (ToolFamily.HERMES, '<tool_call>\n{"name": "get", "argum'),
        (ToolFamily.HERMES, '{"name": "get", "arguments": {}}'),
        (ToolFamily.GENERIC, '{"city": "Bern", "name": "get"}'),
        (ToolFamily.LLAMA_JSON, '{"name": "Anna", "parameters": {}}'),
        (ToolFamily.LLAMA_JSON, 'So: {"name": "get", "parameters": {}}'),
        (ToolFamily.LLAMA_PYTHON, "[1, 2]"),
        (ToolFamily.LLAMA_PYTHON, "[get(city)]"),
        (ToolFamily.LLAMA_PYTHON, "[get(city='Bern']"),
        (ToolFamily.LFM2, "<|tool_call_start|>[unknown()]<|tool_call_end|>"),
        (ToolFamily.KIMI, "<|tool_calls_section_begin|><|tool_call_begin|>functions.get:0 {}"),
        (ToolFamily.QWEN3_CODER, "<tool_call>\n<function=get>\nhello"),
        (ToolFamily.GLM47, "<tool_call>get_weather"),
        (ToolFamily.GEMMA4, '<|tool_call>call:get{city:<|"|>Bern}<tool_call|>'),
        (ToolFamily.MISTRAL, "[TOOL_CALLS] Bern"),
        (ToolFamily.MISTRAL_ARGS, "[TOOL_CALLS]get[ARGS]Bern"),
        (ToolFamily.DEEPSEEK_V3, "<｜tool▁calls▁begin｜>get"),
    ],
)  # fmt: skip
def test_what_is_no_call_of_a_known_tool_is_text(family: ToolFamily, text: str) -> None:
    assert split(splitter(family), [text]) == (text, [])


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (ToolFamily.HERMES, '<tool_call>{"arguments": {"city": "Bern"}, "name": "get"}</tool_call>'),
        (ToolFamily.HERMES, '<tool_call>{"type": "function", "name": "get", "parameters": {"city": "Bern"}}'),
        (ToolFamily.HERMES, '<tool_call>{"name": "get", "arguments": "{\\"city\\": \\"Bern\\"}"}</tool_call>'),
        (ToolFamily.HERMES, '<tool_call>{"name": "get", "arguments": {"city": "Bern"}, "id": "}"}</tool_call>'),
        (ToolFamily.HERMES, '<tool_call>{"name": "get", "arguments": {"city": "Bern"}\n</tool_call>'),
        (ToolFamily.HERMES, '<tool_call>{"name": "g\\u0065t", "arguments": {"city": "B\\u0065rn"}}</tool'),
        (ToolFamily.GENERIC, '\n{"name": "get", "arguments": {"city": "Bern"}}'),
        (ToolFamily.LLAMA_JSON, '<|python_tag|>{"name": "get", "parameters": {"city": "Bern"}}'),
        (ToolFamily.LLAMA_PYTHON, '<|python_start|>[get(city="Bern")]<|python_end|>'),
        (ToolFamily.LFM2, "<|tool_call_start|>[get( city = 'B\\u0065r\\x6e', )]<|tool_call_end|>"),
        (ToolFamily.MISTRAL, '[TOOL_CALLS][{"name": "get", "arguments": {"city": "Bern"}, "id": "123456789"}]'),
        (ToolFamily.MISTRAL_ARGS, '[TOOL_CALLS]get[CALL_ID]123456789[ARGS]{"city": "Bern"}'),
        (ToolFamily.KIMI, '<|tool_call_begin|>get:12<|tool_call_argument_begin|> {"city": "Bern"} <|tool_call_end|>'),
        (ToolFamily.DEEPSEEK_V31, '<｜tool▁call▁begin｜>get<｜tool▁sep｜>{"city": "Bern"}<｜tool▁call▁end｜>'),
        (ToolFamily.QWEN3_CODER, "<function=get>\n<parameter=city>\nBern\n</parameter>\n</tool_call>"),
        (ToolFamily.GLM45, "<tool_call>get<arg_key> city </arg_key><arg_value>Bern</arg_value></tool_call>"),
        (ToolFamily.GEMMA_FUNCTION, "<start_function_call>call:get{<escape>city<escape>: Bern}"),
    ],
)
def test_variants_that_models_write_are_calls(family: ToolFamily, text: str) -> None:
    found, calls = split(splitter(family), text)
    assert (found, values(calls)) == ("", [_BERN])


@pytest.mark.parametrize(
    ("written_string", "value"),
    [("a\nb\tc", "a\nb\tc"), ("\x00\x1f", "\x00\x1f"), ('\\"\n\\\\', '"\n\\'), ("a\\\nb", "a\nb"), ("\\n\\t", "\n\t")],
)
def test_control_characters_in_the_strings_of_arguments_are_escaped(written_string: str, value: str) -> None:
    text = f'<tool_call>\n{{"name": "get", "arguments": {{\n\t"city": "{written_string}"}}\n}}\n</tool_call>'
    for parts in (text, [text]):
        found, (call,) = split(splitter(ToolFamily.HERMES), parts)
        assert (found, json.loads(call.arguments)) == ("", {"city": value})


def test_blanks_around_calls_are_dropped_and_text_is_kept() -> None:
    found, calls = split(splitter(ToolFamily.HERMES), [f"\nBefore.\n\n{_HERMES}\n \n{_HERMES}\n\nAfter.\n"])
    assert (found, len(calls)) == ("\nBefore.\n\nAfter.\n", 2)
    assert split(splitter(ToolFamily.HERMES), [f"\n{_HERMES}\n"])[0] == ""
    assert split(splitter(ToolFamily.HERMES), [" \n"]) == (" \n", [])


def test_an_unknown_call_is_text_and_the_next_one_is_a_call() -> None:
    text = written(ToolFamily.KIMI, [("unknown", {}), _BERN])
    found, calls = split(splitter(ToolFamily.KIMI), [text])
    assert values(calls) == [_BERN]
    assert found.endswith("functions.unknown:0<|tool_call_argument_begin|>{}<|tool_call_end|>")


def test_a_call_that_is_cut_keeps_what_has_come_and_the_rest_is_text() -> None:
    found, calls = split(splitter(ToolFamily.HERMES), [_HERMES[: _HERMES.index("rn")]])
    assert (found, calls) == ("", [ToolCall("call_0", "get", '{"city": "Be')])
    text = "<function=get>\n<parameter=city>\nBern\n</parameter>\n"
    found, calls = split(splitter(ToolFamily.QWEN3_CODER), [text + "<parameter=count>\n12"])
    assert (found, calls) == ("\n<parameter=count>\n12", [ToolCall("call_0", "get", '{"city": "Bern"')])
    found, calls = split(splitter(ToolFamily.QWEN3_CODER), ["<function=get>\n<parameter=city>\nBe"])
    assert (found, calls) == ("<parameter=city>\nBe", [ToolCall("call_0", "get", "")])
    found, calls = split(splitter(ToolFamily.LFM2), ["<|tool_call_start|>[get(city='Bern'), get(ci"])
    assert (found, calls) == (", get(ci", [ToolCall("call_0", "get", '{"city": "Bern"}')])


@pytest.mark.parametrize("family", ToolFamily)
def test_each_family_is_read(family: ToolFamily) -> None:
    arguments = {"city": "Zürich </b> }\n", "count": 2, "place": {"a": ["x", {"b": None}]}, "is_new": True}
    calls = [("get_weather", arguments), ("stop", {})]
    for parts in (text := written(family, calls), [text]):
        found, read = split(splitter(family), parts)
        assert (found, values(read)) == ("", calls)


@pytest.mark.parametrize("tail", ["</tool_call", "</", "\n", ""])
def test_a_cut_end_marker_of_a_whole_call_is_no_text(tail: str) -> None:
    found, calls = split(splitter(ToolFamily.HERMES), [_HERMES.removesuffix("\n</tool_call>") + tail])
    assert (found, values(calls)) == ("", [_BERN])


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "string"}, "12", "12"),
        ({"type": "string"}, "null", "null"),
        ({"type": "string"}, " a\n", " a\n"),
        ({"type": "integer"}, "12", 12),
        ({"type": "integer"}, "12.0", 12),
        ({"type": "integer"}, "many", "many"),
        ({"type": "number"}, "12", 12),
        ({"type": "number"}, "1e999", float("inf")),
        ({"type": "integer"}, "1e999", float("inf")),
        ({"type": "array"}, "[1e999]", [float("inf")]),
        ({"type": "array"}, "[NaN]", ["NaN"]),
        ({"type": "array"}, "['a', 1e999]", ["a", "1e999"]),
        ({"type": "array"}, '["\n", 1e999]', '["\n", 1e999]'),
        ({"type": "array"}, '["\n", 1]', ["\n", 1]),
        ({"type": "number"}, "NaN", "NaN"),
        ({"type": "boolean"}, "True", True),
        ({"type": "boolean"}, "false", False),
        ({"type": ["string", "null"]}, "null", None),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "7", 7),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "true", "true"),
        ({"enum": ["1", "2"]}, "1", "1"),
        ({"const": 1}, "1", 1),
        ({"$ref": "#/$defs/word"}, "1", "1"),
        ({"$ref": "#/$defs/loop"}, "1", 1),
        ({"type": "object"}, '{"a": [1, "b"]}', {"a": [1, "b"]}),
        ({"type": "object"}, "{'a': [1, None, True]}", {"a": [1, None, True]}),
        ({"type": "array"}, "[" * 5000, "[" * 5000),
        ({"type": "array"}, "1", 1),
        ({}, "12", 12),
        ({}, "twelve", "twelve"),
        ({}, '"12"', "12"),
        (None, "[1]", [1]),
        ({"type": "string"}, "\\ud83d", "\\ud83d"),
        ({"type": "array"}, '["\\ud83d"]', ["\ud83d"]),
    ],
)
def test_the_schema_says_what_type_a_marked_argument_has(schema: object, text: str, value: object) -> None:
    definitions = {"word": {"type": "string"}, "loop": {"anyOf": [{"$ref": "#/$defs/loop"}] * 50}}
    properties = {} if schema is None else {"city": schema}
    tool = Tool("get", parameters=json.dumps({"type": "object", "properties": properties, "$defs": definitions}))
    answer = f"<tool_call>get<arg_key>city</arg_key><arg_value>{text}</arg_value></tool_call>"
    _, (call,) = split(splitter(ToolFamily.GLM47, tools=[tool]), [answer])
    call.arguments.encode()
    assert json.loads(call.arguments) == {"city": value}


@pytest.mark.parametrize("parameters", ["{}", "[]", "true", "{", '{"properties": []}', '{"$ref": "#/a/b"}'])
def test_a_schema_without_properties_allows_every_type(parameters: str) -> None:
    answer = "<tool_call>get<arg_key>city</arg_key><arg_value>1</arg_value></tool_call>"
    _, (call,) = split(splitter(ToolFamily.GLM47, tools=[Tool("get", parameters=parameters)]), [answer])
    assert call.arguments == '{"city": 1}'


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("'it\\'s'", "it's"), ('"a\\nb"', "a\nb"), ("'\\ud83d\\ude00'", "😀"), ("'\\ud83d'", "\ufffd"), ("''", ""),
        ("'\\q'", "\\q"), ("'\\\\n'", "\\n"), ("-1.5", -1.5), ("None", None), ("(1, 2,)", [1, 2]),
        ("{1: [true]}", {"1": [True]}),
        ("Bern", "Bern"), ("2 * 3", "2 * 3"), ("1e999", "1e999"), ("{}", {}), ("[]", []),
    ],
)  # fmt: skip
def test_literals_of_python(literal: str, value: object) -> None:
    _, (call,) = split(splitter(ToolFamily.LFM2), [f"<|tool_call_start|>[get(city={literal})]"])
    call.arguments.encode()
    assert json.loads(call.arguments) == {"city": value}


def test_a_literal_that_is_nested_too_deeply_is_no_call() -> None:
    text = f"<|tool_call_start|>[get(city={'[' * 100}{']' * 100})]"
    assert split(splitter(ToolFamily.LFM2), [text]) == (text, [])


@pytest.mark.parametrize(
    ("family", "begin", "unit"),
    [
        (ToolFamily.HERMES, "", "<"),
        (ToolFamily.HERMES, "", "<tool_call>"),
        (ToolFamily.HERMES, "", " "),
        (ToolFamily.HERMES, "", _HERMES),
        (ToolFamily.HERMES, '<tool_call>{"name": "', "a"),
        (ToolFamily.HERMES, '<tool_call>{"name": "get", "arguments": ', '{"a": ['),
        (ToolFamily.HERMES, '<tool_call>{"arguments": ', '{"a": ['),
        (ToolFamily.HERMES, '<tool_call>{"name": "get", "arguments": {"', '\\"'),
        (ToolFamily.LLAMA_JSON, "", "{"),
        (ToolFamily.LLAMA_PYTHON, "[get(city=", "["),
        (ToolFamily.LFM2, "", "<|tool_call_start|>[get("),
        (ToolFamily.KIMI, "<|tool_call_begin|>", "a"),
        (ToolFamily.QWEN3_CODER, "<function=get>", "<parameter="),
        (ToolFamily.QWEN3_CODER, "<function=get>", "<parameter=a></parameter>"),
        (ToolFamily.QWEN3_CODER, "<function=get><parameter=city>", "</paramete"),
        (ToolFamily.GEMMA_FUNCTION, "<start_function_call>call:get{a:[", "<escape><escape>,"),
        (ToolFamily.GEMMA_FUNCTION, "<start_function_call>call:get{a:", "<escap"),
    ],
)
def test_a_long_hostile_answer_is_read_in_time_in_proportion_to_its_length(
    family: ToolFamily, begin: str, unit: str
) -> None:
    """Where the time grows with the square of the length, this reaches the time limit of a test."""
    text = begin + unit * (100_000 // len(unit))
    whole = split(splitter(family), [text])
    assert split(splitter(family), (text[at : at + 50] for at in range(0, len(text), 50))) == whole
    assert whole[1] or whole[0] == text


def test_deltas_become_calls() -> None:
    deltas = [
        ToolCallDelta(0, "a", "get"),
        ToolCallDelta(0, arguments="{"),
        ToolCallDelta(1, "b", "stop", "{}"),
        ToolCallDelta(0, arguments="}"),
    ]
    assert collected(deltas) == (ToolCall("a", "get", "{}"), ToolCall("b", "stop", "{}"))
    assert deltas[0].followed_by(deltas[1]) == ToolCallDelta(0, "a", "get", "{")
    assert {tool.name for tool in TOOLS} >= {"get", "stop"}
