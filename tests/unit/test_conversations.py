"""Conversations: what chat templates receive."""

from __future__ import annotations

from mlxknife.domain.generation.rules import conversations
from mlxknife.domain.generation.values.request import Message


def test_messages_as_plain_text() -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hi\n"), Message("assistant", "Ho"))
    assert conversations.plain(conversations.of(messages)) == "Be brief.\n\nHi\n\n\nHo"
    assert conversations.plain(conversations.of(())) == ""


def test_unset_fields_are_left_out_and_set_ones_keep_their_order() -> None:
    message = Message("tool", "42", name="add", tool_call_id="call_1", reasoning_content="Hm.")
    assert [list(turn) for turn in conversations.of((Message("user", ""), message)).messages] == [
        ["role", "content"],
        ["role", "content", "name", "tool_call_id", "reasoning_content"],
    ]
