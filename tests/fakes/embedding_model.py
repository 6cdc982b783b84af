"""An embedding model without weights: the vector of a text counts its words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from mlxknife.domain.embedding.services.engine import EmbeddingEngine, open_engine
from mlxknife.domain.encoders.values import EmbedderConfig
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.values.snapshot import Location

NAN_TOKEN, FAILING_TOKEN = 77, 78
WIDTH = 2
_DOCUMENTS = {"config.json": {"model_type": "bert", "hidden_size": WIDTH, "num_attention_heads": 1}}
_MAX_TOKENS = {"sentence_bert_config.json": {"max_seq_length": 8}}


@attrs.define
class FakeEmbeddingModel:
    """Implements ``EmbeddingModel``; a token is the length of a word."""

    notes: tuple[str, ...] = ("fake",)
    batch_rows: int = 8
    steps: int = 1
    """How often a batch is to be advanced."""
    batches: list[int] = attrs.field(factory=list)
    """The number of rows of each batch."""
    is_closed: bool = False

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        tokens = (1, *map(len, text.split()), 2)
        return (*tokens[: max_tokens - 1], 2) if len(tokens) > max_tokens else tokens, len(tokens) > max_tokens

    def start(self, rows: Sequence[Sequence[int]]) -> FakeBatch:
        self.batches.append(len(rows))
        if self.is_closed:
            msg = "The model is closed"
            raise EngineError(msg)
        return FakeBatch(rows, self.steps)

    def close(self) -> None:
        self.is_closed = True


@attrs.define
class FakeBatch:
    """Implements ``EmbeddingBatch``."""

    rows: Sequence[Sequence[int]]
    left: int

    def advance(self) -> Sequence[Sequence[float]] | None:
        self.left -= 1
        if any(FAILING_TOKEN in row for row in self.rows):
            msg = "The model failed"
            raise EngineError(msg)
        if self.left > 0:
            return None
        return [(float("nan"), 1.0) if NAN_TOKEN in row else (float(sum(row)), float(len(row))) for row in self.rows]


@attrs.define
class FakeEmbeddingLoader:
    """Implements ``EmbeddingModelLoader``."""

    model: FakeEmbeddingModel = attrs.field(factory=FakeEmbeddingModel)
    files: Mapping[str, object] = attrs.field(factory=lambda: _DOCUMENTS | _MAX_TOKENS)
    header: str = ""

    def documents(self, request: LoadRequest, names: Sequence[str]) -> Mapping[str, object]:
        del request
        return {name: self.files[name] for name in names if name in self.files}

    def card(self, request: LoadRequest) -> str:
        del request
        return self.header

    def load(self, request: LoadRequest, config: EmbedderConfig) -> FakeEmbeddingModel:
        del request, config
        return self.model


def fake_engine(model: FakeEmbeddingModel | None = None) -> EmbeddingEngine:
    """Return an engine with a fake model."""
    return open_engine(FakeEmbeddingLoader(model or FakeEmbeddingModel()), LoadRequest(Location("", ()), "fast"))
