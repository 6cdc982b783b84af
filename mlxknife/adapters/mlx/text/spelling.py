"""How tokens spell a text, as far as each token can be spelt by itself: read from the decoder of a tokenizer.

Nearly every model that speaks has one of a few decoders: the byte-level one, Metaspace, or a chain that turns ``▁``
into a space and ``<0x0A>`` into a byte. For those an answer is the bytes of its tokens, one after another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")

_Step: TypeAlias = Callable[[str], str]


@attrs.frozen
class Spelling:
    """How a decoder spells tokens."""

    steps: tuple[_Step, ...] = ()
    """What is done to the text of a token."""
    first_steps: tuple[_Step, ...] = ()
    """The same for the first token of an answer."""
    is_byte_level: bool = False
    has_bytes: bool = False
    """Whether ``<0x0A>`` is a byte."""
    stripped: str = ""
    """What is taken off the start of an answer, if it is there: a character as often as it stands here."""

    def spelt(self, text: str, *, is_first: bool = False) -> bytes:
        """Return the bytes of a token."""
        if self.has_bytes and (match := _BYTE.fullmatch(text)):
            return bytes.fromhex(match[1])
        for step in self.first_steps if is_first else self.steps:
            text = step(text)
        return _unmapped(text) if self.is_byte_level else text.encode()


def spelling(decoder: Mapping[str, Any] | None) -> Spelling | None:
    """Return how a decoder spells, or None for one whose tokens cannot be told apart."""
    if decoder is None:
        return Spelling(steps=(lambda text: f" {text}",))
    chain: Sequence[Mapping[str, Any]] = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    made, is_one_text = Spelling(), False
    for link in chain:
        kind = link["type"]
        if kind == "Fuse":
            is_one_text = True
        elif kind == "Strip" and is_one_text and not link["stop"] and not made.stripped and link["start"] <= _MOST:
            made = attrs.evolve(made, stripped=link["content"] * link["start"])
        elif is_one_text or (more := _continued(made, link)) is None:
            return None
        else:
            made, is_one_text = more, more.is_byte_level
    return made


_MOST = 16
"""How many characters may be taken off the start; there is one in real life."""


def _continued(made: Spelling, link: Mapping[str, Any]) -> Spelling | None:
    """Return a spelling with one more link of the chain, or None where that link is not known."""
    match link:
        case {"type": "ByteLevel"} if not made.has_bytes:
            return attrs.evolve(made, is_byte_level=True)
        case {"type": "ByteFallback"}:
            return attrs.evolve(made, has_bytes=True)
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)} if old:
            return _with(made, lambda text: text.replace(old, new))
        case {"type": "Metaspace", "replacement": str(mark), "prepend_scheme": str(scheme)}:
            head = " " if scheme == "never" else ""
            return _with(made, lambda text: text.replace(mark, " "), lambda text: text.replace(mark, head))
    return None


def _with(made: Spelling, step: _Step, first_step: _Step | None = None) -> Spelling:
    return attrs.evolve(made, steps=(*made.steps, step), first_steps=(*made.first_steps, first_step or step))


def _alphabet() -> dict[str, int]:
    """Return the letters that GPT-2 gave to bytes: themselves where they can be seen, later ones for the others."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    unseen = [byte for byte in range(256) if byte not in seen]
    return {chr(byte): byte for byte in seen} | {chr(256 + number): byte for number, byte in enumerate(unseen)}


_BYTES = _alphabet()


def _unmapped(text: str) -> bytes:
    """Return the bytes of a byte-level token; one with a letter that means no byte stands for itself."""
    try:
        return bytes([_BYTES[letter] for letter in text])
    except KeyError:
        return text.encode()
