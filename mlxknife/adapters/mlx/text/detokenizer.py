"""Answers on their way from tokens to text, each token in a microsecond or so."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable, Sequence

_HALF_A_LETTER = "\ufffd"
_MOST_HELD = 16
"""How many tokens may say nothing certain before they are told as they are."""


def _as_any_other(token: int) -> bytes | None:
    del token
    return None


class SpeltJoining:
    """Joins tokens that can be spelt by themselves."""

    def __init__(
        self,
        pieces: Callable[[int], tuple[bytes, str | None]],
        first: Callable[[int], bytes | None] = _as_any_other,
        stripped: str = "",
    ) -> None:
        """Take how to spell a token (also as text, where that is whole), how the first one, and what is taken off."""
        self._pieces = pieces
        self._first = first
        self._stripped = stripped
        self._pending = b""
        self._has_begun = False

    def feed(self, token: int) -> str:
        """See ``Joining.feed``."""
        data, text = self._pieces(token)
        if not self._has_begun and (first := self._first(token)) is not None:
            data, text, self._has_begun = first, None, True
        if text is None or self._pending:
            data = self._pending + data
            text, used = utf_8_decode(data, "replace", False)  # noqa: FBT003 - it takes no names
            self._pending = data[used:]
        return self._without_head(text) if self._stripped else text

    def rest(self) -> str:
        """See ``Joining.rest``."""
        self._pending = b""
        return ""

    def _without_head(self, text: str) -> str:
        while text and self._stripped:
            if text[0] != self._stripped[0]:
                self._stripped = ""
                break
            text, self._stripped = text[1:], self._stripped[1:]
        return text


class DecodedJoining:
    """Joins tokens by decoding the last few again and again, for decoders that look at several at once."""

    def __init__(self, decoded: Callable[[list[int]], str], after: Sequence[int] = ()) -> None:
        """Take what decodes, and the tokens before the first one."""
        self._decoded = decoded
        self._told = list(after[-_MOST_HELD:])
        """The last tokens that were told, which show how the next ones are joined to them."""
        self._held: list[int] = []

    def feed(self, token: int) -> str:
        """See ``Joining.feed``."""
        self._held.append(token)
        more = self._more()
        if (not more or more.endswith(_HALF_A_LETTER)) and len(self._held) < _MOST_HELD:
            return ""
        self._told, self._held = self._held, []
        return more

    def rest(self) -> str:
        """See ``Joining.rest``."""
        more = self._more().rstrip(_HALF_A_LETTER)
        self._told, self._held = [], []
        return more

    def _more(self) -> str:
        return self._decoded(self._told + self._held)[len(self._decoded(self._told)) :]
