"""Tokenizers as the library writes them down: opened without MLX, used by the process that talks to people."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mlxknife.adapters.mlx.text import tokenizer_bounds
from mlxknife.adapters.mlx.text.detokenizer import DecodedJoining, SpeltJoining
from mlxknife.adapters.mlx.text.spelling import Spelling, spelling
from mlxknife.adapters.mlx.text.token_cache import Marks, Recall
from mlxknife.adapters.mlx.text.tokenizer_failures import our_errors
from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.tokenizers import Joining

if TYPE_CHECKING:
    import tokenizers


class HfTokenizers:
    """Opens tokenizers with the library."""

    def open(self, content: str) -> HfTokenizer:
        """See ``Tokenizers.open``."""
        with our_errors("be read"):
            import tokenizers  # noqa: PLC0415 - only who serves a model needs it

            opened = tokenizers.Tokenizer.from_str(content)
            tokenizer_bounds.check(*map(_parsed, (opened.normalizer, opened.decoder)))
            tokenizer_bounds.check_marks(opened)
            opened.no_truncation()
            opened.no_padding()
            return HfTokenizer(opened, spelling(_parsed(opened.decoder)), opened.get_vocab().keys())


def _parsed(part: Any) -> dict[str, Any] | None:  # noqa: ANN401 - the library's parts have no common type
    """Return a part of a tokenizer as it is written down."""
    return None if part is None else json.loads(part.__getstate__())


class HfTokenizer:
    """A tokenizer. Its tokens are spelt when they are first met, and then known."""

    def __init__(self, opened: tokenizers.Tokenizer, known: Spelling | None, vocabulary: Collection[str]) -> None:
        """Take what the library opened, and how it spells where that is known."""
        self._opened = opened
        self._spelling = known or Spelling()
        self._is_spelt = known is not None
        self._vocabulary = vocabulary
        self._pieces: dict[int, tuple[bytes, str | None]] = {}
        self._rendered = Recall(lambda text: opened.encode(text, add_special_tokens=False), Marks.of(opened))

    @property
    def vocabulary(self) -> Collection[str]:
        """See ``Tokenizer.vocabulary``."""
        return self._vocabulary

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        """See ``Tokenizer.tokens``."""
        clean = text.encode("utf-8", "replace").decode()  # half a character is no text to a tokenizer
        with our_errors("cut a text into tokens"):
            if is_rendered:
                return self._rendered.tokens(clean)
            return tuple(self._opened.encode(clean).ids)

    def bytes_of(self, token: int) -> bytes:
        """See ``Tokenizer.bytes_of``."""
        return self._piece(token)[0]

    def joining(self, after: Sequence[int] = ()) -> Joining:
        """See ``Tokenizer.joining``."""
        if not self._is_spelt:
            return DecodedJoining(self._decoded, after)
        if after:
            return SpeltJoining(self._piece)
        return SpeltJoining(self._piece, self._first, self._spelling.stripped)

    def _piece(self, token: int) -> tuple[bytes, str | None]:
        """Return the bytes of a token, and its text where it is one."""
        try:
            return self._pieces[token]
        except KeyError:
            return self._met(token)

    def _met(self, token: int) -> tuple[bytes, str | None]:
        text = self._text(token)
        if text is None:
            return b"", ""
        data = self._spelling.spelt(text)
        whole: str | None = None
        with suppress(UnicodeDecodeError):
            whole = data.decode()
        self._pieces[token] = data, whole
        return data, whole

    def _first(self, token: int) -> bytes | None:
        """Return the bytes of a token at the start of an answer, or None for a number without a token."""
        text = self._text(token)
        return None if text is None else self._spelling.spelt(text, is_first=True)

    def _text(self, token: int) -> str | None:
        """Return what a token is called, or None for a number without one: models may be wider than it is."""
        try:
            with our_errors("name a token"):
                return self._opened.id_to_token(token)
        except EngineError:
            return None

    def _decoded(self, tokens: list[int]) -> str:
        with our_errors("join tokens"):
            return self._opened.decode(tokens, skip_special_tokens=False)
