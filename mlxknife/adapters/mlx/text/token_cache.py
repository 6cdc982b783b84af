"""The token cache: keeps the tokens of earlier prompts, so that a growing conversation is not tokenized from its start.

The tokenizers library splits a text at its added tokens before it does anything else, and never merges across one. So
the text before an added token has the same tokens whatever follows, and the text from it on can be encoded alone. Where
an added token is depends on the text up to its end, and on no more characters after it than the longest one has.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import tokenizers

_SHORT = 512
"""Texts of fewer characters are encoded as fast as they are looked up."""
_MAX_HEADS = 64
_MAX_CHARACTERS = 2 * 1024 * 1024


@attrs.frozen(eq=False)
class _Head:
    """The start of a text, and its tokens up to an added token that begins at ``cut``."""

    text: str
    cut: int
    tokens: array[int]


class TokenCache:
    """Encodes rendered prompts and keeps the heads of the latest ones. Several threads may use it."""

    def __init__(
        self, encode: Callable[[str], tokenizers.Encoding], split: SplitTokens, shortest: int = _SHORT
    ) -> None:
        """Take the encoder of a whole text, the tokens that it splits at, and the shortest text to look up."""
        self._encode = encode
        self._split = split
        self._shortest = shortest
        self._heads: dict[str, _Head] = {}
        """In order of their last use."""
        self._characters = 0
        self._lock = threading.Lock()

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text: the same as without a cache. Raises what the library raises."""
        if len(text) < self._shortest or not self._split.texts:
            return tuple(self._encode(text).ids)
        head = self._find(text)
        if head is None:
            head = _Head("", 0, array("I"))
        rest = self._encode(text[head.cut :])
        tokens = rest.ids
        self._store(text, head, rest, tokens)
        return (*head.tokens, *tokens)

    def _find(self, text: str) -> _Head | None:
        with self._lock:
            heads = [head for head in self._heads.values() if text.startswith(head.text)]
            if not heads:
                return None
            longest = max(heads, key=lambda head: head.cut)
            self._heads[longest.text] = self._heads.pop(longest.text)
            return longest

    def _store(self, text: str, head: _Head, rest: tokenizers.Encoding, tokens: list[int]) -> None:
        """Keep the text before the last added token that no further text can change."""
        for position in reversed(range(1, len(tokens))):
            name = self._split.texts.get(tokens[position])
            span = None if name is None else rest.token_to_chars(position)
            if name is None or span is None or span[1] - span[0] != len(name):
                continue  # the library may count the blanks around a token as part of it
            cut = head.cut + span[0]
            end = cut + self._split.reach
            if end <= len(text) and text.startswith(name, cut):  # a word may have the same token
                self._keep(_Head(text[:end], cut, head.tokens + array("I", tokens[:position])))
                return

    def _keep(self, head: _Head) -> None:
        with self._lock:
            if head.text in self._heads or len(head.text) > _MAX_CHARACTERS:
                return
            self._heads[head.text] = head
            self._characters += len(head.text)
            while len(self._heads) > _MAX_HEADS or self._characters > _MAX_CHARACTERS:
                dropped = self._heads.pop(next(iter(self._heads)))
                self._characters -= len(dropped.text)


@attrs.frozen
class SplitTokens:
    """The added tokens at which the library splits every text."""

    texts: Mapping[int, str]
    reach: int
    """The number of characters that decide whether an added token begins at a position."""

    @classmethod
    def of(cls, backend: tokenizers.Tokenizer) -> SplitTokens:
        """Return the added tokens of a tokenizer that match the text literally."""
        added = backend.get_added_tokens_decoder()
        longest = max((len(token.content) for token in added.values()), default=0)
        return cls({number: token.content for number, token in added.items() if _is_literal(token)}, longest + 1)


def _is_literal(token: tokenizers.AddedToken) -> bool:
    depends = token.normalized or token.lstrip or token.rstrip or token.single_word
    return not depends and bool(token.content) and not token.content[0].isspace()
