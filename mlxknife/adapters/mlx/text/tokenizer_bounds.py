"""Rules of a tokenizer that would blow up a text: a short file can ask for one of any length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlxknife.domain.errors import EngineError

if TYPE_CHECKING:
    import tokenizers

_MOST = 64
"""How many times longer than it was a text may become by replacing; ``▁`` for a space is three times."""


def check(*parts: Mapping[str, Any] | None) -> None:
    """Raise EngineError for a part that may make a text too long."""
    for part in parts:
        growth = 1.0
        for rule in _rules(part):
            if rule["type"] == "Prepend":
                growth *= 1 + len(rule["prepend"].encode()) / 16
            if rule["type"] == "Replace":
                old = rule["pattern"].get("String", "").encode()  # a pattern may find nothing, before each letter
                growth *= max(1, len(rule["content"].encode()) / len(old) if old else 1 + len(rule["content"].encode()))
            if growth > _MOST:
                msg = "The tokenizer of the model could not be read: it makes texts too long"
                raise EngineError(msg)


def check_marks(opened: tokenizers.Tokenizer) -> None:
    """Raise EngineError for a token that its own normalizer leaves nothing of: the library finds it everywhere."""
    normalizer = opened.normalizer
    if normalizer is None:
        return
    for token in opened.get_added_tokens_decoder().values():
        if token.normalized and not normalizer.normalize_str(token.content):
            msg = "The tokenizer of the model could not be read: it has a token of no letters"
            raise EngineError(msg)


def _rules(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the rules of a part, however they stand in one another."""
    if part is not None:
        yield part
        for inner in (*part.get("decoders", ()), *part.get("normalizers", ())):
            yield from _rules(inner)
