"""A model of mlx-lm for a process that does nothing else: its batch, and what the other side must know of it."""

from __future__ import annotations

from mlxknife.adapters.mlx import cpu
from mlxknife.adapters.mlx.batching import MlxBatches
from mlxknife.adapters.mlx.failures import our_errors
from mlxknife.adapters.mlx.text import MlxEngine
from mlxknife.domain.model.hosting import HostedModel
from mlxknife.domain.model.snapshot import Location

_LEAST_SPARE = 256 * 1024 * 1024
"""Bytes of freed memory that MLX may keep for the next step, however little prompts may take."""


class MlxLoader:
    """Loads as ``MlxEngine`` does, for the batch."""

    def load(self, location: Location, profile: str, remembered: int) -> tuple[MlxBatches, HostedModel]:
        """See ``Loader.load``."""
        cpu.spare_processors(location.token)
        model = MlxEngine().load(location, profile)
        with our_errors("loaded"):
            import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

            mx.set_cache_limit(max(_LEAST_SPARE, remembered))
            batches = model.batches(remembered)
            return batches, HostedModel(
                tokenizer=model.written_tokenizer(),
                vocabulary_size=batches.vocabulary_size,
                chat_template=model.chat_template,
                special_tokens=model.special_tokens,
                can_batch=batches.can_batch,
                notes=model.notes,
            )
