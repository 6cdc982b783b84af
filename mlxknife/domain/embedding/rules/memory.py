"""The memory that an embedding model needs: its weights in float32, and what one batch computes."""

from __future__ import annotations

from mlxknife.domain.embedding.rules import settings
from mlxknife.domain.encoders.rules import batches
from mlxknife.domain.encoders.values import EncoderConfig
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.snapshot import SnapshotFacts

_FLOAT = 4
_WIDTHS, _HEADS, _INNERS = 6, 3, 3
"""How many arrays of each kind are held at once."""
_SCORES = 64 * 1024 * 1024
"""The bytes of the attention scores, which are computed in parts."""


def needed(facts: SnapshotFacts) -> int:
    """Return the bytes that a model needs; for one that cannot be run, those of its weights."""
    weights = memory.needed(facts, 1).unpacked
    try:
        found = settings.read({name: document.value for name, document in facts.documents.items()})
    except ModelNotRunnable:
        return weights
    return weights + _of_batch(found.model.encoder, found.max_tokens)


def _of_batch(config: EncoderConfig, max_tokens: int) -> int:
    """Return the bytes of the largest batch, or of the longest text."""
    tokens = max(batches.MAX_TOKENS, max_tokens)
    heads = (config.heads + config.kv_heads) * config.head_size
    floats = tokens * (_WIDTHS * config.width + _HEADS * heads) + batches.MAX_TOKENS * _INNERS * config.inner
    return _FLOAT * floats + _SCORES
