"""Pairs of a query and a document as tokens."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from mlxknife.adapters.mlx.embedding.model import MAX_CHARACTERS
from mlxknife.domain.errors import EngineError
from mlxknife.domain.reranking.values import EncodedPair, Pair

if TYPE_CHECKING:
    import tokenizers


class PairTokenizer:
    """Turns pairs into tokens. Several threads may use it at once."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Take a tokenizer. From now on, the names of special tokens in a text are text for it."""
        added = tokenizer.get_added_tokens_decoder()
        self._special = {token.content: number for number, token in added.items() if token.special and token.content}
        names = sorted(map(re.escape, self._special), key=len, reverse=True)
        self._names = re.compile(f"({'|'.join(names)})") if names else None
        self._tokenizer = tokenizer
        self._limit = 0
        self._limiting = threading.Lock()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True

    def encode(self, pair: Pair, max_tokens: int) -> EncodedPair:
        """Return the tokens of a pair. Raises EngineError where its prompt leaves no space for it."""
        with self._limiting:
            if self._limit != max_tokens:
                self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
                self._limit = max_tokens
        document, is_cut = self._cut(pair.document, pair.max_document_tokens)
        query = pair.query[:MAX_CHARACTERS]
        if pair.before is None:
            found = self._tokenizer.encode(query, document)
            types = tuple(found.type_ids) if any(found.type_ids) else None
            return EncodedPair(tuple(found.ids), types, is_cut or bool(found.overflowing))
        before, after = self._prompt(pair.before), self._prompt(pair.after)
        space = max_tokens - len(before) - len(after)
        if space < 1:
            msg = f"The model reads {max_tokens} tokens, and its prompt has {len(before) + len(after)}"
            raise EngineError(msg)
        found = self._tokenizer.encode(query + document, add_special_tokens=False)
        is_cut = is_cut or bool(found.overflowing) or len(found.ids) > space
        return EncodedPair((*before, *found.ids[:space], *after), None, is_cut)

    def _cut(self, document: str, most: int | None) -> tuple[str, bool]:
        """Return a document that is no longer than ``most`` tokens, and whether it was cut."""
        text, is_cut = document[:MAX_CHARACTERS], len(document) > MAX_CHARACTERS
        if most is None or most >= self._limit:
            return text, is_cut
        found = self._tokenizer.encode(text, add_special_tokens=False)
        if len(found.ids) <= most:
            return text, is_cut
        return text[: found.offsets[most - 1][1]], True

    def _prompt(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text of ours, in which the names of special tokens are these tokens."""
        found = list[int]()
        for part in [text] if self._names is None else self._names.split(text):
            special = self._special.get(part)
            found += self._tokenizer.encode(part, add_special_tokens=False).ids if special is None else [special]
        return tuple(found)
