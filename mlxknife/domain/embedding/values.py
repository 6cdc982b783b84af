"""Embeddings: what is asked for, and the vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.encoders.values import EmbedderConfig
from mlxknife.domain.engines.values import Accepted, Request


@attrs.frozen
class Embedding:
    """The embedding of one text."""

    index: int
    """Which text of the request."""
    vector: tuple[float, ...]
    """Float32 values; the length of the vector is 1."""
    tokens: int
    """The tokens that the model read."""
    is_truncated: bool = False
    """Whether the text was longer than the model reads."""

    __repr__ = reprs.fields

    @property
    def ends_answer(self) -> bool:
        """Whether the answer has ended: an embedding is a whole one."""
        return True


EmbeddingEvent: TypeAlias = Accepted | Embedding


@attrs.frozen
class EmbeddingRequest(Request[EmbeddingEvent]):
    """Texts to embed."""

    texts: tuple[str | tuple[int, ...], ...]
    """A text may be the token ids of the model's own tokenizer; it gets no prompt and no special tokens then."""
    is_query: bool = False
    """Whether the texts are queries; many models have another prompt for documents."""
    instruction: str | None = None
    """The task of a query, for models that are trained with instructions."""
    allows_truncation: bool = True
    """Whether a text that is longer than the model reads is cut; if not, the request is refused."""
    dimensions: int | None = None
    """The length of the vectors, for models whose vectors may be shortened; None for the full length."""

    @property
    def answer_count(self) -> int:
        """The number of texts."""
        return len(self.texts)


@attrs.frozen
class Dimensions:
    """The lengths that the vectors of a model may have."""

    full: int
    shorter: frozenset[int] | None = frozenset()
    """The shorter lengths that the model is trained for (Matryoshka embeddings); None for every one."""


@attrs.frozen
class EmbeddingSettings:
    """What the files of a model say about its embeddings."""

    model: EmbedderConfig
    dimensions: Dimensions
    max_tokens: int
    """The longest text, special tokens included."""
    prompts: Mapping[str, str] = attrs.field(factory=dict)
    """The texts that go before a text, by name, such as ``query``."""
    default_prompt: str | None = None
    """The name of the prompt for texts that are no queries."""
    lowers_case: bool = False
    """Whether the model is trained on text in lower case only."""
