"""Spelling: the bytes of each single token, for decoders that treat tokens independently.

Nearly every model has one of a few decoders: the byte-level one, Metaspace, or a chain that turns ``▁`` into a space
and ``<0x0A>`` into a byte. With those an answer is the concatenated bytes of its tokens.
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
    """How a decoder turns the name of a token into bytes."""

    steps: tuple[_Step, ...] = ()
    """The replacements in the name of a token."""
    first_steps: tuple[_Step, ...] = ()
    """The same for the first token of an answer."""
    is_byte_level: bool = False
    has_bytes: bool = False
    """Whether ``<0x0A>`` is a byte."""
    stripped: str = ""
    """The characters that are removed from the start of an answer."""

    def spelled(self, text: str, *, is_first: bool = False) -> bytes:
        """Return the bytes of a token."""
        if self.has_bytes and (byte := named_byte(text)) is not None:
            return byte
        for step in self.first_steps if is_first else self.steps:
            text = step(text)
        return _unmapped(text) if self.is_byte_level else text.encode()


def named_byte(name: str) -> bytes | None:
    """Return the byte that a token such as ``<0x0A>`` stands for, or None."""
    match = _BYTE.fullmatch(name)
    return bytes.fromhex(match[1]) if match else None


def spelling(decoder: Mapping[str, Any] | None) -> Spelling | None:
    """Return the spelling of a decoder, or None if its tokens depend on each other."""
    if decoder is None:
        return Spelling(steps=(lambda text: f" {text}",))
    chain: Sequence[Mapping[str, Any]] = decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]
    known, is_one_text = Spelling(), False
    for link in chain:
        kind = link["type"]
        if kind == "Fuse":
            is_one_text = True
        elif (
            kind == "Strip"
            and is_one_text
            and not link["stop"]
            and not known.stripped
            and link["start"] <= _MAX_STRIPPED
        ):
            known = attrs.evolve(known, stripped=link["content"] * link["start"])
        elif is_one_text or (more := _continued(known, link)) is None:
            return None
        else:
            known, is_one_text = more, more.is_byte_level
    return known


_MAX_STRIPPED = 16
"""The largest number of characters removed from the start; real tokenizers remove one."""


def _continued(known: Spelling, link: Mapping[str, Any]) -> Spelling | None:
    """Return a spelling with one more decoder of the chain, or None for an unknown one."""
    match link:
        case {"type": "ByteLevel"} if not known.has_bytes:
            return attrs.evolve(known, is_byte_level=True)
        case {"type": "ByteFallback"}:
            return attrs.evolve(known, has_bytes=True)
        case {"type": "Replace", "pattern": {"String": str(old)}, "content": str(new)} if old:
            return _with(known, lambda text: text.replace(old, new))
        case {"type": "Metaspace", "replacement": str(mark), "prepend_scheme": str(scheme)}:
            head = " " if scheme == "never" else ""
            return _with(known, lambda text: text.replace(mark, " "), lambda text: text.replace(mark, head))
    return None


def _with(known: Spelling, step: _Step, first_step: _Step | None = None) -> Spelling:
    return attrs.evolve(known, steps=(*known.steps, step), first_steps=(*known.first_steps, first_step or step))


def _alphabet() -> dict[str, int]:
    """Return GPT-2's characters for bytes: printable ones stand for themselves, later ones for the rest."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + number): byte for number, byte in enumerate(others)}


_BYTES = _alphabet()


def _unmapped(text: str) -> bytes:
    """Return the bytes of a byte-level token; a name with a character outside of the alphabet is its own text."""
    try:
        return bytes([_BYTES[char] for char in text])
    except KeyError:
        return text.encode()
