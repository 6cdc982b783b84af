"""Tokens of an answer on their way to text.

Not with mlx-lm's own detokenizers, which do not say what the tokenizer says of the same tokens: one takes off a space
that belongs to the answer, one all spaces at its head, one those after a line break.
"""

from __future__ import annotations

from typing import Any

_HALF_A_LETTER = "\ufffd"
_MOST_HELD = 16
"""How many tokens may say nothing certain before they are told as they are,"""
_OF_A_LETTER = 3
"""but for so many, which may be the beginning of a letter."""


class Joining:
    """One answer, letter by letter: all pieces together are what the tokenizer makes of all tokens together."""

    def __init__(self, tokenizer: Any) -> None:  # noqa: ANN401 - transformers' own, as mlx-lm wraps it
        """Take what decodes; the prompt is not part of an answer."""
        self._tokenizer = tokenizer
        self._told: list[int] = []
        """The last tokens that were told, which show how the next ones are joined to them."""
        self._held: list[int] = []

    def feed(self, token: int) -> str:
        """Return the text that is certain with one token more: never half of a letter."""
        self._held.append(token)
        more, left = self._more(), list[int]()
        if not more or more.endswith(_HALF_A_LETTER):
            if len(self._held) < _MOST_HELD:
                return ""
            self._held, left = self._held[:-_OF_A_LETTER], self._held[-_OF_A_LETTER:]
            more = self._more()
        self._told, self._held = self._held, left
        return more

    def rest(self) -> str:
        """Return what is certain now that no token follows; half a letter is dropped."""
        more = self._more().rstrip(_HALF_A_LETTER) if self._held else ""
        self._told, self._held = [], []
        return more

    def _more(self) -> str:
        return self._decoded(self._told + self._held)[len(self._decoded(self._told)) :]

    def _decoded(self, tokens: list[int]) -> str:
        if not tokens:
            return ""
        text = self._tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return str(text)
