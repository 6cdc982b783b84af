"""The context window: the prompt and its answer must fit into what a model reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from mlxknife.domain.errors import ContextLengthExceeded
from mlxknife.domain.hints import HintCode


def check_characters(texts: Sequence[str], vocabulary: Collection[str], context_length: int | None) -> None:
    """Raise ContextLengthExceeded for a prompt that is too long however it is tokenized.

    No token has more characters than the longest name in the vocabulary.
    """
    length = sum(map(len, texts))
    if context_length is None or length < context_length:
        return
    if length >= context_length * max(map(len, vocabulary), default=length):
        msg = _too_long(f"{length} characters", context_length)
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)


def answer_limit(prompt_tokens: int, max_tokens: int, context_length: int | None) -> int:
    """Return how many tokens an answer may have: at most ``max_tokens``, and what the prompt leaves.

    Raises ContextLengthExceeded for a prompt that leaves no token.
    """
    if context_length is None:
        return max_tokens
    if prompt_tokens >= context_length:
        msg = _too_long(f"{prompt_tokens} tokens", context_length)
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)
    return min(max_tokens, context_length - prompt_tokens)


def _too_long(size: str, context_length: int) -> str:
    """Return a message with the words by which clients of language models know this error."""
    return f"The prompt is too long: it has {size}, and this model's maximum context length is {context_length} tokens"
