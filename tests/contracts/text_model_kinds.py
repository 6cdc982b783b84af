"""Every kind of text model: the fake, and the parrot in every way that rows can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from mlxknife.adapters.mlx.text import tokenizer
from mlxknife.adapters.mlx.text.model import MlxTextModel
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import Row
from mlxknife.ports.engines.text import TextModel
from tests.fakes.text_model import fake_parrot
from tests.parrot import parrot_folder
from tests.parrot.tokens import TEMPLATE
from tests.parrot_rows import END_TOKEN, NAN_TOKEN, WrappedModel, mixed_rows, parrot_model

PREFILL_CHUNK = 32
_PLAIN = KVCacheOptions()
_LIMITED = KVCacheOptions(max_size=2048)


def _fake(max_rows: int, *, can_batch: bool = True) -> TextModel:
    return attrs.evolve(
        fake_parrot(),
        can_batch=can_batch,
        max_rows=max_rows,
        prefill_chunk=PREFILL_CHUNK,
        failing_token=NAN_TOKEN,
    )


def _real(max_rows: int, *, layer: Callable[[], Any] | None = None, draft: object | None = None) -> TextModel:
    scheduler = Scheduler(
        WrappedModel(parrot_model(), layer, gives_nan=True),
        {END_TOKEN},
        draft=draft,
        prefix_bytes=2**26,
        max_rows=max_rows,
        prefill_chunk=PREFILL_CHUNK,
    )
    return MlxTextModel(scheduler, tokenizer.load(parrot_folder()), TEMPLATE, ("real",))


def _unbatchable(max_rows: int) -> TextModel:
    from mlx_lm.models.cache import ConcatenateKVCache  # noqa: PLC0415 - MLX comes after the BLAS

    return _real(max_rows, layer=ConcatenateKVCache)


def _with_draft(max_rows: int) -> TextModel:
    return _real(max_rows, draft=WrappedModel(parrot_model()))


@attrs.frozen
class Kind:
    """A kind of text model, and the KV cache options of its rows."""

    open: Callable[[int], TextModel]
    """Takes the largest number of rows that run at once."""
    is_batched: bool
    kv_cache: KVCacheOptions = _PLAIN
    reuses_parts: bool = True
    """Whether the KV cache of a row also serves a prompt that continues in another way."""
    uncached: int = 1
    """The largest number of tokens at the end of an answer that the KV cache does not hold."""

    def row(self, row_id: int, prompt: tuple[int, ...], max_tokens: int, **options: Any) -> Row:  # noqa: ANN401
        return Row(row_id, prompt, max_tokens, kv_cache=self.kv_cache, **options)

    def mixed_rows(self) -> list[Row]:
        return [attrs.evolve(row, kv_cache=self.kv_cache) for row in mixed_rows()]


KINDS = {
    "fake": Kind(_fake, is_batched=True),
    "fake, sequential": Kind(lambda max_rows: _fake(max_rows, can_batch=False), is_batched=False),
    "fake, max_kv_size": Kind(_fake, is_batched=False, kv_cache=_LIMITED),
    "batched": Kind(_real, is_batched=True),
    "sequential": Kind(_unbatchable, is_batched=False, reuses_parts=False),
    "max_kv_size": Kind(_real, is_batched=False, kv_cache=_LIMITED),
    "draft model": Kind(_with_draft, is_batched=False, uncached=4),
}
