"""Many answers with one model at a time: continuous batching over mlx-lm."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable
from typing import Any

import attrs

from mlxknife.adapters.mlx.runtime.numbers import likeliest, number_at
from mlxknife.adapters.mlx.text.batched_runner import Together
from mlxknife.adapters.mlx.text.kv_budget import Appetite
from mlxknife.adapters.mlx.text.prefix_cache import Prefix, Prefixes
from mlxknife.adapters.mlx.text.runner import Memory, Moved, Runner, Start
from mlxknife.adapters.mlx.text.sampling import processors, sampler
from mlxknife.adapters.mlx.text.sequential_runner import OneByOne
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep
from mlxknife.domain.hints import HintCode

_FAILURES = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError)
"""What MLX and mlx-lm raise in the middle of their work."""


@attrs.frozen(eq=False)
class _Running:
    row: Row
    cached: int


class MlxBatches:
    """See ``Batches``. Rows run in ``Together`` where the caches of the model allow it, or else ``OneByOne``."""

    def __init__(
        self,
        model: Any,  # noqa: ANN401 - a module of mlx-lm
        ends: Collection[int],
        *,
        budget: int,
        room: int | None = None,
        places: int = 32,
        piece: int = 256,
    ) -> None:
        """Take a model, the tokens that end a turn, and how many bytes may be kept of rows that have ended.

        ``room`` is how many bytes rows that run may take together, as far as that can be foreseen.
        ``places`` is how many rows run at a time, ``piece`` how many tokens of prompts are read in a step.
        """
        self._model = model
        self._ends = frozenset(ends)
        self._places = places
        self._piece = piece
        self._room = room
        self._vocabulary, self._appetite = _shapes(model)
        self._prefixes: Prefixes[list[Any]] = Prefixes(budget)
        self._can_batch = all(_goes_side_by_side(layer) for layer in _fresh_layers(model))
        self._waiting: dict[int, Row] = {}
        self._running: dict[int, _Running] = {}
        self._runner: Runner | None = self._new_runner()
        self._failure: BaseException | None = None
        """What happened where it could not be told; the next step does."""

    @property
    def can_batch(self) -> bool:
        """See ``Batches.can_batch``."""
        return self._can_batch

    @property
    def is_idle(self) -> bool:
        """See ``Batches.is_idle``."""
        return not self._waiting and not self._running

    @property
    def vocabulary_size(self) -> int:
        """How many tokens the model tells apart; its tokenizer may have names for fewer."""
        return self._vocabulary

    @property
    def remembered(self) -> int:
        """How many bytes are kept of rows that have ended."""
        return self._prefixes.size

    def admit(self, row: Row) -> None:
        """See ``Batches.admit``."""
        self._open_runner()
        if row.id in self._waiting or row.id in self._running:
            msg = f"id {row.id} belongs to a row that has not ended"
            raise ValidationError(msg, hint=HintCode.UNIQUE_ROW)
        row.check_vocabulary(self._vocabulary)
        self._waiting[row.id] = row

    def cancel(self, row_id: int) -> None:
        """See ``Batches.cancel``."""
        self._waiting.pop(row_id, None)
        if self._running.pop(row_id, None) is None or self._runner is None:
            return
        try:
            self._keep([self._runner.drop(row_id)])
        except _FAILURES as exc:
            self._failure = exc

    def step(self) -> BatchStep:
        """See ``Batches.step``."""
        runner = self._open_runner()
        if self._failure is not None:
            return self._gave_up(self._failure)
        failed = list[RowError]()
        try:
            while self._waiting and len(self._running) < runner.places and self._has_room():
                row = self._waiting.pop(next(iter(self._waiting)))
                start = self._start_of(row)
                if isinstance(start, RowError):
                    failed.append(start)
                    continue
                self._running[row.id] = _Running(row, start.known)
                runner.begin(row.id, start)
            told = self._told(runner, runner.next()) if self._running else BatchStep()
        except _FAILURES as exc:
            told = self._gave_up(exc)
        return attrs.evolve(told, errors=(*failed, *told.errors)) if failed else told

    def close(self) -> None:
        """See ``Batches.close``."""
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        if self._runner is not None:
            self._runner.close()
        self._runner = self._model = None
        self._waiting.clear()
        self._running.clear()
        self._prefixes.clear()
        mx.clear_cache()

    def _open_runner(self) -> Runner:
        if self._runner is None:
            msg = "The model is closed"
            raise EngineError(msg, hint=HintCode.REOPEN_MODEL)
        return self._runner

    def _new_runner(self) -> Runner:
        if self._can_batch:
            return Together(self._model, self._ends, self._places, self._piece)
        return OneByOne(self._model, self._ends, self._piece)

    def _has_room(self) -> bool:
        """Whether the row that waits for longest can begin beside those that run."""
        row = next(iter(self._waiting.values()))
        return self._appetite.fits(row, [one.row for one in self._running.values()], self._room)

    def _start_of(self, row: Row) -> Start | RowError:
        """Return all that a row begins with. Where that fails, the runner knows nothing of it, and no other fails."""
        try:
            choose, change = sampler(row.sampling, self._vocabulary), processors(row)
            known, layers = self._remembered_layers(row.prompt)
            return Start(row.prompt, known, layers, row.max_tokens, choose, change)
        except Exception as exc:  # noqa: BLE001 - whatever it is, whoever asked for the row is told
            return RowError(row.id, _gave_up(exc))

    def _remembered_layers(self, prompt: tuple[int, ...]) -> tuple[int, list[Any]]:
        """Return caches that have read the head of a prompt, and how much of it.

        Where those that were kept fail, all are forgotten, or whoever asks the same again would fail for ever.
        """
        found = self._prefixes.longest(prompt)
        if found is None:
            return 0, _fresh_layers(self._model)
        prefix, known = found
        try:
            return known, _up_to(known, prefix)
        except Exception:
            self._prefixes.clear()
            raise

    def _told(self, runner: Runner, moves: list[Moved]) -> BatchStep:
        steps, errors, left = list[RowStep](), list[RowError](), list[Memory | None]()
        for moved in moves:
            running = self._running[moved.row]
            likelihood = number_at(moved.logprobs, moved.token)
            if not math.isfinite(likelihood):
                errors.append(RowError(moved.row, _no_numbers()))
                del self._running[moved.row]
                if moved.ended is None:
                    runner.drop(moved.row)
                continue
            steps.append(_row_step(moved, running, likelihood))
            if moved.ended is not None:
                del self._running[moved.row]
                left.append(moved.memory)
        self._keep(left)
        return BatchStep(tuple(steps), tuple(errors))

    def _keep(self, left: Iterable[Memory | None]) -> None:
        """Remember what rows leave, and compute it: until then it holds on to the caches of the whole batch."""
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        kept = list[Any]()
        for memory in left:
            if memory is not None:
                size = sum(layer.nbytes for layer in memory.layers)
                can_be_cut = all(_can_be_cut(layer) for layer in memory.layers)
                if self._prefixes.keep(Prefix(memory.tokens, memory.layers, size, can_be_cut)):
                    kept += [layer.state for layer in memory.layers]
        if kept:
            mx.eval(kept)

    def _gave_up(self, exc: BaseException) -> BatchStep:
        """Tell every row that had begun, and begin anew with nothing remembered: memory may be what was missing."""
        errors = tuple(RowError(row_id, _gave_up(exc)) for row_id in self._running)
        self._running.clear()
        self._prefixes.clear()
        if self._runner is not None:
            self._runner.close()
        self._runner, self._failure = self._new_runner(), None
        return BatchStep(errors=errors)


def _row_step(moved: Moved, running: _Running, likelihood: float) -> RowStep:
    count = running.row.top_logprobs
    if count is None:
        return RowStep(moved.row, moved.token, moved.ended, cached=running.cached)
    top = likeliest(moved.logprobs, count)
    return RowStep(moved.row, moved.token, moved.ended, likelihood, top, running.cached)


def _fresh_layers(model: Any) -> list[Any]:  # noqa: ANN401
    from mlx_lm.models.cache import make_prompt_cache  # noqa: PLC0415 - it is loaded by now

    layers: list[Any] = make_prompt_cache(model)
    return layers


def _up_to(known: int, prefix: Prefix[list[Any]]) -> list[Any]:
    """Return caches of one's own that have read the first tokens of a prefix."""
    layers = copy.deepcopy(prefix.value)  # arrays are shared until one of them is written to
    surplus = len(prefix.tokens) - known
    if surplus:
        for layer in layers:
            layer.trim(surplus)
    return layers


def _shapes(model: Any) -> tuple[int, Appetite]:  # noqa: ANN401
    """Return how many tokens a model knows, and what it remembers of one; both are shapes, and nothing is computed."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

    layers = _fresh_layers(model)
    vocabulary = int(model(mx.array([[0]]), cache=layers).shape[-1])
    return vocabulary, Appetite.of(layers)


def _goes_side_by_side(layer: Any) -> bool:  # noqa: ANN401
    """Whether a cache can be a row of a batch; a list of caches says yes for parts that cannot."""
    parts = getattr(layer, "caches", None)
    if parts is not None:
        return all(_goes_side_by_side(part) for part in parts)
    return hasattr(layer, "merge") and not getattr(layer, "keep", 0)  # in a batch nothing is kept at the head


def _can_be_cut(layer: Any) -> bool:  # noqa: ANN401
    """Whether a cache can go back; of those that say so, not all can."""
    parts = getattr(layer, "caches", None)
    if parts is not None:
        return all(_can_be_cut(part) for part in parts)
    return type(layer).__name__ in ("KVCache", "RotatingKVCache") and bool(layer.is_trimmable())


def _no_numbers() -> EngineError:
    msg = "The model could not be run: it gave no numbers to choose a token by"
    return EngineError(msg, hint=HintCode.VERIFY_FILES)


def _gave_up(exc: BaseException) -> EngineError:
    error = EngineError(f"The model could not be run: {exc}", hint=HintCode.DEBUG)
    error.__cause__ = exc
    return error
