"""Chat history: what a chat template gets of calls, results and tools."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import chat_history
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import Tool, ToolCall

_TOOL = Tool("f", "Adds.", '{"type": "object", "properties": {"a": {"type": "integer"}}}')
_CALL = ToolCall("call_1", "f", '{"a": 1, "b": ["x"]}')
_ASKED = Message("user", "Add.")
_CALLED = (
    _ASKED,
    Message("assistant", "", tool_calls=(_CALL, ToolCall("call_2", "g", ""))),
    Message("tool", "2", tool_call_id="call_2"),
    Message("tool", "1", tool_call_id="call_1"),
)
_TEMPLATE = "{{ tools }}{{ messages[0].tool_calls }}"


def _form(messages: tuple[Message, ...], family: ToolFamily, template: str = _TEMPLATE) -> list[dict[str, Any]]:
    return [dict(turn) for turn in chat_history.forms(messages, (_TOOL,), family, template)[0].messages]


def test_calls_have_the_form_of_openai_with_arguments_as_objects() -> None:
    _, answer, second, first = _form(_CALLED, ToolFamily.HERMES)
    assert answer == {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": 1, "b": ["x"]}}},
            {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": {}}},
        ],
    }
    assert second == {"role": "tool", "content": "2", "tool_call_id": "call_2", "name": "g"}
    assert first == {"role": "tool", "content": "1", "tool_call_id": "call_1", "name": "f"}


def test_the_second_form_has_arguments_as_texts() -> None:
    _, texts = chat_history.forms(_CALLED, (), ToolFamily.DEEPSEEK_V3, _TEMPLATE)
    calls: Any = texts.messages[1]["tool_calls"]
    assert [call["function"]["arguments"] for call in calls] == ['{"a": 1, "b": ["x"]}', "{}"]


def test_tools_have_the_form_of_openai() -> None:
    assert chat_history.described((_TOOL, Tool("g"))) == (
        {
            "type": "function",
            "function": {"name": "f", "description": "Adds.", "parameters": json.loads(_TOOL.parameters)},
        },
        {
            "type": "function",
            "function": {"name": "g", "description": "", "parameters": {"type": "object", "properties": {}}},
        },
    )


def test_mistral_has_ids_of_nine_characters_that_connect_calls_and_results() -> None:
    _, answer, second, first = _form(_CALLED, ToolFamily.MISTRAL)
    ids = [call["id"] for call in answer["tool_calls"]]
    assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", one) for one in ids)
    assert ids == [first["tool_call_id"], second["tool_call_id"]]
    assert len(set(ids)) == 2
    assert ids[0] == _form(_CALLED[:2], ToolFamily.MISTRAL_ARGS)[1]["tool_calls"][0]["id"]
    kept = Message("tool", "", tool_call_id="abcdefGH9")
    assert _form((_ASKED, kept), ToolFamily.MISTRAL)[1]["tool_call_id"] == "abcdefGH9"


def test_kimi_has_ids_of_name_and_number_also_where_a_client_repeats_an_id() -> None:
    twice = (*_CALLED, Message("assistant", "", tool_calls=(_CALL,)), Message("tool", "3", tool_call_id="call_1"))
    turns = _form(twice, ToolFamily.KIMI)
    assert [turn["tool_call_id"] for turn in turns if turn["role"] == "tool"] == [
        "functions.g:1",
        "functions.f:0",
        "functions.f:2",
    ]


@pytest.mark.parametrize("family", [ToolFamily.LLAMA_JSON, ToolFamily.HARMONY])
def test_a_template_that_knows_one_call_gets_each_call_with_its_result(family: ToolFamily) -> None:
    other = Message("tool", "3", tool_call_id="call_3")
    turns = _form((*_CALLED, other, Message("user", "So?")), family)
    assert [(turn["role"], turn["content"], len(turn.get("tool_calls", ()))) for turn in turns] == [
        ("user", "Add.", 0),
        ("assistant", "", 1),
        ("tool", "1", 0),
        ("assistant", "", 1),
        ("tool", "2", 0),
        ("tool", "3", 0),
        ("user", "So?", 0),
    ]


def test_a_template_that_knows_calls_by_the_lack_of_content_gets_none() -> None:
    template = "{{ tools }}{{ message['tool_calls'] }}{% if m['role'] == 'assistant' and message['content'] is none %}"
    assert _form(_CALLED, ToolFamily.DEEPSEEK_V3, template)[1]["content"] is None


def test_a_template_that_renders_no_calls_gets_them_as_content() -> None:
    answer = _form(_CALLED, ToolFamily.LFM2, "{{ tools }}")[1]
    assert answer["content"] == '<|tool_call_start|>[f(a=1, b=["x"]), g()]<|tool_call_end|>'
    assert "tool_calls" not in answer
    assert "<tool_call>" in _form(_CALLED, ToolFamily.HERMES, "{{ tools }}")[1]["content"]


def test_the_generic_form_has_tools_calls_and_results_as_text() -> None:
    first, second = chat_history.forms((*_CALLED, Message("user", "So?")), (_TOOL,), ToolFamily.GENERIC, "")
    assert first.tools == second.tools == ()
    assert [turn["role"] for turn in first.messages] == ["system", "user", "assistant", "user"]
    assert [turn["role"] for turn in second.messages] == ["user", "assistant", "user"]
    assert '"name": "f"' in str(first.messages[0]["content"])
    assert second.messages[0]["content"] == f"{first.messages[0]['content']}\n\nAdd."
    assert first.messages[2]["content"] == (
        '<tool_call>\n{"name": "f", "arguments": {"a": 1, "b": ["x"]}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'
    )
    assert first.messages[3]["content"] == (
        "<tool_response>\n2\n</tool_response>\n<tool_response>\n1\n</tool_response>\nSo?"
    )


def test_the_generic_form_extends_a_system_message() -> None:
    (form,) = chat_history.forms((Message("system", "Be brief."), _ASKED), (_TOOL,), ToolFamily.GENERIC, "")
    assert [turn["role"] for turn in form.messages] == ["system", "user"]
    assert str(form.messages[0]["content"]).startswith("Be brief.\n\nYou can call functions.")


def test_messages_without_tools_and_calls_are_as_they_were() -> None:
    messages = (_ASKED, Message("tool", "x", name="f"), Message("user", "a"), Message("user", "b"))
    for family in ToolFamily:
        (form,) = chat_history.forms(messages, (), family, "")
        assert [turn["content"] for turn in form.messages] == ["Add.", "x", "a", "b"]
        assert form.tools == ()


@pytest.mark.parametrize("broken", ["{", "[]", '{"a": NaN}', "[" * 100_000, '{"a": ' * 80 + "1" + "}" * 80])
def test_arguments_that_are_no_object_stay_a_text_and_can_be_refused_by_name(broken: str) -> None:
    messages = (_ASKED, Message("assistant", "", tool_calls=(_CALL, ToolCall("x", "g", broken))))
    for family in (ToolFamily.HERMES, ToolFamily.GENERIC, ToolFamily.LFM2):
        assert _form(messages, family)
    assert _form(messages, ToolFamily.HERMES)[1]["tool_calls"][1]["function"]["arguments"] == broken
    with pytest.raises(ValidationError) as caught:
        chat_history.check_arguments(messages)
    assert caught.value.param == "messages[1].tool_calls[1].function.arguments"
    chat_history.check_arguments(_CALLED)
