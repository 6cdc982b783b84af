"""The sequential runner: one row at a time, for caches that cannot be batched and for speculative decoding."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import TYPE_CHECKING, Any

import attrs

from mlxknife.adapters.mlx.text import kv_cache
from mlxknife.adapters.mlx.text.runner import RowCache, RowStart, RowToken
from mlxknife.adapters.mlx.text.sampling import Processor
from mlxknife.domain.generation.values.answer import FinishReason

if TYPE_CHECKING:
    import mlx.core as mx

_DRAFT_TOKENS = 3
"""The tokens that a draft model proposes at once; ``mlx_lm.generate`` has the same default."""


@attrs.define(eq=False)
class _CurrentRow:
    id: int
    start: RowStart
    tokens: list[int]
    """The prompt and the answer so far."""
    fed: int
    """The number of tokens that have gone into the model."""
    proposals: Generator[Any] | None = None
    """mlx-lm's speculative decoding, once it has begun."""

    @property
    def is_prefilled(self) -> bool:
        return self.fed >= len(self.start.prompt)


class SequentialRunner:
    """Runs one row in the same steps as a batch would."""

    max_rows = 1

    def __init__(self, model: Any, draft: Any | None, stop_tokens: Collection[int], prefill_chunk: int) -> None:  # noqa: ANN401 - modules of mlx-lm
        """Take a model, a draft model or None, the tokens that end a turn, and the prefill tokens of a step."""
        self._model = model
        self._draft = draft
        self._stop_tokens = frozenset(stop_tokens)
        self._prefill_chunk = prefill_chunk
        self._row: _CurrentRow | None = None

    def start(self, row_id: int, row: RowStart) -> None:
        """See ``Runner.start``."""
        self._row = _CurrentRow(row_id, row, list(row.prompt), row.cached)

    def drop(self, row_id: int) -> RowCache | None:
        """See ``Runner.drop``."""
        row = self._row
        if row is None or row.id != row_id:
            return None
        self._row = None
        if row.proposals is not None:
            row.proposals.close()
            return self._speculative_cache(row)
        return RowCache(tuple(row.tokens[: row.fed]), row.start.layers) if row.is_prefilled else None

    def step(self) -> list[RowToken]:
        """See ``Runner.step``."""
        row = self._row
        if row is None:
            return []
        if self._draft is not None:
            return self._speculative_step(row)
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        ahead = len(row.tokens) - 1 - row.fed
        if ahead > 0:
            self._forward(row, min(ahead, self._prefill_chunk))
            mx.eval([layer.state for layer in row.start.layers])
            return []
        logits = self._forward(row, 1)[:, -1, :]
        if row.start.mask is not None:
            row.start.mask.expect(lambda: row.tokens[-1])
        if row.start.processors:
            context = mx.array(row.tokens)
            for processor in row.start.processors:
                logits = processor(context, logits)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        sampled = row.start.sampler(logprobs)
        mx.eval(sampled, logprobs)
        token: Any = sampled.item()
        return [self._token(row, int(token), logprobs[0])]

    def close(self) -> None:
        """See ``Runner.close``."""
        self._row = None

    def _forward(self, row: _CurrentRow, count: int) -> Any:  # noqa: ANN401 - an array
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        chunk = mx.array([row.tokens[row.fed : row.fed + count]])
        row.fed += count
        logits = self._model(chunk, cache=row.start.layers)
        kv_cache.quantize(row.start.layers, row.start.kv_cache)
        return logits

    def _token(self, row: _CurrentRow, token: int, logprobs: Any) -> RowToken:  # noqa: ANN401 - an array
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        mx.eval(logprobs)
        row.tokens.append(token)
        reason: FinishReason | None = None
        if token in self._stop_tokens:
            reason = FinishReason.STOP
        elif len(row.tokens) - len(row.start.prompt) >= row.start.max_tokens:
            reason = FinishReason.LENGTH
        return RowToken(row.id, token, logprobs, reason, None if reason is None else self.drop(row.id))

    def _speculative_step(self, row: _CurrentRow) -> list[RowToken]:
        if row.proposals is None:
            row.proposals = self._speculative(row.start)
            row.fed = len(row.start.prompt)
        token, logprobs, _ = next(row.proposals)
        return [self._token(row, int(token), logprobs)]

    def _speculative(self, start: RowStart) -> Generator[Any]:
        """Return mlx-lm's generator. It passes only the last prompt token to processors; they get the others here."""
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now
        from mlx_lm.generate import speculative_generate_step  # noqa: PLC0415

        before = mx.array(list(start.prompt[:-1]), dtype=mx.int32)
        steps: Generator[Any] = speculative_generate_step(
            mx.array(start.prompt[start.cached :]),
            self._model,
            self._draft,
            num_draft_tokens=_DRAFT_TOKENS,
            max_tokens=start.max_tokens,
            sampler=start.sampler,
            logits_processors=[_after(before, processor) for processor in start.processors],
            prompt_cache=start.layers,
            prefill_step_size=self._prefill_chunk,
        )
        return steps

    def _speculative_cache(self, row: _CurrentRow) -> RowCache | None:
        """Return the caches of both models, trimmed to the tokens that both hold."""
        count = len(self._model.layers)
        parts = (row.start.layers[:count], row.start.layers[count:])
        held = min(part[0].offset for part in parts)
        if held < len(row.start.prompt):
            return None
        held = min(held, len(row.tokens))
        for part in parts:
            for layer in part:
                layer.trim(layer.offset - held)
        return RowCache(tuple(row.tokens[:held]), row.start.layers)


def _after(before: mx.array, processor: Processor) -> Processor:
    """Return a processor that also gets the tokens before those that it is called with."""
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

    return lambda tokens, logits: processor(mx.concatenate([before, tokens.astype(mx.int32)]), logits)
