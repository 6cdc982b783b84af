"""Samplers and logits processors of one row.

mlx-lm's samplers draw from one random state of the whole process, so that the tokens of a row would depend on the other
rows. A row with a seed draws from its own chain of keys here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from mlxknife.adapters.mlx.text.grammars import Matcher
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.generation.values.rows import Row

if TYPE_CHECKING:
    import mlx.core as mx

_MIN_TEMPERATURE = 1e-5
"""Below it, dividing by the temperature overflows, and sampling is greedy."""
_REPETITION_CONTEXT = 20

Sampler: TypeAlias = "Callable[[mx.array], mx.array]"
Processor: TypeAlias = "Callable[[mx.array, mx.array], mx.array]"


def sampler(sampling: SamplingParameters, vocabulary_size: int) -> Sampler:
    """Return the sampler of a row: it takes logprobs and returns a token."""
    from mlx_lm.sample_utils import greedy_sampler  # noqa: PLC0415 - mlx-lm is loaded by now

    temperature, min_p = sampling.temperature or 0.0, sampling.min_p or 0.0
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    top_k = sampling.top_k or 0
    if temperature < _MIN_TEMPERATURE or top_p == 0:
        return greedy_sampler
    if top_k >= vocabulary_size:
        top_k = 0
    if sampling.seed is None:
        return _shared(temperature, top_p, min_p, top_k)
    return _seeded(sampling.seed, temperature, top_p, min_p, top_k)


@lru_cache(maxsize=64)
def _shared(temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    """Return one sampler for all rows with the same parameters: mlx-lm calls it once for the whole batch."""
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415 - mlx-lm is loaded by now

    return make_sampler(temperature, top_p, min_p, top_k=top_k)


def _seeded(seed: int, temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    """Return a sampler whose draws do not depend on other rows: each token takes the next key of the row's chain."""
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now
    from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p  # noqa: PLC0415

    key = mx.random.key(seed)

    def sample(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, current = mx.random.split(key)
        if top_p < 1.0:
            logprobs = apply_top_p(logprobs, top_p)
        if min_p:
            logprobs = apply_min_p(logprobs, min_p)
        if top_k:
            logprobs = apply_top_k(logprobs, top_k)
        return mx.random.categorical(logprobs * (1.0 / temperature), key=current)

    return sample


def processors(row: Row) -> list[Processor]:
    """Return the functions that change the logits before sampling; each gets all tokens so far, prompt included.

    The repetition penalty looks at the last tokens of prompt and answer; OpenAI's penalties look at the answer alone.
    """
    from mlx_lm.sample_utils import (  # noqa: PLC0415 - mlx-lm is loaded by now
        make_frequency_penalty,
        make_logits_processors,
        make_presence_penalty,
        make_repetition_penalty,
    )

    sampling = row.sampling
    made: list[Processor] = list(make_logits_processors(logit_bias=dict(sampling.logit_bias)))
    if sampling.repetition_penalty not in (None, 1.0):
        made.append(make_repetition_penalty(sampling.repetition_penalty, _REPETITION_CONTEXT))
    for make, penalty in (
        (make_frequency_penalty, sampling.frequency_penalty),
        (make_presence_penalty, sampling.presence_penalty),
    ):
        if penalty:
            made.append(_on_answer(make(penalty, row.max_tokens), len(row.prompt)))
    return made


class Mask:
    """The processor that removes every token which the grammar of a row does not allow. It must be the last one.

    Its first call comes with the prompt, and each later one with one token more. Where the matcher has failed, the
    logits become NaN, so that the row fails at this token.
    """

    def __init__(self, matcher: Matcher) -> None:
        """Take a matcher at the start of its grammar."""
        self._matcher = matcher
        self._has_begun = False
        self._read: Callable[[], int] | None = None
        self._is_first = True

    def expect(self, read: Callable[[], int], *, is_first: bool = True) -> None:
        """Take what returns the last token of the next call. It must not wait for the step that is running.

        ``is_first`` says whether no other mask of the batch is called before this one.
        """
        self._read, self._is_first = read, is_first

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Return the logits of allowed tokens. The model computes them while the mask is made."""
        import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

        if self._is_first:  # the rows of a batch have their logits from one pass
            mx.async_eval(logits)  # type: ignore[no-untyped-call] # MLX gives it no types
        if self._has_begun:
            last: Any = tokens[-1].item() if self._read is None else self._read()
            self._matcher.consume(last)
        self._has_begun, self._read = True, None
        allowed = self._matcher.allowed(logits.shape[-1])
        if self._matcher.error is not None:
            return mx.full(logits.shape, mx.nan, logits.dtype)
        return mx.where(mx.array(allowed), logits, mx.array(-mx.inf, logits.dtype))


def _on_answer(penalize: Processor, start: int) -> Processor:
    return lambda tokens, logits: penalize(tokens[start:], logits)
