from __future__ import annotations

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.values.generation import Message


@pytest.mark.parametrize("words", [(), ("",), (" ", "\n\t"), ("\u2003",)])
def test_no_words_are_no_question(words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match="empty") as caught:
        prompts.assembled(words, system="Be brief.")
    assert caught.value.hint


def test_words_are_one_turn_of_the_user() -> None:
    assert prompts.assembled(("Who are you?",)) == (Message("user", "Who are you?"),)


def test_further_words_come_after_a_blank_line_and_nothings_do_not_count() -> None:
    (question,) = prompts.assembled(("a text\n\n", "", " \n", "  What is it?\n"))
    assert question.content == "a text\n\n  What is it?"


def test_blanks_within_a_text_stay() -> None:
    assert prompts.assembled(("def f():\n    return 1\n",))[0].content == "def f():\n    return 1"


def test_a_system_text_comes_first_unless_it_says_nothing() -> None:
    assert prompts.assembled(("Hi",), system="Be\nbrief.\n") == (
        Message("system", "Be\nbrief.\n"),
        Message("user", "Hi"),
    )
    for nothing in ("", " \n", None):
        assert prompts.assembled(("Hi",), system=nothing) == (Message("user", "Hi"),)


def test_files_come_before_the_words_each_under_its_name() -> None:
    (question,) = prompts.assembled(("Compare.",), [("a.py", "x = 1\n\n"), ("b/ü.txt", "  y\nz")])
    assert question.content == "a.py:\n\nx = 1\n\nb/ü.txt:\n\n  y\nz\n\nCompare."


def test_files_are_question_enough() -> None:
    assert prompts.assembled((), [("a.txt", "What is 6 * 7?")]) == (Message("user", "a.txt:\n\nWhat is 6 * 7?"),)
    assert prompts.assembled((" ",), [("a.txt", "")])[0].content.startswith("a.txt:")


def test_nothing_of_a_text_is_a_template_or_a_mark() -> None:
    text = "{{ 1 }} {% if %} <|im_end|> %s {0}"
    assert prompts.assembled((text,), [("{0}", text)])[0].content == f"{{0}}:\n\n{text}\n\n{text}"


def test_turns_as_plain_text() -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hi\n"), Message("assistant", "Ho"))
    assert prompts.plain(turns) == "Be brief.\n\nHi\n\n\nHo"
    assert prompts.plain(()) == ""
    assert prompts.plain(turns[:1]) == "Be brief."
