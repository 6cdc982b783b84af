"""A reranker without weights: the logit of a document is the number of words that it shares with the query."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.domain.encoders.values import EncoderConfig, Family, Pooling, RerankerConfig
from mlxknife.domain.errors import EngineError
from mlxknife.domain.reranking.values import EncodedPair, Pair, RerankerSettings

NAN_WORD, FAILING_WORD = "nan", "fails"
SETTINGS = RerankerSettings(
    RerankerConfig(EncoderConfig(Family.BERT, 100, 4, 4, 1, 1, 1, 4, 16, 1e-12, "gelu", 0.5), Pooling.CLS, "tanh"),
    max_tokens=12,
)


@attrs.define
class FakeRerankingModel:
    """Implements ``RerankingModel``; a token is a word, and its number is its place among the words seen so far."""

    notes: tuple[str, ...] = ("fake",)
    batch_rows: int = 4
    batches: list[int] = attrs.field(factory=list)
    """The number of pairs of each batch."""
    is_closed: bool = False
    _words: list[str] = attrs.field(factory=lambda: ["", NAN_WORD, FAILING_WORD])

    def encode(self, pair: Pair, max_tokens: int) -> EncodedPair:
        document = pair.document.split()
        cut = document[: pair.max_document_tokens]
        texts = ((pair.before or "").split(), pair.query.split(), [""], cut, pair.after.split())
        tokens = [self._token(word) for text in texts for word in text]
        types = [int(number > len(texts[1])) for number in range(len(tokens))]
        is_truncated = len(tokens) > max_tokens or len(cut) < len(document)
        return EncodedPair(tuple(tokens[:max_tokens]), tuple(types[:max_tokens]), is_truncated)

    def start(self, rows: Sequence[EncodedPair]) -> FakeBatch:
        if self.is_closed:
            msg = "The model is closed"
            raise EngineError(msg)
        self.batches.append(len(rows))
        return FakeBatch([row.tokens for row in rows])

    def close(self) -> None:
        self.is_closed = True

    def _token(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)


@attrs.define
class FakeBatch:
    """Needs two steps."""

    rows: Sequence[Sequence[int]]
    steps: int = 0

    def advance(self) -> Sequence[float] | None:
        self.steps += 1
        if self.steps == 1:
            return None
        if any(2 in row for row in self.rows):
            msg = "The model failed"
            raise EngineError(msg)
        return [_logit(row) for row in self.rows]


def _logit(row: Sequence[int]) -> float:
    middle = row.index(0) if 0 in row else len(row)
    return float("nan") if 1 in row else float(len(set(row[:middle]) & set(row[middle + 1 :])))
