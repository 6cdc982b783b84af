"""Token after token: one model through mlx-lm, or one that confirms what a smaller one guesses."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from mlxknife.domain.generation.values.generation import Sampling, TokenRequest

_PENALTY_REACH = 20
_GUESSES = 3
"""How many tokens a draft model guesses ahead, as many as with ``mlx_lm.generate``."""


def decoded(models: Sequence[Any], layers: list[Any], request: TokenRequest, start: int) -> Generator[int]:
    """Yield tokens; ``layers`` hold the first ``start`` tokens of the request, and take in the others."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.generate import generate_step, speculative_generate_step  # noqa: PLC0415

    if request.sampling.seed is not None:
        mx.random.seed(request.sampling.seed)
    prompt = mx.array(request.tokens[start:])
    sampler = _sampler(request.sampling)
    steps: Generator[Any]
    if len(models) > 1:  # what is guessed from is only the last token, so the penalties are told all before
        steps = speculative_generate_step(
            prompt,
            *models,
            num_draft_tokens=_GUESSES,
            max_tokens=request.max_tokens,
            sampler=sampler,
            logits_processors=_penalties(request.sampling, request.tokens[:-1]),
            prompt_cache=layers,
        )
    else:
        steps = generate_step(
            prompt,
            models[0],
            max_tokens=request.max_tokens,
            sampler=sampler,
            logits_processors=_penalties(request.sampling, request.tokens[:start]),
            prompt_cache=layers,
            kv_bits=request.cache.bits,
            kv_group_size=request.cache.group_size,
            quantized_kv_start=request.cache.quantized_from,
        )
    with _wired(), closing(steps):
        for token, *_ in steps:
            yield int(token)


@contextmanager
def _wired() -> Iterator[None]:
    """Let a GPU of Apple's keep the weights where it reaches them; mlx-lm's own way to do it prints on stdout."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.generate import generation_stream  # noqa: PLC0415

    most = mx.device_info().get("max_recommended_working_set_size")
    if not isinstance(most, int):
        yield
        return
    before = mx.set_wired_limit(most)
    try:
        yield
    finally:
        mx.synchronize(generation_stream)
        mx.set_wired_limit(before)


def _sampler(sampling: Sampling) -> Any:  # noqa: ANN401 - mlx-lm's own type
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415

    def of(top_k: int) -> Any:  # noqa: ANN401
        return make_sampler(
            temp=0.0 if sampling.top_p == 0 else sampling.temperature or 0.0,
            top_p=sampling.top_p or 0.0,
            min_p=sampling.min_p or 0.0,
            top_k=top_k,
        )

    wanted = sampling.top_k or 0
    some, every = of(wanted), of(0)

    def choose(logprobs: mx.array) -> mx.array:
        return some(logprobs) if wanted < logprobs.shape[-1] else every(logprobs)  # type: ignore[no-any-return]

    return choose


def _penalties(sampling: Sampling, before: Sequence[int]) -> list[Any]:
    """Return what weakens repetition; it also looks at tokens that were computed before those that it is shown."""
    if sampling.repetition_penalty in (None, 1.0):
        return []
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.sample_utils import make_repetition_penalty  # noqa: PLC0415

    penalty = make_repetition_penalty(sampling.repetition_penalty, _PENALTY_REACH)
    earlier = mx.array(list(before[-_PENALTY_REACH:]), dtype=mx.int32)
    return [lambda tokens, logits: penalty(mx.concatenate([earlier, tokens.astype(mx.int32)]), logits)]
