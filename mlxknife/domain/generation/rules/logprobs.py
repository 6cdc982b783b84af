"""Logprobs of an answer: finds the tokens that its text consists of, and leaves out those of everything else.

A token of which only a part is text, because a marker or a stop string has the rest, is cut to that part. So the joined
tokens are the text.
"""

from __future__ import annotations

import attrs

from mlxknife.domain.generation.values.answer import TextDelta, TextKind, TokenLogprob


@attrs.define
class _Group:
    """Tokens that complete a piece of text together: one, or those of a character that has several."""

    tokens: list[TokenLogprob] = attrs.field(factory=list)
    text: str = ""
    shown: str = ""
    """The part of it that is text of the answer."""

    def settled(self) -> list[TokenLogprob]:
        """Return the logprobs for the text that is shown."""
        content = b"".join(token.content for token in self.tokens)
        if self.shown == self.text == content.decode("utf-8", "replace"):
            return self.tokens
        last = self.tokens[-1]
        return [attrs.evolve(last, token=self.shown, content=self.shown.encode())] if self.shown else []


class LogprobAligner:
    """Aligns the tokens of one answer with the deltas that are made of them."""

    def __init__(self) -> None:
        """Begin without tokens."""
        self._groups = list[_Group]()
        """The tokens of which it is not certain yet what they are."""
        self._text = ""
        """Their text."""
        self._at = 0
        """The part of it that is certain."""

    @property
    def is_empty(self) -> bool:
        """Whether all tokens are settled."""
        return not self._groups

    def add(self, token: TokenLogprob, text: str) -> None:
        """Take a token, and the text that is complete with it."""
        if not self._groups or self._groups[-1].text:
            self._groups.append(_Group())
        self._groups[-1].tokens.append(token)
        self.extend(text)

    def extend(self, text: str) -> None:
        """Take more text of the last token."""
        if self._groups:
            self._groups[-1].text += text
            self._text += text

    def show(self, delta: TextDelta) -> None:
        """Take the next delta. Its text is part of that of the tokens, but for blanks before it that are new."""
        text, start = delta.text, self._text.find(delta.text, self._at)
        if start < 0:
            text = text.lstrip()
            start = self._text.find(text, self._at) if text else start
        if start < 0:
            text, start = "", len(self._text)
        self._at = start + len(text)
        if delta.kind is TextKind.ANSWER:
            self._mark(start, self._at, delta.text[: len(delta.text) - len(text)])

    def _mark(self, start: int, stop: int, new: str) -> None:
        """Count a part of the text as text of the answer, after a text that no token has."""
        position = 0
        for group in self._groups:
            begin, position = max(start, position), position + len(group.text)
            if begin < min(stop, position) or (new and group is self._groups[-1]):
                group.shown += new + self._text[begin : min(stop, position)]
                new = ""

    def drop_earlier(self) -> None:
        """Count all tokens but the last one as certain: a call has begun or goes on."""
        if self._groups:
            self._at = max(self._at, len(self._text) - len(self._groups[-1].text))

    def settled(self, *, holds_text: bool, has_ended: bool) -> tuple[TokenLogprob, ...]:
        """Return the logprobs of the tokens of which it is certain what they are, and forget them.

        ``holds_text`` is whether some of their text may still come with a later delta.
        """
        count, position = 0, 0
        for group in self._groups:
            if not (has_ended or (group.text and (not holds_text or position + len(group.text) <= self._at))):
                break
            count, position = count + 1, position + len(group.text)
        settled, self._groups = self._groups[:count], self._groups[count:]
        self._text, self._at = self._text[position:], max(0, self._at - position)
        return tuple(token for group in settled for token in group.settled())
