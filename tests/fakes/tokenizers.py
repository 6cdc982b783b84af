"""Tokenizers in which a byte is a token, and a mark of the model is one."""

from __future__ import annotations

import json
import re
from codecs import getincrementaldecoder
from collections.abc import Collection, Sequence

import attrs

from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.tokenizers import Joining

_BYTES = 256


@attrs.define
class FakeJoining:
    """Joins bytes and marks."""

    marks: tuple[str, ...]
    decoder: object = attrs.field(factory=lambda: getincrementaldecoder("utf-8")("replace"))

    def feed(self, token: int) -> str:
        assert hasattr(self.decoder, "decode")
        data = bytes([token]) if token < _BYTES else "".join(self.marks[token - _BYTES :][:1]).encode()
        text: str = self.decoder.decode(data)
        return text

    def rest(self) -> str:
        return ""


@attrs.frozen
class FakeTokenizer:
    """A token for each byte, then one for each mark; ``begin`` is put before a text that is not rendered."""

    marks: tuple[str, ...] = ()
    begin: str = ""

    @property
    def vocabulary(self) -> Collection[str]:
        return (*(f"<0x{byte:02X}>" for byte in range(_BYTES)), *self.marks)

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        whole = text if is_rendered else self.begin + text
        parts = re.split(f"({'|'.join(map(re.escape, self.marks))})", whole) if self.marks else [whole]
        found = list[int]()
        for part in parts:
            found += [_BYTES + self.marks.index(part)] if part in self.marks else part.encode("utf-8", "replace")
        return tuple(found)

    def bytes_of(self, token: int) -> bytes:
        if 0 <= token < _BYTES:
            return bytes([token])
        return "".join(self.marks[max(token, 0) - _BYTES :][:1]).encode() if token > 0 else b""

    def joining(self, after: Sequence[int] = ()) -> Joining:
        del after  # what is a byte is joined alike everywhere
        return FakeJoining(self.marks)


@attrs.frozen
class FakeTokenizers:
    """Fulfils ``ports.tokenizers``: a tokenizer is written down as its marks, and which of them begins a text."""

    def open(self, content: str) -> FakeTokenizer:
        try:
            written = json.loads(content)
            return FakeTokenizer(tuple(map(str, written["marks"])), str(written["begin"]))
        except (ValueError, LookupError, TypeError, RecursionError) as exc:
            msg = f"The tokenizer could not be read: {exc}"
            raise EngineError(msg) from exc
