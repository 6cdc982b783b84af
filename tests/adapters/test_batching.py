"""Batches over mlx-lm: what only the real ones can show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from mlxknife.adapters.mlx.text.sampling import processors
from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.domain.generation.values.generation import FinishReason, Sampling
from mlxknife.domain.generation.values.rows import Row
from tests.contracts.flock import END_TOKEN, Told, Wrapped, answer, asked, mixed, parrot, run, tokens
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG

pytestmark = pytest.mark.timeout(1200)

PIECE = 32
ROOM = 2**26


def batches_of(model: object, *, budget: int = ROOM, places: int = 8) -> MlxBatches:
    return MlxBatches(model, {END_TOKEN}, budget=budget, places=places, piece=PIECE)


@pytest.fixture
def model() -> Wrapped:
    return Wrapped(parrot())


@pytest.fixture
def batches(model: Wrapped) -> MlxBatches:
    return batches_of(model)


def bounded(size: int, keep: int = 0) -> Callable[[], Any]:
    from mlx_lm.models.cache import RotatingKVCache  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: RotatingKVCache(size, keep)  # type: ignore[no-untyped-call] # mlx-lm's own


def listed(of: Callable[[], Any]) -> Callable[[], Any]:
    from mlx_lm.models.cache import CacheList  # noqa: PLC0415 - MLX comes after the BLAS

    return lambda: CacheList(of())  # type: ignore[no-untyped-call] # mlx-lm's own


class Calling:
    """A model that is a function; it has as many layers as the parrot."""

    def __init__(self, call: Callable[[Any, Any], Any]) -> None:
        self._call = call
        self.layers = parrot().layers

    def __call__(self, inputs: Any, cache: Any = None) -> Any:  # noqa: ANN401
        return self._call(inputs, cache)


def test_likelihoods_are_those_of_the_model(batches: MlxBatches) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    prompt, said = asked(CAPITAL), answer(CAPITAL)
    told = run(batches, [Row(1, prompt, 500, top_logprobs=4)])
    logits = parrot()(mx.array([prompt + said]))[0, len(prompt) - 1 : -1]
    expected: Any = (logits - mx.logsumexp(logits, axis=-1, keepdims=True)).tolist()
    for step, numbers in zip(told.steps[1], expected, strict=True):
        assert step.logprob == pytest.approx(numbers[step.token], abs=1e-4)
        assert [number for _, number in step.top] == pytest.approx(sorted(numbers)[:-5:-1], abs=1e-3)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_likelihoods_of_half_precision_can_be_read(name: str) -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    def halved(inputs: Any, cache: Any) -> Any:  # noqa: ANN401
        return parrot()(inputs, cache=cache).astype(getattr(mx, name))

    batches = batches_of(Wrapped(Calling(halved)))
    told = run(batches, [Row(1, asked(CAPITAL), 500, top_logprobs=2)])
    assert told.tokens(1) == answer(CAPITAL)
    assert all(step.top[0] == (step.token, step.logprob) for step in told.steps[1])
    assert all(-0.1 < (step.logprob or 0.0) <= 0.0 for step in told.steps[1])


def test_penalties_and_bias_do_what_they_say(batches: MlxBatches) -> None:
    e, plain = tokens("e")[0], answer(ECHO)
    told = run(
        batches,
        [
            Row(1, asked(ECHO), 60, logit_bias=((e, -100.0),)),
            Row(2, asked(ECHO), 60, logit_bias=((e, 100.0),)),
            Row(3, asked(ECHO), 60, frequency_penalty=-2.0),
            Row(4, asked(ECHO), 60, Sampling(repetition_penalty=100.0)),
            Row(5, asked(ECHO), 60, Sampling(repetition_penalty=1.0), 0.0, 0.0, ()),
        ],
    )
    assert e not in told.tokens(1)
    assert set(told.tokens(2)) == {e}
    assert told.tokens(3)[0] == plain[0]  # what the question says does not count
    assert told.tokens(4)[:8] != plain[:8]
    assert told.tokens(5) == plain[:60]


def test_openai_penalties_look_at_the_answer_and_repetition_at_all() -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

    prompt, said = (5, 6), [7, 7, 8]
    openai = Row(1, prompt, 9, frequency_penalty=1.0, presence_penalty=0.5, logit_bias=((6, 3.0),))
    repetition = Row(1, prompt, 9, Sampling(repetition_penalty=2.0))
    for row, expected in ((openai, [1.0, 4.0, -1.5, -0.5, 1.0]), (repetition, [0.5, 0.5, 0.5, 0.5, 1.0])):
        for tokens_so_far, wanted in (([*prompt, *said], expected), ([*prompt], [*expected[:2], 1.0, 1.0, 1.0])):
            logits = mx.ones((1, 10))
            for processor in processors(row):
                logits = processor(mx.array(tokens_so_far), logits)
            assert logits[0, 5:].tolist() == wanted


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.0, seed=1),
        Sampling(temperature=1e-40, seed=1),
        Sampling(temperature=1.0, top_p=0.0, seed=1),
        Sampling(temperature=1.0, top_k=1, seed=1),
        Sampling(temperature=1.0, min_p=1.0),
        Sampling(temperature=1e-3, top_k=10**6, seed=1),
    ],
)
def test_where_there_is_no_choice_the_likeliest_is_taken(batches: MlxBatches, sampling: Sampling) -> None:
    assert run(batches, [Row(1, asked(CAPITAL), 500, sampling)]).tokens(1) == answer(CAPITAL)


def test_rows_without_a_seed_differ(batches: MlxBatches) -> None:
    chance = Sampling(temperature=3.0)
    told = run(batches, [Row(number, asked(GREETING), 30, chance) for number in range(6)])
    assert len({told.tokens(number) for number in range(6)}) == 6


def test_no_step_reads_more_than_a_piece(model: Wrapped, batches: MlxBatches) -> None:
    batches.admit(Row(0, asked(LONG), 500))
    told = Told()
    while not told.steps:
        told.add(batches.step())
    for number, length in enumerate((700, 300, 20, 900, 1), 1):
        batches.admit(Row(number, tokens("x" * length) + asked(CAPITAL), 500))
    while not batches.is_idle:
        model.sizes.clear()
        told.add(batches.step())
        pieces = [size for size in model.sizes if size > 8]  # the others are tokens of rows that speak
        assert sum(pieces) <= PIECE
    assert {told.tokens(number) for number in range(1, 6)} == {answer(CAPITAL)}
    assert told.tokens(0) == answer(LONG)


def test_a_short_prompt_does_not_wait_for_a_long_one(batches: MlxBatches) -> None:
    batches.admit(Row(1, tokens("x" * 1500) + asked(CAPITAL), 500))
    told = Told()
    for _ in range(3):
        told.add(batches.step())
    batches.admit(Row(2, asked(ECHO), 500))
    while not told.steps:
        told.add(batches.step())
    assert set(told.steps) == {2}


def test_where_the_runtime_fails_all_that_began_are_told_and_the_others_begin(model: Wrapped) -> None:
    batches, told = batches_of(model, places=2), Told()
    run(batches, [Row(9, asked(CAPITAL), 500)])
    assert batches.remembered
    for number in range(4):
        batches.admit(Row(number, asked(CAPITAL), 500))
    while not told.steps:
        told.add(batches.step())
    model.failure = RuntimeError("out of memory")
    step = told.add(batches.step())
    assert step.steps == ()
    assert {error.row for error in step.errors} == {0, 1}
    assert told.errors[0] == "The model could not be run: out of memory"
    assert batches.remembered == 0  # memory may be what was missing
    while not batches.is_idle:
        told.add(batches.step())
    assert told.tokens(2) == told.tokens(3) == answer(CAPITAL)
    assert set(told.errors) == {0, 1}


def test_what_fails_at_a_cancellation_is_told_at_the_next_step(model: Wrapped) -> None:
    from mlx_lm.models.cache import BatchKVCache, KVCache  # noqa: PLC0415 - MLX comes after the BLAS

    class TornBatch(BatchKVCache):
        def extract(self, idx: int) -> Any:  # noqa: ANN401
            msg = f"row {idx} is torn"
            raise ValueError(msg)

    class Torn(KVCache):
        @classmethod
        def merge(cls, caches: list[Any]) -> Any:  # noqa: ANN401
            made = BatchKVCache.merge(caches)  # type: ignore[no-untyped-call] # mlx-lm's own
            made.__class__ = TornBatch
            return made

    model.layer = Torn
    batches, told = batches_of(model), Told()
    for number in (1, 2):
        batches.admit(Row(number, asked(LONG), 500))
    while not told.steps:
        told.add(batches.step())
    batches.cancel(1)
    told.add(batches.step())
    assert told.errors == {2: "The model could not be run: row 0 is torn"}
    assert batches.is_idle
    model.layer = None
    assert run(batches, [Row(3, asked(CAPITAL), 500)]).tokens(3) == answer(CAPITAL)


def test_what_is_kept_fits_into_its_room(model: Wrapped) -> None:
    free = batches_of(model)
    run(free, [Row(1, asked(CAPITAL), 500)])
    one = free.remembered
    assert one > 0
    tight = batches_of(model, budget=one)
    none = batches_of(model, budget=0)
    for number, question in enumerate((CAPITAL, GREETING, ECHO, CAPITAL)):
        for batches in (tight, none):
            told = run(batches, [Row(number, asked(question), 500)])
            assert told.tokens(number) == answer(question)
        assert tight.remembered <= one
        assert none.remembered == 0
        assert told.cached(number) == 0


def test_rows_that_end_together_are_all_kept(batches: MlxBatches) -> None:
    questions = list(ANSWERS)[:6]
    run(batches, [Row(number, asked(question), 500) for number, question in enumerate(questions)])
    for number, question in enumerate(questions):
        past = asked(question) + answer(question)
        told = run(batches, [Row(number, past + tokens("\n") + asked(CAPITAL), 500)])
        assert told.cached(number) == len(past)
        assert told.tokens(number) == answer(CAPITAL)


def test_caches_that_forget_are_batched_and_used_again(model: Wrapped) -> None:
    model.layer = bounded(64)  # the parrot looks back by about fifty tokens
    batches = batches_of(model)
    assert batches.can_batch
    rows = [attrs.evolve(row, prompt=tokens("x" * 9 * row.id) + row.prompt) for row in mixed()]
    together = run(batches, rows)
    for row in rows:
        assert run(batches_of(model), [row]).tokens(row.id) == together.tokens(row.id)
    assert together.tokens(0) == answer(CAPITAL)
    past = asked(CAPITAL) + answer(CAPITAL) + tokens("\n")
    again = run(batches, [Row(20, past + asked(ECHO), 500), Row(21, asked(CAPITAL), 500)])
    assert (again.tokens(20), again.tokens(21)) == (answer(ECHO), answer(CAPITAL))
    assert again.cached(20) == len(past) - 1


def test_caches_that_cannot_be_rows_are_found_out() -> None:
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.cache import ConcatenateKVCache, KVCache, QuantizedKVCache  # noqa: PLC0415

    mute = Calling(lambda inputs, _: mx.zeros((*inputs.shape, 264)))
    for layer, can_batch in (
        (KVCache, True),
        (bounded(64), True),
        (bounded(64, keep=4), False),  # in a batch it would lose its head
        (ConcatenateKVCache, False),
        (lambda: QuantizedKVCache(32, 8), False),
        (listed(KVCache), True),
        (listed(ConcatenateKVCache), False),
    ):
        assert batches_of(Wrapped(mute, layer)).can_batch is can_batch


def test_caches_that_cannot_be_rows_are_used_again(model: Wrapped) -> None:
    model.layer = bounded(64, keep=4)
    batches = batches_of(model)
    assert run(batches, [Row(1, asked(CAPITAL), 500)]).tokens(1) == answer(CAPITAL)
    past = asked(CAPITAL) + answer(CAPITAL)[:-1]
    told = run(batches, [Row(2, (*past, END_TOKEN, *tokens("\n"), *asked(ECHO)), 500)])
    assert told.tokens(2) == answer(ECHO)
    assert told.cached(2) == len(past)


def test_a_model_that_cannot_go_back_goes_on(batches: MlxBatches) -> None:
    """A state-space model, whose caches can be rows but cannot be cut."""
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.mamba import Model, ModelArgs  # noqa: PLC0415

    del batches
    mx.random.seed(3)
    args = {"model_type": "mamba", "vocab_size": 61, "hidden_size": 32, "intermediate_size": 64, "state_size": 8}
    more = {"num_hidden_layers": 2, "conv_kernel": 4, "use_bias": False, "use_conv_bias": True, "time_step_rank": 2}
    snake: Any = Model(ModelArgs.from_dict(args | more))  # type: ignore[no-untyped-call] # mlx-lm's own
    rows = [Row(number, tuple(range(1, 8 + 5 * number)), 12) for number in range(6)]
    made = batches_of(snake)
    assert made.can_batch
    together = run(made, rows)
    for row in rows:
        assert run(batches_of(snake), [row]).tokens(row.id) == together.tokens(row.id)
        whole = row.prompt + together.tokens(row.id)
        fresh = run(batches_of(snake), [Row(1, (*whole, 5), 8)])
        again = run(made, [Row(1, (*whole, 5), 8)])
        assert again.tokens(1) == fresh.tokens(1)
        assert again.cached(1) >= len(whole)
        assert run(made, [Row(2, row.prompt, 12)]).tokens(2) == together.tokens(row.id)


def test_an_end_of_turn_may_be_any_of_several() -> None:
    said = answer(CAPITAL)
    batches = MlxBatches(Wrapped(parrot()), (said[4], END_TOKEN, 10**6), budget=0)
    told = run(batches, [Row(1, asked(CAPITAL), 500)])
    assert told.tokens(1) == said[: said.index(said[4]) + 1]
    assert told.ended(1) is FinishReason.STOP


def test_without_ends_only_the_number_ends_a_row() -> None:
    batches = MlxBatches(Wrapped(parrot()), (), budget=0)
    told = run(batches, [Row(1, asked(CAPITAL), 50, top_logprobs=0)])
    assert len(told.tokens(1)) == 50
    assert all(math.isfinite(step.logprob or 0.0) for step in told.steps[1])
