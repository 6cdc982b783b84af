"""The batched runner: rows that decode together in mlx-lm's ``BatchGenerator``."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from mlxknife.adapters.mlx.text.runner import RowCache, RowStart, RowToken
from mlxknife.adapters.mlx.text.sampling import Mask
from mlxknife.domain.generation.values.answer import FinishReason

_MAX_PREFILLING = 8
"""The number of prompts that are prefilled at once; mlx-lm's own default."""
_FINISH_REASONS = {None: None, "stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class BatchedRunner:
    """Limits the prefill of one step over all prompts; mlx-lm's generator limits it for each prompt."""

    def __init__(self, model: Any, stop_tokens: Collection[int], max_rows: int, prefill_chunk: int) -> None:  # noqa: ANN401 - mlx-lm's
        """Take a model, the tokens that end a turn, the largest number of rows, and the prefill tokens of a step."""
        from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - mlx-lm is loaded by now

        self._max_rows = max_rows
        self._prefill_chunk = prefill_chunk
        self._generator: Any = BatchGenerator(
            model,
            stop_tokens=[[token] for token in stop_tokens],
            completion_batch_size=max_rows,
            prefill_batch_size=min(_MAX_PREFILLING, max_rows),
            prefill_step_size=prefill_chunk,
        )
        self._uids: dict[int, int] = {}
        """mlx-lm's id of each running row."""
        self._rows: dict[int, int] = {}
        """The row of each of mlx-lm's ids."""
        self._prefilling: set[int] = set()
        """mlx-lm's ids of the rows whose prompt is not prefilled yet."""
        self._masks: dict[int, Mask] = {}
        """The masks of the rows that have a grammar, by mlx-lm's ids."""

    @property
    def max_rows(self) -> int:
        """See ``Runner.max_rows``."""
        return self._max_rows

    def start(self, row_id: int, row: RowStart) -> None:
        """See ``Runner.start``."""
        (uid,) = self._generator.insert(
            [list(row.prompt[row.cached :])],
            max_tokens=[row.max_tokens],
            caches=[row.layers],
            all_tokens=[list(row.prompt[: row.cached])],
            samplers=[row.sampler],
            logits_processors=[list(row.processors)],
        )
        self._uids[row_id] = uid
        self._rows[uid] = row_id
        self._prefilling.add(uid)
        if row.mask is not None:
            self._masks[uid] = row.mask

    def drop(self, row_id: int) -> RowCache | None:
        """See ``Runner.drop``."""
        uid = self._uids.pop(row_id)
        del self._rows[uid]
        self._masks.pop(uid, None)
        is_prefilled = uid not in self._prefilling
        self._prefilling.discard(uid)
        removed = self._generator.remove([uid], return_prompt_caches=is_prefilled)
        if not is_prefilled:
            return None
        layers, tokens = removed[uid]
        return RowCache(tuple(tokens), layers)

    def step(self) -> list[RowToken]:
        """See ``Runner.step``."""
        prompts = min(len(self._prefilling), _MAX_PREFILLING)
        self._generator.prefill_step_size = max(1, self._prefill_chunk // max(1, prompts))
        if self._masks:
            self._announce_tokens()
        prefilled, decoded = self._generator.next()
        self._prefilling.difference_update(response.uid for response in prefilled if response.end_of_prompt)
        return [self._token(response) for response in decoded]

    def close(self) -> None:
        """See ``Runner.close``."""
        self._generator.close()

    def _announce_tokens(self) -> None:
        """Tell each mask where its next token will be: the array is computed already, or will be before the others.

        mlx-lm gives processors an array that is computed after the logits, so a mask that read it would wait for them.
        """
        batch = self._generator._generation_batch  # noqa: SLF001 - mlx-lm has no public name for it
        tokens = batch._next_tokens  # noqa: SLF001
        held = [(place, self._masks[uid]) for place, uid in enumerate(batch.uids) if uid in self._masks]
        for number, (place, mask) in enumerate(held):
            mask.expect(partial(_read, tokens, place), is_first=number == 0)

    def _token(self, response: Any) -> RowToken:  # noqa: ANN401
        row_id = self._rows[response.uid]
        if response.finish_reason is None:
            return RowToken(row_id, response.token, response.logprobs)
        del self._uids[row_id], self._rows[response.uid]
        self._masks.pop(response.uid, None)
        cache = RowCache(tuple(response.all_tokens), response.prompt_cache)
        return RowToken(row_id, response.token, response.logprobs, _FINISH_REASONS[response.finish_reason], cache)


def _read(tokens: Any, place: int) -> int:  # noqa: ANN401 - an array of MLX
    """Return one token. A view of the memory waits for this array alone, not for the step that is running."""
    return int(memoryview(tokens)[place])
