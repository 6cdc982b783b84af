"""Parrots in a batch: the model by itself, what it is asked, and what it says, as tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import attrs

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import SamplingParameters as Sampling
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowStep

Batches = Any
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, ECHO, GREETING, JSON, LONG, REASONING, STOP
from tests.parrot.tokens import END, build_tokenizer

_TOKENIZER = build_tokenizer()
END_TOKEN = int(_TOKENIZER.encode(END).ids[0])
POISON = 250
"""A token that makes a poisoned parrot fall silent; no text has it."""


def tokens(text: str) -> tuple[int, ...]:
    return tuple(_TOKENIZER.encode(text).ids)


def asked(question: str) -> tuple[int, ...]:
    """Return a question as the template puts it."""
    return tokens(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")


def answer(question: str) -> tuple[int, ...]:
    """Return what is said to a question, with what ends the turn."""
    return (*tokens(ANSWERS[question]), END_TOKEN)


@cache
def parrot() -> Any:  # noqa: ANN401 - a module of mlx-lm
    """Return the model of mlx-lm, loaded once."""
    load_fast_blas()
    from mlx_lm.utils import load_model  # noqa: PLC0415 - MLX comes after the BLAS

    return load_model(parrot_folder())[0]


@attrs.define
class Wrapped:
    """A model with other caches, or with something that happens at each call."""

    model: Any
    layer: Callable[[], Any] | None = None
    """Makes the cache of a layer."""
    is_poisoned: bool = False
    failure: Exception | None = None
    """Raised once, at the next call that reads."""
    sizes: list[int] = attrs.field(factory=list)
    """How many tokens were read in each call, those that pad rows counted."""

    @property
    def layers(self) -> Any:  # noqa: ANN401
        return self.model.layers

    def make_cache(self) -> list[Any]:
        from mlx_lm.models.cache import KVCache  # noqa: PLC0415 - MLX comes after the BLAS

        return [(self.layer or KVCache)() for _ in self.model.layers]

    def __call__(self, inputs: Any, cache: Any = None) -> Any:  # noqa: ANN401
        import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

        self.sizes.append(inputs.size)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        logits = self.model(inputs, cache=cache)
        if not self.is_poisoned:
            return logits
        return mx.where((inputs[:, -1:] == POISON)[..., None], mx.array(mx.nan), logits)


def mixed() -> list[Row]:
    """Return eight rows of all kinds, numbered from 0."""
    chance = Sampling(temperature=1.5, seed=7)
    narrow = Sampling(temperature=2.0, top_p=0.9, top_k=20, min_p=0.01, seed=3)
    rows = (
        Row(0, asked(CAPITAL), 500),
        Row(1, asked(GREETING), 40, chance),
        Row(2, asked(LONG), 60, frequency_penalty=1.5),
        Row(3, asked(REASONING), 50, presence_penalty=2.0),
        Row(4, asked(STOP), 30, logit_bias=((101, 50.0), (3, -100.0))),
        Row(5, asked(JSON), 500, top_logprobs=3),
        Row(6, asked(CODE), 70, narrow),
        Row(7, asked(ECHO), 90, Sampling(repetition_penalty=1.3)),
    )
    return list(rows)


@attrs.define
class Told:
    """What was told of rows until now."""

    steps: dict[int, list[RowStep]] = attrs.field(factory=dict)
    errors: dict[int, str] = attrs.field(factory=dict)

    def add(self, step: BatchStep) -> BatchStep:
        for one in step.steps:
            assert one.row not in self.errors
            assert self.ended(one.row) is None
            self.steps.setdefault(one.row, []).append(one)
        for error in step.errors:
            assert error.row not in self.errors
            self.errors[error.row] = error.error.message
        return step

    def tokens(self, row: int) -> tuple[int, ...]:
        return tuple(step.token for step in self.steps.get(row, ()))

    def ended(self, row: int) -> FinishReason | None:
        steps = self.steps.get(row)
        return steps[-1].ended if steps else None

    def cached(self, row: int) -> int:
        (count,) = {step.cached for step in self.steps[row]}
        return count


def run(batches: Batches, rows: Iterable[Row] = ()) -> Told:
    """Admit rows, and step until nothing is left to do."""
    told = Told()
    for row in rows:
        batches.admit(row)
    while not batches.is_idle:
        told.add(batches.step())
    return told
