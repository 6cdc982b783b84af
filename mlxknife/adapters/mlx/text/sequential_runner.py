"""Rows that run one after the other, for models whose caches cannot be put side by side."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from mlxknife.adapters.mlx.text.runner import Memory, Moved, Start
from mlxknife.domain.generation.values.generation import FinishReason


class OneByOne:
    """Runs one row, in the same steps as a batch would."""

    places = 1

    def __init__(self, model: Any, ends: Collection[int], piece: int) -> None:  # noqa: ANN401 - a module of mlx-lm
        """Take a model, the tokens that end a turn, and how many tokens of a prompt are read in a step."""
        self._model = model
        self._ends = frozenset(ends)
        self._piece = piece
        self._row_id: int | None = None
        self._start: Start | None = None
        self._tokens: list[int] = []
        """The prompt and what was said."""
        self._read = 0
        """How many of them went into the model."""

    def begin(self, row_id: int, start: Start) -> None:
        """See ``Runner.begin``."""
        self._row_id, self._start, self._tokens, self._read = row_id, start, list(start.prompt), start.known

    def drop(self, row_id: int) -> Memory | None:
        """See ``Runner.drop``."""
        start = self._start
        if row_id != self._row_id or start is None:
            return None
        self._row_id = self._start = None
        return Memory(tuple(self._tokens[: self._read]), start.layers) if self._read >= len(start.prompt) else None

    def next(self) -> list[Moved]:
        """See ``Runner.next``."""
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        row_id, start = self._row_id, self._start
        if row_id is None or start is None:
            return []
        ahead = len(self._tokens) - 1 - self._read
        if ahead > 0:
            self._forward(start, min(ahead, self._piece))
            mx.eval([layer.state for layer in start.layers])
            return []
        logits = self._forward(start, 1)[:, -1, :]
        if start.processors:
            context = mx.array(self._tokens)
            for processor in start.processors:
                logits = processor(context, logits)
        logprobs = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        chosen: Any = start.sampler(logprobs).item()
        token = int(chosen)
        self._tokens.append(token)
        ended = self._ending(token, start)
        memory = None if ended is None else self.drop(row_id)
        mx.eval(logprobs)
        return [Moved(row_id, token, logprobs[0], ended, memory)]

    def close(self) -> None:
        """See ``Runner.close``."""
        self._row_id = self._start = None

    def _forward(self, start: Start, count: int) -> Any:  # noqa: ANN401 - an array
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        piece = mx.array([self._tokens[self._read : self._read + count]])
        self._read += count
        return self._model(piece, cache=start.layers)

    def _ending(self, token: int, start: Start) -> FinishReason | None:
        if token in self._ends:
            return FinishReason.STOP
        return FinishReason.LENGTH if len(self._tokens) - len(start.prompt) >= start.max_tokens else None
