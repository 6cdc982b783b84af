"""The contract of ``TextModel``, for the fake and for the parrot in every way that rows can run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import attrs
import pytest

from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import KVCacheOptions, SamplingParameters
from mlxknife.domain.generation.values.rows import Row
from mlxknife.ports.engines.text import TextModel
from tests.contracts.text_model_kinds import KINDS, PREFILL_CHUNK, Kind
from tests.parrot import ANSWERS
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG
from tests.parrot.tokens import TEMPLATE
from tests.parrot_rows import (
    END_TOKEN,
    NAN_TOKEN,
    RowOutputs,
    answer_to,
    mixed_rows,
    next_prompt,
    parrot_model,
    prompt_for,
    run_rows,
    tokens,
)

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    parrot_model()  # with the BLAS that comes before MLX
    made: Kind = request.param
    return made


@pytest.fixture
def model(kind: Kind) -> Iterator[TextModel]:
    with closing(kind.open(8)) as made:
        yield made


def test_it_describes_the_model(model: TextModel) -> None:
    assert model.tokenizer.encode("Hi<|im_end|>", add_special_tokens=False) == (*tokens("Hi"), END_TOKEN)
    assert model.vocabulary_size >= len(model.tokenizer.vocabulary)
    assert model.chat_template == TEMPLATE
    assert model.special_tokens["eos_token"] == "<|im_end|>"
    assert model.notes in (("fake",), ("real",))


def test_a_row_gives_its_answer_and_the_finish_reason(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(5, prompt_for(CAPITAL), 500)])
    assert outputs.tokens(5) == answer_to(CAPITAL)  # with the token that ends the turn
    assert outputs.finish_reason(5) is FinishReason.STOP
    assert not outputs.errors


def test_a_row_ends_after_max_tokens(kind: Kind, model: TextModel) -> None:
    numbers = (1, 2, 3, 4, 5)
    outputs = run_rows(model, [kind.row(number, prompt_for(CAPITAL), number) for number in numbers])
    assert [outputs.tokens(number) for number in numbers] == [answer_to(CAPITAL)[:number] for number in numbers]
    assert {outputs.finish_reason(number) for number in numbers} == {FinishReason.LENGTH}


def test_the_end_of_the_turn_wins_over_max_tokens(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(1, prompt_for(CAPITAL), len(answer_to(CAPITAL)))])
    assert outputs.finish_reason(1) is FinishReason.STOP


def test_every_question_gets_its_greedy_answer(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(number, prompt_for(text), 500) for number, text in enumerate(ANSWERS)])
    assert [outputs.tokens(number) for number in range(len(ANSWERS))] == list(map(answer_to, ANSWERS))


def test_other_rows_do_not_change_the_tokens_of_a_row(kind: Kind, model: TextModel) -> None:
    together = run_rows(model, kind.mixed_rows())
    for row in kind.mixed_rows():
        with closing(kind.open(1)) as other:
            alone = run_rows(other, [row])
        assert alone.tokens(row.id) == together.tokens(row.id)
        assert alone.finish_reason(row.id) is together.finish_reason(row.id) is not None


def test_the_same_seed_gives_the_same_tokens(kind: Kind, model: TextModel) -> None:
    sampling = SamplingParameters(temperature=1.5, seed=11)
    outputs = run_rows(model, [kind.row(number, prompt_for(GREETING), 30, sampling=sampling) for number in range(3)])
    assert outputs.tokens(0) == outputs.tokens(1) == outputs.tokens(2)
    other = run_rows(model, [kind.row(9, prompt_for(GREETING), 30, sampling=attrs.evolve(sampling, seed=12))])
    assert other.tokens(9) != outputs.tokens(0)


def test_rows_may_be_added_while_others_run(kind: Kind, model: TextModel) -> None:
    outputs, rows = RowOutputs(), kind.mixed_rows()
    while rows or not model.is_idle:
        if rows:
            model.add_row(rows.pop(0))
        for _ in range(3):
            outputs.add(model.step())
    assert outputs.tokens(0) == answer_to(CAPITAL)
    assert all(outputs.finish_reason(row.id) is not None for row in mixed_rows())


def test_a_cancelled_row_has_no_further_steps(kind: Kind, model: TextModel) -> None:
    outputs = RowOutputs()
    for number, question in enumerate((LONG, CAPITAL, ECHO)):
        model.add_row(kind.row(number, prompt_for(question), 500))
    while len(outputs.tokens(0)) < 3:
        outputs.add(model.step())
    model.cancel_row(0)
    outputs.step_until_idle(model)
    assert outputs.tokens(0) == answer_to(LONG)[:3]
    assert (outputs.tokens(1), outputs.tokens(2)) == (answer_to(CAPITAL), answer_to(ECHO))


@pytest.mark.parametrize("steps_before", [0, 1, 2, 4])
def test_the_place_of_a_cancelled_row_is_free_at_the_next_step(kind: Kind, steps_before: int) -> None:
    with closing(kind.open(1)) as model:
        model.add_row(kind.row(1, prompt_for(LONG), 500))
        model.add_row(kind.row(2, prompt_for(CAPITAL), 500))
        for _ in range(steps_before):
            assert {step.row for step in model.step().steps} <= {1}
        model.cancel_row(1)
        prefill_steps = 1 + -(-len(prompt_for(CAPITAL)) // PREFILL_CHUNK)
        steps = [step for _ in range(prefill_steps + 1) for step in model.step().steps]
        assert (steps[0].row, steps[0].token) == (2, answer_to(CAPITAL)[0])


def test_cancelling_an_unknown_or_finished_row_is_ignored(kind: Kind, model: TextModel) -> None:
    model.cancel_row(3)
    run_rows(model, [kind.row(3, prompt_for(CAPITAL), 2)])
    model.cancel_row(3)
    model.add_row(kind.row(4, prompt_for(CAPITAL), 2))
    model.cancel_row(4)
    model.cancel_row(4)
    assert model.is_idle
    assert run_rows(model, [kind.row(4, prompt_for(CAPITAL), 500)]).tokens(4) == answer_to(CAPITAL)


def test_invalid_rows_are_rejected_by_field_and_change_nothing(kind: Kind, model: TextModel) -> None:
    model.add_row(kind.row(1, prompt_for(CAPITAL), 500))
    outputs = RowOutputs()
    outputs.add(model.step())
    bias = SamplingParameters(logit_bias=((0, 1.0), (10**9, 1.0)))
    for row, field in (
        (kind.row(1, prompt_for(CAPITAL), 500), "id"),
        (kind.row(2, (*prompt_for(CAPITAL), 264), 500), "prompt"),
        (kind.row(3, (-1,), 500), "prompt"),
        (kind.row(4, (10**30,), 500), "prompt"),
        (kind.row(5, (), 500), "prompt"),
        (kind.row(6, prompt_for(CAPITAL), 500, sampling=bias), "logit_bias"),
    ):
        with pytest.raises(ValidationError, match=rf"^{field}\b"):
            model.add_row(row)
    outputs.step_until_idle(model)
    assert outputs.tokens(1) == answer_to(CAPITAL)
    assert set(outputs.steps) == {1}


def test_unsupported_kv_cache_options_are_rejected_before_anything_is_computed(kind: Kind, model: TextModel) -> None:
    """Neither the parrot, whose heads have 12 numbers, nor the fake can quantise its KV cache."""
    model.add_row(kind.row(1, prompt_for(CAPITAL), 500))
    for options in (KVCacheOptions(bits=8), KVCacheOptions(bits=4, group_size=32, quantized_start=10**6)):
        with pytest.raises(ValidationError, match=r"^kv_(bits|group_size) .*does not work with this model"):
            model.add_row(Row(2, prompt_for(ECHO), 500, kv_cache=options))
    outputs = RowOutputs()
    outputs.step_until_idle(model)
    assert outputs.tokens(1) == answer_to(CAPITAL)
    assert set(outputs.steps) == {1}


def test_it_is_idle_when_no_row_runs_or_waits(kind: Kind, model: TextModel) -> None:
    assert model.is_idle
    assert model.step().steps == ()
    model.add_row(kind.row(1, prompt_for(CAPITAL), 1))
    assert not model.is_idle
    run_rows(model)
    assert model.is_idle


def test_a_long_prompt_gives_the_same_answer(kind: Kind, model: TextModel) -> None:
    assert run_rows(model, [kind.row(1, prompt_for(CAPITAL) * 20, 500)]).tokens(1) == answer_to(CAPITAL)


def test_a_long_prompt_does_not_pause_running_rows() -> None:
    for name in ("fake", "batched"):
        kind = KINDS[name]
        with closing(kind.open(8)) as model:
            model.add_row(kind.row(1, prompt_for(LONG), 500))
            outputs = RowOutputs()
            outputs.step_until_any_token(model)
            long = tokens("x" * 1000) + prompt_for(CAPITAL)
            for number in (2, 3):
                model.add_row(kind.row(number, long, 500))
            steps = 0
            while 3 not in outputs.steps:
                batch = outputs.add(model.step())
                steps += 1
                assert 1 in {step.row for step in batch.steps}  # at every step
            assert steps >= 2 * len(long) // PREFILL_CHUNK
            outputs.step_until_idle(model)
            answers = [outputs.tokens(number) for number in (1, 2, 3)]
            assert answers == [answer_to(LONG), answer_to(CAPITAL), answer_to(CAPITAL)]


def test_the_second_turn_of_a_chat_reuses_the_first(kind: Kind, model: TextModel) -> None:
    first = prompt_for(CAPITAL)
    assert run_rows(model, [kind.row(1, first, 500)]).cached(1) == 0
    second = next_prompt(CAPITAL, ECHO)
    outputs = run_rows(model, [kind.row(2, second, 500)])
    assert outputs.tokens(2) == answer_to(ECHO)
    assert len(first + answer_to(CAPITAL)) - kind.uncached <= outputs.cached(2) < len(second)


def test_the_prefix_of_a_cancelled_row_is_reused(kind: Kind, model: TextModel) -> None:
    first = prompt_for(CAPITAL)
    model.add_row(kind.row(1, first, 500))
    outputs = RowOutputs()
    while len(outputs.tokens(1)) < 5:
        outputs.add(model.step())
    model.cancel_row(1)
    second = first + outputs.tokens(1) + (END_TOKEN,) + tokens("\n") + prompt_for(ECHO)
    again = run_rows(model, [kind.row(2, second, 500)])
    assert again.tokens(2) == answer_to(ECHO)
    assert again.cached(2) >= len(first)


def test_a_prompt_that_begins_like_another_reuses_the_common_part(kind: Kind, model: TextModel) -> None:
    common = tokens("<|im_start|>system\nYou are a parrot, and you answer in one sentence.<|im_end|>\n")
    run_rows(model, [kind.row(1, common + prompt_for(GREETING), 500)])
    outputs = run_rows(model, [kind.row(2, common + prompt_for(CAPITAL), 500)])
    assert outputs.tokens(2) == answer_to(CAPITAL)
    if kind.reuses_parts:
        assert len(common) <= outputs.cached(2) < len(common + prompt_for(CAPITAL))
    else:
        assert outputs.cached(2) == 0


def test_a_prompt_that_is_cached_as_a_whole_is_answered(kind: Kind, model: TextModel) -> None:
    whole = next_prompt(CAPITAL, ECHO)
    first = run_rows(model, [kind.row(1, whole, 1)])
    assert first.tokens(1) == answer_to(ECHO)[:1]
    for number in (2, 3):
        again = run_rows(model, [kind.row(number, whole, 500)])
        assert again.tokens(number) == answer_to(ECHO)
        assert again.cached(number) < len(whole)
    if kind.reuses_parts:
        assert again.cached(3) == len(whole) - 1  # one token is left to compute the next one from
    assert len(run_rows(model, [kind.row(5, whole + answer_to(ECHO), 2)]).tokens(5)) >= 1


def test_a_row_that_fails_does_not_affect_the_others(kind: Kind, model: TextModel) -> None:
    rows = kind.mixed_rows()
    failing = [kind.row(20, (*prompt_for(GREETING), NAN_TOKEN), 50), kind.row(21, (NAN_TOKEN,), 50)]
    outputs = run_rows(model, [*rows[:3], *failing, *rows[3:]])
    assert outputs.errors == dict.fromkeys((20, 21), "The model produced NaN logits")
    assert not {20, 21} & set(outputs.steps)
    healthy = run_rows(model, rows)
    assert all(outputs.tokens(row.id) == healthy.tokens(row.id) for row in rows)


def test_logprobs_come_for_the_rows_that_ask_for_them(kind: Kind, model: TextModel) -> None:
    rows = [
        kind.row(number, prompt_for(CAPITAL), 6, top_logprobs=count) for number, count in enumerate((None, 0, 1, 5))
    ]
    outputs = run_rows(model, rows)
    for row in rows:
        for step in outputs.steps[row.id]:
            assert (step.logprob is None) == (row.top_logprobs is None)
            assert len(step.top) == (row.top_logprobs or 0)
            assert list(step.top) == sorted(step.top, key=lambda pair: -pair[1])
            assert step.logprob is None or step.logprob <= 0
            if step.top:
                assert step.top[0] == (step.token, step.logprob)


def test_a_closed_model_raises_engine_error(kind: Kind) -> None:
    model = kind.open(2)
    model.add_row(kind.row(1, prompt_for(CAPITAL), 500))
    model.step()
    model.close()
    model.close()
    model.cancel_row(1)
    assert model.is_idle
    with pytest.raises(EngineError, match="closed"):
        model.add_row(kind.row(2, prompt_for(CAPITAL), 500))
    with pytest.raises(EngineError, match="closed"):
        model.step()
