"""Texts with sequences that control a terminal or turn its text around, each with a number to find it by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from random import Random

_BODIES = (
    "\x1b[{n}m", "\x1b[{n}A", "\x1b[{n};1H", "\x1b[2J\x1b[{n}J", "\x1b[{n}K", "\x1b[?{n}h", "\x1b[6n\x1b[{n}c",
    "\x1b[{n} q", "\x1b]0;title {n}\x07", "\x1b]2;title {n}\x1b\\", "\x1b]52;c;cm0gLXJmIH4={n}\x07",
    "\x1b]8;;file:x{n}\x1b\\link\x1b]8;;\x1b\\", "\x1b]1337;File=inline=1:{n}\x07", "\x1bP{n}q#0~\x1b\\",
    "\x1bPtmux;{n}\x1b\\", "\x1b_G{n}\x1b\\", "\x1b^{n}\x1b\\", "\x1bc{n}", "\x1b(0{n}\x1b(B", "\x1bN{n}",
    "\x1b#8{n}", "\x1b7{n}\x1b8", "\x1b%G{n}", "\x1b\x1b[{n}m", "\x9b{n}m", "\x9d0;title {n}\x9c", "\x90{n}\x9c",
    "\x84\x85\x8d{n}", "\x07{n}", "\x08\x08\x08{n}", "\r{n}", "\v{n}\f", "\x0e{n}\x0f", "\x7f{n}",
    "\x05{n}\x11\x13", "\u202e{n}\u202c", "\u202d{n}", "\u2066{n}\u2069", "\u2067{n}\u2068",
    "\u061c{n}\u200e\u200f", "\u2028{n}\u2029", "\u200b{n}\u2060", "\ufeff{n}", "\U000e0001{n}\U000e007f",
    "\ufff9{n}\ufffb", "\u180e{n}", "\u206a{n}\u206f", "\x01{n}\x02", "\x1a{n}", "\x18{n}",
)  # fmt: skip
_OWN = re.compile(r"\x1b\[(?:\d{1,3}(?:;\d{1,3})*)?[mAK]|\x1b\[[BJ]|\x1b\[\?7[lh]|\x1b\[\?25[lh]|\r(?=[\n\x1b])")
"""What the program sends itself. The numbers of the payloads have more digits."""
_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")
_HARMLESS = "\n\u00ad\u200c\u200d"
_FIRST = 10_000
_MARK = re.compile(r"p(\d{5,})z")


def payloads(count: int, random: Random, *, without: str = "", first: int = _FIRST) -> list[str]:
    """Return as many payloads with numbers from ``first`` on; none of them has a character of ``without``."""
    return [_payload(number, random, without) for number in range(first, first + count)]


def _payload(number: int, random: Random, without: str) -> str:
    """Return one to three sequences with the mark of the number before them, and sometimes a broken one after them."""
    bodies = [random.choice(_BODIES).replace("{n}", str(number)) for _ in range(random.choice((1, 1, 2, 3)))]
    cut = random.choice(_BODIES)[: random.randrange(1, 4)] if random.random() < 0.2 else ""
    return f"p{number}z" + "".join(char for char in "".join(bodies) + cut if char not in without)


def seen(shown: str) -> set[int]:
    """Return the numbers of the payloads whose marks are on a terminal."""
    return {int(number) for number in _MARK.findall(_OWN.sub("", shown))}


def reached(shown: str) -> Sequence[str]:
    """Return the control and bidi characters on a terminal that are not the program's own."""
    rest = _OWN.sub("", shown)
    return sorted({char for char in rest if unicodedata.category(char) in _CONTROLS and char not in _HARMLESS})


def numbers(made: Iterable[str]) -> set[int]:
    return {int(found[1]) for found in map(_MARK.match, made) if found is not None}
