"""Prompts: words, files and a system text become the messages of a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.values.request import Message


@pytest.mark.parametrize("words", [(), ("",), (" ", "\n\t"), ("\u2003",)])
def test_a_blank_prompt_is_rejected(words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="empty") as caught:
        prompts.assembled(words, system="Be brief.")
    assert caught.value.hint


def test_words_are_one_user_message() -> None:
    assert prompts.assembled(("Who are you?",)) == (Message("user", "Who are you?"),)


def test_several_texts_are_joined_by_blank_lines_and_blank_ones_are_dropped() -> None:
    (question,) = prompts.assembled(("a text\n\n", "", " \n", "  What is it?\n"))
    assert question.content == "a text\n\n  What is it?"


def test_blanks_within_a_text_are_kept() -> None:
    assert prompts.assembled(("def f():\n    return 1\n",))[0].content == "def f():\n    return 1"


def test_a_system_text_comes_first_unless_it_is_blank() -> None:
    assert prompts.assembled(("Hi",), system="Be\nbrief.\n") == (
        Message("system", "Be\nbrief.\n"),
        Message("user", "Hi"),
    )
    for blank in ("", " \n", None):
        assert prompts.assembled(("Hi",), system=blank) == (Message("user", "Hi"),)


def test_files_come_before_the_words_each_under_its_name() -> None:
    (question,) = prompts.assembled(("Compare.",), [("a.py", "x = 1\n\n"), ("b/ü.txt", "  y\nz")])
    assert question.content == "a.py:\n\nx = 1\n\nb/ü.txt:\n\n  y\nz\n\nCompare."


def test_files_alone_are_a_prompt() -> None:
    assert prompts.assembled((), [("a.txt", "What is 6 * 7?")]) == (Message("user", "a.txt:\n\nWhat is 6 * 7?"),)
    assert prompts.assembled((" ",), [("a.txt", "")])[0].content.startswith("a.txt:")


def test_a_text_is_never_formatted() -> None:
    text = "{{ 1 }} {% if %} <|im_end|> %s {0}"
    assert prompts.assembled((text,), [("{0}", text)])[0].content == f"{{0}}:\n\n{text}\n\n{text}"


@pytest.mark.parametrize("messages", [["Hi"], [("user", "Hi")], [{"role": "user", "content": "Hi"}], [None]], ids=str)
def test_a_conversation_of_other_values_is_rejected(messages: Any) -> None:  # noqa: ANN401
    with pytest.raises(ValidationError, match="made of Message values") as caught:
        prompts.check(messages)
    assert caught.value.hint


def test_an_empty_conversation_is_rejected() -> None:
    with pytest.raises(ValidationError, match="empty"):
        prompts.check(())
    prompts.check((Message("user", ""),))


def test_the_texts_of_messages_are_their_contents_and_reasoning() -> None:
    messages = (Message("user", "a"), Message("assistant", "", reasoning_content="b"), Message("tool", "c", name="d"))
    assert prompts.message_texts(messages) == ["a", "b", "c"]
