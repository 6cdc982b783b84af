"""A model of mlx-lm for a process that does nothing else: its batch, and what the other side must know of it."""

from __future__ import annotations

from mlxknife.adapters.mlx.runtime import cpu
from mlxknife.adapters.mlx.runtime.failures import our_errors
from mlxknife.adapters.mlx.text.model import MlxEngine
from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostedModel

_SHARE_RUNNING = 2
"""What rows that run may take: this part of what the model leaves free."""
_SHARE_REMEMBERED = 8
_MOST_REMEMBERED = 4 * 1024**3
"""What is kept of rows that have ended: this part of it, but no more than so many bytes."""
_SHARE_FREED = 32
_LEAST_FREED = 256 * 1024 * 1024
"""Freed memory that MLX keeps for the next step: this part of it, but no fewer than so many bytes."""


class MlxLoader:
    """Loads as ``MlxEngine`` does, for the batch."""

    def load(self, location: Location, profile: str, free: int) -> tuple[MlxBatches, HostedModel]:
        """See ``Loader.load``."""
        cpu.spare_processors(location.token)
        model = MlxEngine().load(location, profile)
        with our_errors("loaded"):
            import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

            left = max(0, free - mx.get_active_memory())
            mx.set_cache_limit(max(_LEAST_FREED, left // _SHARE_FREED))
            batches = model.batches(min(left // _SHARE_REMEMBERED, _MOST_REMEMBERED), left // _SHARE_RUNNING)
            return batches, HostedModel(
                tokenizer=model.written_tokenizer(),
                vocabulary_size=batches.vocabulary_size,
                chat_template=model.chat_template,
                special_tokens=model.special_tokens,
                can_batch=batches.can_batch,
                notes=model.notes,
            )
