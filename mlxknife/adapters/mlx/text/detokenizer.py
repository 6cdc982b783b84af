"""Detokenizers: the tokens of an answer become text, each in about a microsecond.

mlx-lm's own are not used: one drops a space that belongs to the answer, one all leading spaces, one the spaces after a
line break.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
_MAX_HELD = 16
"""The number of tokens after which undecided text is passed on as it is,"""
_CHARACTER = 3
"""without as many tokens as may begin a character."""


def _no_first_form(token: int) -> bytes | None:
    del token
    return None


class SpellingDetokenizer:
    """Joins the bytes of tokens that can be spelled independently."""

    def __init__(
        self,
        spell: Callable[[int], tuple[bytes, str | None]],
        first: Callable[[int], bytes | None] = _no_first_form,
        stripped: str = "",
    ) -> None:
        """Take how a token is spelled, how the first token is, and the characters that are removed from the start."""
        self._spell = spell
        self._first = first
        self._stripped = stripped
        self._pending = b""
        self._has_begun = False

    def feed(self, token: int) -> str:
        """See ``Detokenizer.feed``."""
        data, text = self._spell(token)
        if not self._has_begun and (first := self._first(token)) is not None:
            data, text, self._has_begun = first, None, True
        if text is None or self._pending:
            data = self._pending + data
            text, used = utf_8_decode(data, "replace", False)  # noqa: FBT003 - it takes no names
            self._pending = data[used:]
        return self._without_start(text) if self._stripped else text

    def finish(self) -> str:
        """See ``Detokenizer.finish``."""
        self._pending = b""
        return ""

    def _without_start(self, text: str) -> str:
        while text and self._stripped:
            if text[0] != self._stripped[0]:
                self._stripped = ""
                break
            text, self._stripped = text[1:], self._stripped[1:]
        return text


class DecodingDetokenizer:
    """Decodes the last few tokens again with each new one, for decoders that look at several tokens at once."""

    def __init__(self, decode: Callable[[list[int]], str], after: Sequence[int] = ()) -> None:
        """Take the decoder, and the tokens before the first one."""
        self._decode = decode
        self._context = list(after[-_MAX_HELD:])
        """The tokens before the held ones; they decide how the held ones are joined."""
        self._held: list[int] = []

    def feed(self, token: int) -> str:
        """See ``Detokenizer.feed``."""
        self._held.append(token)
        text, rest = self._text(), list[int]()
        if not text or text.endswith(_INCOMPLETE):
            if len(self._held) < _MAX_HELD:
                return ""
            self._held, rest = self._held[:-_CHARACTER], self._held[-_CHARACTER:]
            text = self._text()
        self._context, self._held = self._held, rest
        return text

    def finish(self) -> str:
        """See ``Detokenizer.finish``."""
        text = self._text().rstrip(_INCOMPLETE) if self._held else ""
        self._context, self._held = [], []
        return text

    def _text(self) -> str:
        before = self._decode(self._context) if self._context else ""
        return self._decode(self._context + self._held)[len(before) :]
