"""Choosing tokens row by row: what mlx-lm's batch calls samplers and logits processors.

mlx-lm's own samplers draw from one random state for the whole process, so that a row's text would depend on its
company. A row with a seed draws from a chain of keys of its own here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from mlxknife.domain.generation.values.generation import Sampling
from mlxknife.domain.generation.values.rows import Row

if TYPE_CHECKING:
    import mlx.core as mx

_COLDEST = 1e-5
"""Below it, dividing by the temperature leaves no numbers, and the likeliest token is all there is to choose."""
_REPETITION_REACH = 20

Sampler: TypeAlias = "Callable[[mx.array], mx.array]"
Processor: TypeAlias = "Callable[[mx.array, mx.array], mx.array]"


def sampler(sampling: Sampling, vocabulary: int) -> Sampler:
    """Return what chooses one of so many tokens by the logarithms of their probabilities."""
    from mlx_lm.sample_utils import greedy_sampler  # noqa: PLC0415 - it is loaded by now

    temperature, min_p = sampling.temperature or 0.0, sampling.min_p or 0.0
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    top_k = sampling.top_k or 0
    if temperature < _COLDEST or top_p == 0:
        return greedy_sampler
    if top_k >= vocabulary:
        top_k = 0
    if sampling.seed is None:
        return _shared(temperature, top_p, min_p, top_k)
    return _seeded(sampling.seed, temperature, top_p, min_p, top_k)


@lru_cache(maxsize=64)
def _shared(temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    """Return the same sampler for all rows that may share it: mlx-lm then calls it once for the whole batch."""
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415 - it is loaded by now

    return make_sampler(temperature, top_p, min_p, top_k=top_k)


def _seeded(seed: int, temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    """Return a sampler that draws the same in any company: each token takes the next key of its row's own chain."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p  # noqa: PLC0415

    key = mx.random.key(seed)

    def choose(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        if top_p < 1.0:
            logprobs = apply_top_p(logprobs, top_p)
        if min_p:
            logprobs = apply_min_p(logprobs, min_p)
        if top_k:
            logprobs = apply_top_k(logprobs, top_k)
        return mx.random.categorical(logprobs * (1.0 / temperature), key=now)

    return choose


def processors(row: Row) -> list[Processor]:
    """Return what changes the logits before a token is chosen; each is shown all tokens so far, the prompt's first.

    Repetition looks at the last tokens of prompt and answer, as ``run`` does; the penalties of OpenAI only at the
    answer.
    """
    from mlx_lm.sample_utils import (  # noqa: PLC0415 - it is loaded by now
        make_frequency_penalty,
        make_logits_processors,
        make_presence_penalty,
        make_repetition_penalty,
    )

    made: list[Processor] = list(make_logits_processors(logit_bias=dict(row.logit_bias)))
    if row.sampling.repetition_penalty not in (None, 1.0):
        made.append(make_repetition_penalty(row.sampling.repetition_penalty, _REPETITION_REACH))
    for make, penalty in (
        (make_frequency_penalty, row.frequency_penalty),
        (make_presence_penalty, row.presence_penalty),
    ):
        if penalty:
            made.append(_on_answer(make(penalty, row.max_tokens), len(row.prompt)))
    return made


def _on_answer(penalise: Processor, start: int) -> Processor:
    return lambda tokens, logits: penalise(tokens[start:], logits)
