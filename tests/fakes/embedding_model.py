"""An embedding model without weights: the vector of a text counts its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mlxknife.domain.embedding.values import Pooling
from mlxknife.domain.errors import EngineError

NAN_TOKEN, FAILING_TOKEN = 77, 78
_DOCUMENTS = {"config.json": {"model_type": "bert"}, "sentence_bert_config.json": {"max_seq_length": 8}}


@attrs.define
class FakeEmbeddingModel:
    """Implements ``EmbeddingModel``; a token is the length of a word."""

    documents: Mapping[str, object] = attrs.field(factory=lambda: dict(_DOCUMENTS))
    notes: tuple[str, ...] = ("fake",)
    batches: list[int] = attrs.field(factory=list)
    """The number of rows of each batch."""
    is_closed: bool = False

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        tokens = (1, *map(len, text.split()), 2)
        return (*tokens[: max_tokens - 1], 2) if len(tokens) > max_tokens else tokens, len(tokens) > max_tokens

    def embed(self, rows: Sequence[Sequence[int]], pooling: Pooling) -> Sequence[Sequence[float]]:
        del pooling
        self.batches.append(len(rows))
        if self.is_closed or any(FAILING_TOKEN in row for row in rows):
            msg = "The model failed"
            raise EngineError(msg)
        return [(float("nan"), 1.0) if NAN_TOKEN in row else (float(sum(row)), float(len(row))) for row in rows]

    def close(self) -> None:
        self.is_closed = True
