"""The scheduler: starts rows in order of arrival, runs them in batches or sequentially, and keeps their prefixes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import attrs

from mlxknife.adapters.mlx.runtime.failures import step_error
from mlxknife.adapters.mlx.runtime.numbers import likeliest, number_at
from mlxknife.adapters.mlx.text import kv_cache
from mlxknife.adapters.mlx.text.batched_runner import BatchedRunner
from mlxknife.adapters.mlx.text.grammars import Matcher
from mlxknife.adapters.mlx.text.kv_budget import reserved, shapes
from mlxknife.adapters.mlx.text.prefix_cache import Prefix, PrefixCache
from mlxknife.adapters.mlx.text.runner import RowCache, RowStart, RowToken, Runner
from mlxknife.adapters.mlx.text.sampling import Mask, processors, sampler
from mlxknife.adapters.mlx.text.sequential_runner import SequentialRunner
from mlxknife.domain.errors import EngineError, KnifeError, ValidationError
from mlxknife.domain.generation.values.request import KVCacheOptions
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep
from mlxknife.domain.hints import Hint, HintCode

_FAILURES = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError)
"""What MLX and mlx-lm raise during a step."""
_PLAIN = KVCacheOptions()
_NO_DRAFT = "grammar and draft_model cannot be combined"


@attrs.define(eq=False)
class _Running:
    row: Row
    runner: Runner
    cached: int
    matcher: Matcher | None
    generated: int = 0

    def failure(self, logprob: float) -> KnifeError | None:
        """Return why the row cannot go on after a token with this logprob, or None."""
        if math.isfinite(logprob):
            return None
        return (self.matcher and self.matcher.error) or _nan_error()


class Scheduler:
    """Runs the rows of one model.

    A row runs in the batch if its caches can be batched. Rows with KV cache options, models whose caches cannot be
    batched, and models with a draft model run sequentially.
    """

    def __init__(  # noqa: PLR0913 - the limits of one model
        self,
        model: Any,  # noqa: ANN401 - a module of mlx-lm
        stop_tokens: Collection[int],
        *,
        draft: Any | None = None,  # noqa: ANN401 - a module of mlx-lm
        prefix_bytes: int,
        kv_bytes: int | None = None,
        max_rows: int = 32,
        prefill_chunk: int = 256,
    ) -> None:
        """Take a model and the tokens that end a turn.

        ``prefix_bytes`` limits the prefix cache, ``kv_bytes`` the KV caches of the rows that run in the batch,
        ``max_rows`` their number, and ``prefill_chunk`` the prompt tokens that are prefilled in one step.
        """
        self._model = model
        self._draft = draft
        self.stop_tokens = frozenset(stop_tokens)
        """The tokens that end a turn."""
        self._max_rows = max_rows
        self._prefill_chunk = prefill_chunk
        self._vocabulary_size, self._budget = shapes(model, kv_bytes)
        self._prefixes: PrefixCache[list[Any]] = PrefixCache(prefix_bytes)
        self._can_batch = draft is None and all(map(kv_cache.can_batch, kv_cache.fresh(model, _PLAIN)))
        self._waiting: dict[int, Row] = {}
        self._matchers: dict[int, Matcher] = {}
        """The matchers of the waiting rows that have a grammar."""
        self._running: dict[int, _Running] = {}
        self._batched: Runner | None = None
        self._sequential: Runner | None = None
        self._new_runners()
        self._failure: BaseException | None = None
        """An error of a cancellation; the next step reports it."""

    @property
    def can_batch(self) -> bool:
        """Whether rows without KV cache options run in the batch."""
        return self._can_batch

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens that the model can read."""
        return self._vocabulary_size

    @property
    def prefix_bytes(self) -> int:
        """The size of the prefix cache."""
        return self._prefixes.size

    @property
    def is_idle(self) -> bool:
        """See ``TextModel.is_idle``."""
        return not self._waiting and not self._running

    def add_row(self, row: Row, matcher: Matcher | None = None) -> None:
        """See ``TextModel.add_row``; ``matcher`` is at the start of the row's grammar."""
        self._check_open()
        if row.id in self._waiting or row.id in self._running:
            msg = f"id {row.id} belongs to a row that has not ended"
            raise ValidationError(msg, hint=HintCode.UNIQUE_ROW)
        row.check_vocabulary(self._vocabulary_size)
        if matcher is not None and self._draft is not None:
            raise ValidationError(_NO_DRAFT, hint=Hint(HintCode.OMIT, name="draft_model"))
        if row.kv_cache != _PLAIN:
            kv_cache.check(self._model, row.kv_cache)
        self._waiting[row.id] = row
        if matcher is not None:
            self._matchers[row.id] = matcher

    def cancel_row(self, row_id: int) -> None:
        """See ``TextModel.cancel_row``."""
        self._waiting.pop(row_id, None)
        self._matchers.pop(row_id, None)
        running = self._running.pop(row_id, None)
        if running is None:
            return
        try:
            self._keep([(running.row, running.runner.drop(row_id))])
        except _FAILURES as exc:
            self._failure = exc

    def step(self) -> BatchStep:
        """See ``TextModel.step``."""
        self._check_open()
        if self._failure is not None:
            return self._fail_all(self._failure)
        failed = list[RowError]()
        try:
            for row, runner in self._startable():
                del self._waiting[row.id]
                matcher = self._matchers.pop(row.id, None)
                start = self._start_of(row, matcher)
                if isinstance(start, RowError):
                    failed.append(start)
                    continue
                self._running[row.id] = _Running(row, runner, start.cached, matcher)
                runner.start(row.id, start)
            batch = self._taken([token for runner in self._busy_runners() for token in runner.step()])
        except _FAILURES as exc:
            batch = self._fail_all(exc)
        return attrs.evolve(batch, errors=(*failed, *batch.errors)) if failed else batch

    def close(self) -> None:
        """See ``TextModel.close``."""
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        self._close_runners()
        self._model = self._draft = None
        self._waiting.clear()
        self._matchers.clear()
        self._running.clear()
        self._prefixes.clear()
        mx.clear_cache()

    def _check_open(self) -> None:
        if self._sequential is None:
            msg = "The model is closed"
            raise EngineError(msg, hint=HintCode.REOPEN_MODEL)

    def _new_runners(self) -> None:
        self._sequential = SequentialRunner(self._model, self._draft, self.stop_tokens, self._prefill_chunk)
        if self._can_batch:
            self._batched = BatchedRunner(self._model, self.stop_tokens, self._max_rows, self._prefill_chunk)

    def _close_runners(self) -> None:
        for runner in (self._batched, self._sequential):
            if runner is not None:
                runner.close()
        self._batched = self._sequential = None

    def _busy_runners(self) -> list[Runner]:
        busy = {id(one.runner): one.runner for one in self._running.values()}
        return list(busy.values())

    def _runner_of(self, row: Row) -> Runner:
        runner = self._batched if row.kv_cache == _PLAIN and self._batched is not None else self._sequential
        if runner is None:
            msg = "the runners are closed"
            raise RuntimeError(msg)
        return runner

    def _startable(self) -> Iterable[tuple[Row, Runner]]:
        """Yield the rows that can start now. Of the rows of one runner, none overtakes an earlier one."""
        full = set[int]()
        for row in list(self._waiting.values()):
            runner = self._runner_of(row)
            if id(runner) in full:
                continue
            others = [reserved(one.row, one.generated) for one in self._running.values() if one.runner is runner]
            if len(others) < runner.max_rows and self._budget.fits(row, others):
                yield row, runner
            else:
                full.add(id(runner))

    def _start_of(self, row: Row, matcher: Matcher | None) -> RowStart | RowError:
        """Return all that a row starts with. A failure here costs this row alone: no runner knows of it."""
        try:
            sample, change = sampler(row.sampling, self._vocabulary_size), processors(row)
            mask = None if matcher is None else Mask(matcher)
            if mask is not None:
                change.append(mask)
            cached, layers = self._cached_layers(row)
            return RowStart(row.prompt, cached, layers, row.max_tokens, sample, change, mask, row.kv_cache)
        except Exception as exc:  # noqa: BLE001 - the request gets the error, whatever it is
            return RowError(row.id, step_error(exc))

    def _cached_layers(self, row: Row) -> tuple[int, list[Any]]:
        """Return caches that hold the start of a prompt, and the number of tokens in them.

        If a stored cache fails, all are dropped: the same prompt would fail each time.
        """
        found = self._prefixes.longest(row.prompt, self._variant(row))
        if found is None:
            layers = kv_cache.fresh(self._model, row.kv_cache)
            return 0, layers if self._draft is None else layers + kv_cache.fresh(self._draft, row.kv_cache)
        prefix, cached = found
        try:
            return cached, kv_cache.trimmed_copy(prefix.value, len(prefix.tokens) - cached)
        except Exception:
            self._prefixes.clear()
            raise

    @staticmethod
    def _variant(row: Row) -> KVCacheOptions | None:
        return None if row.kv_cache == _PLAIN else row.kv_cache

    def _taken(self, tokens: list[RowToken]) -> BatchStep:
        """Return the tokens of a step, and keep the caches of the rows that ended."""
        steps, errors, ended = list[RowStep](), list[RowError](), list[tuple[Row, RowCache | None]]()
        for token in tokens:
            running = self._running[token.row]
            running.generated += 1
            logprob = number_at(token.logprobs, token.token)
            failure = running.failure(logprob)
            if failure is not None:
                errors.append(RowError(token.row, failure))
                del self._running[token.row]
                if token.finish_reason is None:
                    running.runner.drop(token.row)
                continue
            steps.append(_row_step(token, running, logprob))
            if token.finish_reason is not None:
                del self._running[token.row]
                ended.append((running.row, token.cache))
        self._keep(ended)
        return BatchStep(tuple(steps), tuple(errors))

    def _keep(self, ended: Iterable[tuple[Row, RowCache | None]]) -> None:
        """Store the caches of rows in the prefix cache, and compute them: else they refer to the whole batch."""
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        stored = list[Any]()
        for row, cache in ended:
            if cache is None:
                continue
            size = sum(layer.nbytes for layer in cache.layers)
            can_trim = all(map(kv_cache.can_trim, cache.layers))
            if self._prefixes.store(Prefix(cache.tokens, cache.layers, size, can_trim, self._variant(row))):
                stored += [layer.state for layer in cache.layers]
        if stored:
            mx.eval(stored)

    def _fail_all(self, exc: BaseException) -> BatchStep:
        """Fail every running row, and start again without prefixes: memory may be what was missing."""
        errors = tuple(RowError(row_id, step_error(exc)) for row_id in self._running)
        self._running.clear()
        self._prefixes.clear()
        self._close_runners()
        self._new_runners()
        self._failure = None
        return BatchStep(errors=errors)


def _row_step(token: RowToken, running: _Running, logprob: float) -> RowStep:
    count = running.row.top_logprobs
    if count is None:
        return RowStep(token.row, token.token, token.finish_reason, cached=running.cached)
    top = tuple(pair for pair in likeliest(token.logprobs, count) if math.isfinite(pair[1]))  # a grammar forbids some
    return RowStep(token.row, token.token, token.finish_reason, logprob, top, running.cached)


def _nan_error() -> EngineError:
    msg = "The model produced NaN logits"
    return EngineError(msg, hint=HintCode.VERIFY_FILES)
