"""Remembering how long texts were cut, so that a conversation that goes on is not cut from its beginning each time.

The library cuts a text at its marks, the tokens that are added to a vocabulary, before it does anything else, and never
looks over one. So what stands before a mark has the same tokens whatever follows, and what follows it can be cut alone.
Where a mark is depends on the text up to its end and on no more characters behind it than the longest mark has.
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
"""Characters that are cut as fast as they are looked up."""
_MOST_HEADS = 64
_MOST_CHARACTERS = 2 * 1024 * 1024


@attrs.frozen(eq=False)
class _Head:
    """The beginning of a text: its tokens up to a mark, and how much stands behind that mark's beginning."""

    text: str
    cut: int
    tokens: array[int]


class Recall:
    """Cuts rendered texts, and remembers the heads of the last ones. Several threads may use it."""

    def __init__(self, cut: Callable[[str], tokenizers.Encoding], marks: Marks, shortest: int = _SHORT) -> None:
        """Take what cuts a whole text, the marks that it cuts at, and the fewest characters that are worth it."""
        self._cut = cut
        self._marks = marks
        self._shortest = shortest
        self._heads: dict[str, _Head] = {}
        """In the order of their last use."""
        self._characters = 0
        self._lock = threading.Lock()

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text, the same as without any memory. Raises what the library raises."""
        if len(text) < self._shortest or not self._marks.texts:
            return tuple(self._cut(text).ids)
        head = self._head_of(text)
        if head is None:
            head = _Head("", 0, array("I"))
        rest = self._cut(text[head.cut :])
        tokens = rest.ids
        self._remember(text, head, rest, tokens)
        return (*head.tokens, *tokens)

    def _head_of(self, text: str) -> _Head | None:
        with self._lock:
            heads = [head for head in self._heads.values() if text.startswith(head.text)]
            if not heads:
                return None
            longest = max(heads, key=lambda head: head.cut)
            self._heads[longest.text] = self._heads.pop(longest.text)
            return longest

    def _remember(self, text: str, head: _Head, rest: tokenizers.Encoding, tokens: list[int]) -> None:
        """Keep what stands before the last mark that nothing which may follow can change."""
        for place in reversed(range(1, len(tokens))):
            mark = self._marks.texts.get(tokens[place])
            spot = None if mark is None else rest.token_to_chars(place)
            if mark is None or spot is None or spot[1] - spot[0] != len(mark):
                continue  # the library may count blanks of a token to what stands beside it
            cut = head.cut + spot[0]
            end = cut + self._marks.reach
            if end <= len(text) and text.startswith(mark, cut):  # a number may be that of a word as well
                self._keep(_Head(text[:end], cut, head.tokens + array("I", tokens[:place])))
                return

    def _keep(self, head: _Head) -> None:
        with self._lock:
            if head.text in self._heads or len(head.text) > _MOST_CHARACTERS:
                return
            self._heads[head.text] = head
            self._characters += len(head.text)
            while len(self._heads) > _MOST_HEADS or self._characters > _MOST_CHARACTERS:
                gone = self._heads.pop(next(iter(self._heads)))
                self._characters -= len(gone.text)


@attrs.frozen
class Marks:
    """The tokens that split every text they stand in."""

    texts: Mapping[int, str]
    reach: int
    """How many characters from its beginning on decide whether there is a mark."""

    @classmethod
    def of(cls, opened: tokenizers.Tokenizer) -> Marks:
        """Return those of a tokenizer: added ones that are looked for in the text as it stands, with nothing around."""
        added = opened.get_added_tokens_decoder()
        longest = max((len(token.content) for token in added.values()), default=0)
        return cls({number: token.content for number, token in added.items() if _is_plain(token)}, longest + 1)


def _is_plain(token: tokenizers.AddedToken) -> bool:
    depends = token.normalized or token.lstrip or token.rstrip or token.single_word
    return not depends and bool(token.content) and not token.content[0].isspace()
