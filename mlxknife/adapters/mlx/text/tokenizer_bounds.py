"""Bounds on tokenizers: a short file can hold rules that make a text longer without limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlxknife.domain.errors import EngineError

if TYPE_CHECKING:
    import tokenizers

_MAX_GROWTH = 64
"""The factor by which rules may lengthen a text; ``▁`` for a space triples its bytes."""


def check(*parts: Mapping[str, Any] | None) -> None:
    """Raise EngineError for a normalizer or decoder that may lengthen a text too much."""
    for part in parts:
        growth = 1.0
        for rule in _rules(part):
            if rule["type"] == "Prepend":
                growth *= 1 + len(rule["prepend"].encode()) / 16
            if rule["type"] == "Replace":
                old = rule["pattern"].get("String", "").encode()  # a regular expression may match before each character
                new = len(rule["content"].encode())
                growth *= max(1, new / len(old) if old else 1 + new)
            if growth > _MAX_GROWTH:
                msg = "The tokenizer of the model is refused: its rules can lengthen a text without limit"
                raise EngineError(msg)


def check_added_tokens(backend: tokenizers.Tokenizer) -> None:
    """Raise EngineError for an added token that the normalizer empties: the library would find it everywhere."""
    normalizer = backend.normalizer
    if normalizer is None:
        return
    for token in backend.get_added_tokens_decoder().values():
        if token.normalized and not normalizer.normalize_str(token.content):
            msg = "The tokenizer of the model is refused: its normalizer empties one of its tokens"
            raise EngineError(msg)


def _rules(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield the rules of a part, nested ones included."""
    if part is not None:
        yield part
        for inner in (*part.get("decoders", ()), *part.get("normalizers", ())):
            yield from _rules(inner)
