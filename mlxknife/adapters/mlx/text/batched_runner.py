"""Rows that run together, in mlx-lm's ``BatchGenerator``."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mlxknife.adapters.mlx.text.runner import Memory, Moved, Start
from mlxknife.domain.generation.values.generation import FinishReason

_READ_TOGETHER = 8
"""How many prompts are read at a time; mlx-lm's own number."""
_ENDINGS = {None: None, "stop": FinishReason.STOP, "length": FinishReason.LENGTH}


class Together:
    """Keeps the pieces of prompts small in sum, which mlx-lm's generator only does for each of them."""

    def __init__(self, model: Any, ends: Collection[int], places: int, piece: int) -> None:  # noqa: ANN401 - mlx-lm's
        """Take a model, the tokens that end a turn, how many rows may run and how many tokens are read in a step."""
        from mlx_lm.generate import BatchGenerator  # noqa: PLC0415 - it is loaded by now

        self._places = places
        self._piece = piece
        self._generator: Any = BatchGenerator(
            model,
            stop_tokens=[[end] for end in ends],
            completion_batch_size=places,
            prefill_batch_size=min(_READ_TOGETHER, places),
            prefill_step_size=piece,
        )
        self._numbers: dict[int, int] = {}
        """mlx-lm's number of each row that runs."""
        self._rows: dict[int, int] = {}
        """And back."""
        self._reading: set[int] = set()
        """The numbers of the rows that have not read their prompt."""

    @property
    def places(self) -> int:
        """See ``Runner.places``."""
        return self._places

    def begin(self, row_id: int, start: Start) -> None:
        """See ``Runner.begin``."""
        (number,) = self._generator.insert(
            [list(start.prompt[start.known :])],
            max_tokens=[start.max_tokens],
            caches=[start.layers],
            all_tokens=[list(start.prompt[: start.known])],
            samplers=[start.sampler],
            logits_processors=[list(start.processors)],
        )
        self._numbers[row_id] = number
        self._rows[number] = row_id
        self._reading.add(number)

    def drop(self, row_id: int) -> Memory | None:
        """See ``Runner.drop``."""
        number = self._numbers.pop(row_id)
        del self._rows[number]
        has_read = number not in self._reading
        self._reading.discard(number)
        left = self._generator.remove([number], return_prompt_caches=has_read)
        if not has_read:
            return None
        layers, tokens = left[number]
        return Memory(tuple(tokens), layers)

    def next(self) -> list[Moved]:
        """See ``Runner.next``."""
        shares = min(len(self._reading), _READ_TOGETHER)
        self._generator.prefill_step_size = max(1, self._piece // max(1, shares))
        read, said = self._generator.next()
        self._reading.difference_update(response.uid for response in read if response.end_of_prompt)
        return [self._moved(response) for response in said]

    def close(self) -> None:
        """See ``Runner.close``."""
        self._generator.close()

    def _moved(self, response: Any) -> Moved:  # noqa: ANN401
        row_id = self._rows[response.uid]
        if response.finish_reason is None:
            return Moved(row_id, response.token, response.logprobs)
        del self._numbers[row_id], self._rows[response.uid]
        memory = Memory(tuple(response.all_tokens), response.prompt_cache)
        return Moved(row_id, response.token, response.logprobs, _ENDINGS[response.finish_reason], memory)
