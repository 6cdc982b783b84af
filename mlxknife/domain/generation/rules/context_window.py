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
        msg = f"The prompt has {length} characters, and the model reads at most {context_length} tokens in all"
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)


def answer_limit(prompt_tokens: int, max_tokens: int, context_length: int | None) -> int:
    """Return how many tokens an answer may have: at most ``max_tokens``, and what the prompt leaves.

    Raises ContextLengthExceeded for a prompt that leaves no token.
    """
    if context_length is None:
        return max_tokens
    if prompt_tokens >= context_length:
        msg = f"The prompt has {prompt_tokens} tokens, and the model reads at most {context_length} in all"
        raise ContextLengthExceeded(msg, hint=HintCode.SHORTEN_PROMPT)
    return min(max_tokens, context_length - prompt_tokens)
