"""A tokenizer with a token for each byte, and one for each special token."""

from __future__ import annotations

import re
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Collection, Mapping, Sequence

import attrs

from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.text import Detokenizer

_BYTES = 256


def _utf8_decoder() -> IncrementalDecoder:
    return getincrementaldecoder("utf-8")("replace")


@attrs.define
class FakeDetokenizer:
    """Fulfils ``ports.engines.text.Detokenizer``."""

    tokenizer: FakeTokenizer
    _decoder: IncrementalDecoder = attrs.field(factory=_utf8_decoder, init=False)

    def feed(self, token: int) -> str:
        if token == self.tokenizer.broken_token:
            msg = "The tokenizer of the model cannot decode its tokens"
            raise EngineError(msg)
        return self._decoder.decode(self.tokenizer.token_bytes(token))

    def finish(self) -> str:
        return ""


@attrs.frozen
class FakeTokenizer:
    """Fulfils ``ports.engines.text.Tokenizer``. A byte is its own token; special tokens follow."""

    special_tokens: tuple[str, ...] = ()
    markup: tuple[str, ...] = ("<think>", "</think>")
    """The special tokens that an answer may contain."""
    begin: str = ""
    """Put before a text that is no rendered chat template."""
    broken_token: int | None = None
    """A token that the detokenizer fails on."""
    broken_text: str | None = None
    """A text that cannot be encoded."""

    @property
    def vocabulary(self) -> Collection[str]:
        return (*(f"<0x{byte:02X}>" for byte in range(_BYTES)), *self.special_tokens)

    @property
    def added_tokens(self) -> Mapping[str, int]:
        return {name: _BYTES + number for number, name in enumerate(self.special_tokens)}

    def mark_control_tokens(self, text: str, mark: str, *, is_answer: bool) -> str:
        for name in self.special_tokens:
            if not (is_answer and name in self.markup):
                text = text.replace(name, f"{name[0]}{mark}{name[1:]}")
        return text

    def encode(self, text: str, *, add_special_tokens: bool, mark: str = "") -> tuple[int, ...]:
        if mark:
            first, *others = text.split(mark)
            tokens = self.encode(first, add_special_tokens=add_special_tokens)
            return sum((self.encode(part, add_special_tokens=False) for part in others), tokens)
        if self.broken_text is not None and self.broken_text in text:
            msg = "The tokenizer of the model cannot encode the text"
            raise EngineError(msg)
        whole = self.begin + text if add_special_tokens else text
        special = self.special_tokens
        parts = re.split(f"({'|'.join(map(re.escape, special))})", whole) if special else [whole]
        encoded = list[int]()
        for part in parts:
            encoded += [_BYTES + special.index(part)] if part in special else part.encode("utf-8", "replace")
        return tuple(encoded)

    def token_bytes(self, token: int) -> bytes:
        if 0 <= token < _BYTES:
            return bytes([token])
        number = token - _BYTES
        return self.special_tokens[number].encode() if 0 <= number < len(self.special_tokens) else b""

    def detokenizer(self, after: Sequence[int] = ()) -> Detokenizer:
        del after  # bytes are joined in the same way everywhere
        return FakeDetokenizer(self)
