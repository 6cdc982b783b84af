"""Seeded mutations of valid documents: of their bytes, and of their structure."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

_BITS = (
    b"", b"\0", b"\xff", b'"', b"'", b"{", b"}", b"[", b"]", b"\\", b",", b":", b"\n", b"\r", b"-", b"---",
    b"\xef\xbb\xbf",
    b"1e400", b"NaN", b"null", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"9" * 400, b"[" * 300, b'{"a":' * 300,
    b"\x1b[2J",
    b"version https://git-lfs", b"PK\x03\x04", b"PK\x05\x06", b"\x80\x04", b"GGUF",
)  # fmt: skip
_NUMBERS = (0, 1, 2, 7, 8, 9, 31, 32, 127, 128, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63)
_DEEP = 1200
_RAW = (
    *b"1e999 -1e999 1e-999 NaN -Infinity 00 1. .1 +1 'a' tru [1,] {1:1}".split(),
    *(b'"\\x"', b'"\\u12"', b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"a\nb"', b"9" * 5000, b"-" + b"9" * 400),
    *(b"[" * _DEEP + b"]" * _DEEP, b'{"a":' * _DEEP + b"1" + b"}" * _DEEP, b"[" * _DEEP, b'{"a":1,"a":2}'),
)
"""What stands for a value in JSON, and what cannot."""
_MARK = "\u2603"
_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**31, 2**32, 2**53 + 1, 2**63, 2**64 - 1, -(2**63),
    "", "0", "a", "null", "..", "../../etc/passwd", "/etc/passwd", "\0",
    "\x1b[6n\x1b]0;title\x07\x9b2J", "\u202e", "\u2028", "{{7*7}}",
    "%s%n", "a" * 300, "a/b", "a.b", ".", "-", "main",
    "\U0001f999", "e\u0301", "__class__", [], {}, [[]], [{}], [None], [0], [-1],
    ["a", 1], [""], {"": ""}, {"a": None}, {"a": {"b": []}}, {"type": "a"}, [1, [2, [3]]], [0] * 50, {"0": [0.5]},
)  # fmt: skip
"""Values that JSON and MessagePack can both encode."""

Encode = Callable[[Any], bytes]


def as_json(document: object) -> bytes:
    """Return a document as JSON."""
    return json.dumps(document, ensure_ascii=False).encode()


def scratched(data: bytes, random: Random) -> bytes:
    """Change, drop, insert, repeat or move some bytes."""
    text = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        place = random.randrange(len(text) + 1)
        way = random.randrange(8)
        if way == 0:
            text[place : place + 1] = bytes([random.randrange(256)])
        elif way == 1:
            del text[place : place + random.choice((1, 2, 8, 40))]
        elif way == 2:
            text[place:place] = random.choice(_BITS)
        elif way == 3:
            text[place:] = b"" if random.random() < 0.3 else text[place:]
        elif way == 4:
            _write_number(text, place, random)
        elif way == 5:
            text[place:place] = text[place : place + random.randrange(1, 60)]
        elif way == 6 and text:
            text[place % len(text)] ^= 1 << random.randrange(8)
        else:
            start = random.randrange(len(text) + 1)
            text[place:place] = text[start : start + random.randrange(60)]
    return bytes(text)


def _write_number(text: bytearray, place: int, random: Random) -> None:
    """Write a number of 1, 4 or 8 bytes over what stands there, as binary formats have them."""
    size = random.choice((1, 4, 8))
    number = random.choice(_NUMBERS) & (256**size - 1)
    text[place : place + size] = number.to_bytes(size, random.choice(("little", "big")))


def changed(document: Any, random: Random) -> Any:  # noqa: ANN401 - JSON
    """Return a copy of a document with odd, moved, missing or additional values."""
    holder = [copy.deepcopy(document)]
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        places = list(_places(holder))
        home, key = random.choice(places)
        way = random.randrange(6)
        if way < 3:
            home[key] = copy.deepcopy(random.choice(_ODD))
        elif way == 3 and home is not holder:
            del home[key]
        elif way == 4:
            home[key] = copy.deepcopy(_value(random.choice(places)))
        else:
            _add(home[key], random)
    return holder[0]


def rewritten(document: Any, random: Random, encode: Encode = as_json) -> bytes:  # noqa: ANN401 - JSON
    """Encode a changed copy of a document."""
    return encode(changed(document, random))


def misspelt(document: Any, random: Random) -> bytes:  # noqa: ANN401 - JSON
    """Encode a document as JSON with raw bytes in the place of a value or a name."""
    holder = [copy.deepcopy(document)]
    home, key = random.choice(list(_places(holder)))
    if isinstance(home, dict) and random.random() < 0.3:
        home[_MARK] = home[key]
    else:
        home[key] = _MARK
    return as_json(holder[0]).replace(as_json(_MARK), random.choice(_RAW), 1)


def amplified(data: bytes, random: Random, most: int) -> bytes:
    """Repeat a piece of the data until the whole has up to ``most`` bytes."""
    start = random.randrange(len(data) + 1)
    piece = data[start : start + random.choice((1, 1, 2, 3, 8, 40, 200))] or b"["
    count = random.randrange(most // len(piece)) + 1
    if random.random() < 0.3:
        piece = random.choice(
            (b"[", b'{"a":', b"[[],", b'"a",', b'"a":1,', b"1,", b"\\", b"-", b"a", b" ", b"\xc3\xa9")
        )
        count = random.randrange(most // len(piece)) + 1
    return data[:start] + piece * count + data[start:]


def _value(place: tuple[Any, Any]) -> Any:  # noqa: ANN401 - JSON
    return place[0][place[1]]


def _add(value: Any, random: Random) -> None:  # noqa: ANN401 - JSON
    """Add an odd value to a list or an object."""
    if isinstance(value, list):
        value.insert(random.randrange(len(value) + 1), copy.deepcopy(random.choice(_ODD)))
    elif isinstance(value, dict):
        key = random.choice((*_texts(), *map(str, value)))
        value[key] = copy.deepcopy(random.choice(_ODD))


def _texts() -> Sequence[str]:
    return [one for one in _ODD if isinstance(one, str)]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401 - JSON
    """Yield every place of a document where a value stands, as what holds it and its key there."""
    items = list(value.items()) if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield value, key
        yield from _places(item)
