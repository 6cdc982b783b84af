"""The vocabulary of a GGUF file: its tokens, which of them are special, and what the tokenizer's settings say."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum

import attrs

from mlxknife.adapters.gguf.header import NotValid
from mlxknife.adapters.gguf.metadata import Metadata

_LIST = "tokenizer.ggml"
_ROLES = ("bos", "eos", "unk", "pad")
_KEYS = {"unk": "unknown", "pad": "padding"}
_ENDS = ("eos", "eot", "eom")
_TURN_ENDS = ("<|eot_id|>", "<|im_end|>", "<end_of_turn>")
"""How the token is called that ends a turn, where a file does not name it."""


class Kind(IntEnum):
    """What a token is for."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@attrs.frozen
class Vocabulary:
    """The tokens in the order of their ids."""

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    roles: dict[str, int]
    """The ids of bos, eos, unk and pad, where there are such."""
    ends: tuple[int, ...]
    """The ids that end an answer."""

    def word(self, role: str) -> str | None:
        """Return the token that has a role."""
        return self.tokens[self.roles[role]] if role in self.roles else None

    def added(self) -> Iterator[tuple[str, bool]]:
        """Yield the tokens that are found in a text before anything else, and whether they are special."""
        for token, kind in zip(self.tokens, self.kinds, strict=True):
            if token and kind in (Kind.UNKNOWN, Kind.CONTROL, Kind.USER_DEFINED):
                yield token, kind != Kind.USER_DEFINED

    def ids(self) -> dict[str, int]:
        """Return the id of every token."""
        return {token: number for number, token in enumerate(self.tokens)}


def read(metadata: Metadata, rows: int) -> Vocabulary:
    """Return the vocabulary of a model whose embedding has so many rows. Raises NotValid."""
    tokens = metadata.texts(f"{_LIST}.tokens")
    if not tokens:
        msg = "it has no tokens"
        raise NotValid(msg)
    if len(tokens) > rows or len(set(tokens)) != len(tokens):
        msg = "it has more tokens than embeddings, or two that are the same"
        raise NotValid(msg)
    kinds = metadata.numbers(f"{_LIST}.token_type") or (Kind.NORMAL,) * len(tokens)
    if len(kinds) != len(tokens):
        msg = "it does not say of every token what it is for"
        raise NotValid(msg)
    roles = {role: number for role in _ROLES if (number := _token(metadata, role, tokens)) is not None}
    named = [number for role in _ENDS if (number := _token(metadata, role, tokens)) is not None]
    if metadata.whole(f"{_LIST}.eot_token_id") is None:
        turn_ends = (token for token in _TURN_ENDS if token in tokens)
        named += [number for number in map(tokens.index, turn_ends) if kinds[number] == Kind.CONTROL]
    return Vocabulary(tokens, tuple(map(int, kinds)), roles, tuple(dict.fromkeys(named)))


def _token(metadata: Metadata, role: str, tokens: tuple[str, ...]) -> int | None:
    key = f"{_LIST}.{_KEYS.get(role, role)}_token_id"
    number = metadata.whole(key)
    if number is not None and number >= len(tokens):
        msg = f"its {key} is no token"
        raise NotValid(msg)
    return number
