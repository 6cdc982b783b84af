"""The vocabulary of a GGUF file: tokens, token types, special token ids, and SentencePiece merges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

import attrs

from mlxknife.adapters.gguf.header import InvalidGguf
from mlxknife.adapters.gguf.metadata import GgufMetadata

_PREFIX = "tokenizer.ggml"
_ROLES = ("bos", "eos", "unk", "pad")
_KEYS = {"unk": "unknown", "pad": "padding"}
_END_ROLES = ("eos", "eot", "eom")
_END_OF_TURN_TOKENS = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>")
"""The usual end-of-turn tokens, for files without ``eot_token_id``."""
_MAX_PIECE = 512
"""SentencePiece makes no longer pieces. The work for one piece grows with its length."""


class TokenType(IntEnum):
    """The values of ``tokenizer.ggml.token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@attrs.frozen
class Vocabulary:
    """The tokens and their types, in the order of their ids."""

    tokens: tuple[str, ...]
    types: tuple[int, ...]
    special_ids: dict[str, int]
    """The ids of bos, eos, unk and pad, as far as the model has them."""
    end_ids: tuple[int, ...]
    """The ids that end an answer."""

    def special_token(self, role: str) -> str | None:
        """Return the bos, eos, unk or pad token, or None when the model has none."""
        return self.tokens[self.special_ids[role]] if role in self.special_ids else None

    def added_tokens(self) -> Iterator[tuple[str, bool]]:
        """Yield the tokens that a tokenizer matches before it splits the text, each with whether it is special."""
        for token, token_type in zip(self.tokens, self.types, strict=True):
            if token and token_type in (TokenType.UNKNOWN, TokenType.CONTROL, TokenType.USER_DEFINED):
                yield token, token_type != TokenType.USER_DEFINED

    def ids(self) -> dict[str, int]:
        """Return the id of every token."""
        return {token: number for number, token in enumerate(self.tokens)}


def read(metadata: GgufMetadata, embedding_rows: int) -> Vocabulary:
    """Return the vocabulary of a model whose embedding has this many rows. Raises InvalidGguf."""
    tokens = metadata.strings(f"{_PREFIX}.tokens")
    if not tokens:
        msg = "it has no tokens"
        raise InvalidGguf(msg)
    if len(tokens) > embedding_rows:
        msg = f"it has more tokens ({len(tokens)}) than embeddings ({embedding_rows})"
        raise InvalidGguf(msg)
    if len(set(tokens)) != len(tokens):
        msg = "two of its tokens are the same"
        raise InvalidGguf(msg)
    types = metadata.numbers(f"{_PREFIX}.token_type") or (TokenType.NORMAL,) * len(tokens)
    if len(types) != len(tokens):
        msg = f"it has {len(types)} token types for {len(tokens)} tokens"
        raise InvalidGguf(msg)
    special_ids = {role: number for role in _ROLES if (number := _token_id(metadata, role, tokens)) is not None}
    end_ids = [number for role in _END_ROLES if (number := _token_id(metadata, role, tokens)) is not None]
    if metadata.integer(f"{_PREFIX}.eot_token_id") is None:
        usual = (tokens.index(token) for token in _END_OF_TURN_TOKENS if token in tokens)
        end_ids += [number for number in usual if types[number] == TokenType.CONTROL]
    return Vocabulary(tokens, tuple(map(int, types)), special_ids, tuple(dict.fromkeys(end_ids)))


def merges_by_score(scores: Mapping[str, float], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return every pair of pieces that joins to a piece, best score first, in the order of the Llama tokenizer.

    ``scores`` are the scores of the pieces that merging may produce. Raises InvalidGguf for a piece that is too long.
    """
    found: list[tuple[float, int, int, str, str]] = []
    for piece, score in scores.items():
        if len(piece) > _MAX_PIECE:
            msg = f"one of its tokens has {len(piece)} characters"
            raise InvalidGguf(msg)
        pairs = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        joined = sorted(((ids[left], ids[right], left, right) for left, right in pairs if left in ids and right in ids))
        found.extend((score, len(left), len(right), left, right) for _, _, left, right in joined)
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]


def _token_id(metadata: GgufMetadata, role: str, tokens: tuple[str, ...]) -> int | None:
    key = f"{_PREFIX}.{_KEYS.get(role, role)}_token_id"
    number = metadata.integer(key)
    if number is not None and number >= len(tokens):
        msg = f"{key} {number} is not the id of a token"
        raise InvalidGguf(msg)
    return number
