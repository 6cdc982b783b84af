"""The context window: prompts that leave no token for an answer are rejected, before or after they are tokenized."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.errors import ContextLengthExceeded
from mlxknife.domain.generation.rules import context_window


@pytest.mark.parametrize(
    ("texts", "context_length", "is_accepted"),
    [
        (["abcd"], None, True),
        (["abc"], 4, True),
        (["abcd"], 4, True),  # tokens of three characters may make it shorter
        (["a" * 11], 4, True),
        (["a" * 12], 4, False),
        (["a" * 6, "b" * 6], 4, False),
        ([], 1, True),
    ],
)
def test_a_text_that_is_too_long_in_any_tokens_is_rejected(
    texts: list[str], context_length: int | None, *, is_accepted: bool
) -> None:
    vocabulary = ("a", "bc", "def")
    if is_accepted:
        context_window.check_characters(texts, vocabulary, context_length)
        return
    message = f"^The prompt is too long: it has 12 characters, .* maximum context length is {context_length} tokens$"
    with pytest.raises(ContextLengthExceeded, match=message) as caught:
        context_window.check_characters(texts, vocabulary, context_length)
    assert caught.value.hint


@given(st.integers(0, 50), st.integers(1, 50), st.none() | st.integers(1, 50))
def test_a_prompt_and_its_answer_fit_into_the_context_window(
    prompt: int, max_tokens: int, context_length: int | None
) -> None:
    if context_length is not None and prompt >= context_length:
        with pytest.raises(ContextLengthExceeded):
            context_window.answer_limit(prompt, max_tokens, context_length)
        return
    limit = context_window.answer_limit(prompt, max_tokens, context_length)
    assert 1 <= limit <= max_tokens
    assert context_length is None or prompt + limit <= context_length
    assert limit == max_tokens or prompt + limit == context_length
