"""The contract of ``TextModel`` for rows with a grammar, for the fake and for the parrot in every way that rows run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.ports.engines.text import TextModel
from tests.contracts.text_model_kinds import KINDS, Kind
from tests.parrot.answers import CAPITAL, JSON
from tests.parrot_rows import (
    END_TOKEN,
    RowOutputs,
    answer_to,
    parrot_model,
    parrot_tokenizer,
    prompt_for,
    run_rows,
    tokens,
)

pytestmark = pytest.mark.timeout(1200)

_HOT = SamplingParameters(temperature=2.0, seed=4)
_DIGITS = "start: /[0-9]{3}/"
_TOO_COMPLEX = "start: /((a{1,100}){1,100}){1,100}b/"
"""It compiles, and exceeds a limit after some tokens."""


@pytest.fixture(params=[name for name in KINDS if name != "draft model"])
def kind(request: pytest.FixtureRequest) -> Kind:
    parrot_model()  # with the BLAS that comes before MLX
    return KINDS[request.param]


@pytest.fixture
def model(kind: Kind) -> Iterator[TextModel]:
    with closing(kind.open(8)) as made:
        yield made


def _text(answer: tuple[int, ...]) -> str:
    detokenizer = parrot_tokenizer().detokenizer()
    return "".join(map(detokenizer.feed, answer))


def test_the_tokens_of_a_row_match_its_grammar(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(number, prompt_for(CAPITAL), 20, grammar=_DIGITS) for number in range(3)])
    hot = run_rows(model, [kind.row(7, prompt_for(CAPITAL), 20, grammar=_DIGITS, sampling=_HOT)])
    for answer in (*map(outputs.tokens, range(3)), hot.tokens(7)):
        assert answer[-1] == END_TOKEN
        assert _text(answer[:-1]).isdecimal()
        assert len(answer) == 4
    assert outputs.finish_reason(0) is hot.finish_reason(7) is FinishReason.STOP


def test_a_grammar_that_allows_the_answer_changes_nothing(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(1, prompt_for(CAPITAL), 500, grammar="start: /(.|\\n)*/")])
    assert outputs.tokens(1) == answer_to(CAPITAL)


def test_the_end_of_the_turn_waits_until_the_grammar_is_complete(kind: Kind, model: TextModel) -> None:
    longer = f'start: "{_text(answer_to(CAPITAL)[:-1])}" /[a-z]{{4}}/'
    outputs = run_rows(model, [kind.row(1, prompt_for(CAPITAL), 500, grammar=longer)])
    assert outputs.tokens(1)[: len(answer_to(CAPITAL)) - 1] == answer_to(CAPITAL)[:-1]
    assert len(outputs.tokens(1)) == len(answer_to(CAPITAL)) + 4
    assert outputs.finish_reason(1) is FinishReason.STOP


def test_the_limit_of_tokens_cuts_an_incomplete_answer(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(number, prompt_for(JSON), number, grammar=_DIGITS) for number in (1, 2, 3, 4)])
    assert [len(outputs.tokens(number)) for number in (1, 2, 3, 4)] == [1, 2, 3, 4]
    reasons = [outputs.finish_reason(number) for number in (1, 2, 3, 4)]
    assert reasons == [FinishReason.LENGTH] * 3 + [FinishReason.STOP]


def test_rows_with_and_without_a_grammar_do_not_change_each_other(kind: Kind, model: TextModel) -> None:
    call = 'start: "<tool_call>" %json {"properties": {"name": {"const": "f"}}, "required": ["name"]} "</tool_call>"'
    grammars = ("start: /[a-z ]{5,9}/", 'start: "a" | "b" "c"+', 'start: %json {"type": "object"}', call)
    held = [
        kind.row(10 + number, prompt_for(JSON), 40, grammar=grammar, sampling=_HOT if number % 2 else _greedy())
        for number, grammar in enumerate(grammars)
    ]
    free = kind.mixed_rows()[:4]
    together = run_rows(model, [row for pair in zip(held, free, strict=True) for row in pair])
    for row in (*held, *free):
        with closing(kind.open(1)) as other:
            assert run_rows(other, [row]).tokens(row.id) == together.tokens(row.id)


def test_a_row_that_exceeds_a_limit_fails_alone(kind: Kind, model: TextModel) -> None:
    (last,) = tokens("b")
    sampling = SamplingParameters(temperature=0.0, logit_bias=((last, -100.0),))
    rows = [
        kind.row(1, prompt_for(CAPITAL), 500),
        kind.row(2, prompt_for(CAPITAL), 500, grammar=_TOO_COMPLEX, sampling=sampling),
        kind.row(3, prompt_for(CAPITAL), 500, grammar=_DIGITS),
    ]
    outputs = run_rows(model, rows)
    assert outputs.tokens(1) == answer_to(CAPITAL)
    assert _text(outputs.tokens(3)[:-1]).isdecimal()
    assert "too complex" in outputs.errors.pop(2)
    assert not outputs.errors
    assert set(_text(outputs.tokens(2))) <= {"a"}


def test_a_cancelled_row_leaves_the_others(kind: Kind, model: TextModel) -> None:
    rows = [kind.row(number, prompt_for(CAPITAL), 20, grammar=_DIGITS) for number in (1, 2)]
    outputs = RowOutputs()
    for row in (*rows, kind.row(3, prompt_for(CAPITAL), 500)):
        model.add_row(row)
    for _ in range(4):
        outputs.add(model.step())
    model.cancel_row(1)
    outputs.step_until_idle(model)
    assert outputs.tokens(3) == answer_to(CAPITAL)
    assert _text(outputs.tokens(2)[:-1]).isdecimal()
    assert outputs.finish_reason(2) is FinishReason.STOP
    again = run_rows(model, [kind.row(1, prompt_for(CAPITAL), 20, grammar=_DIGITS)])
    assert _text(again.tokens(1)[:-1]).isdecimal()


def test_a_grammar_that_cannot_be_compiled_is_rejected(kind: Kind, model: TextModel) -> None:
    for grammar in ("start: nothing", "start: /(/", "", 'start: "\u00e9" <[99999]>'):
        with pytest.raises(ValidationError, match="cannot be compiled"):
            model.compile_grammar(grammar)
        with pytest.raises(ValidationError, match="cannot be compiled"):
            model.add_row(kind.row(1, prompt_for(CAPITAL), 5, grammar=grammar))
    assert model.is_idle


def test_grammars_compile_in_any_thread(kind: Kind, model: TextModel) -> None:
    grammars = [f"start: /[0-9]{{{length}}}/" for length in range(1, 30)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(model.compile_grammar, grammars)) == [None] * len(grammars)
    outputs = run_rows(
        model, [kind.row(n, prompt_for(CAPITAL), 99, grammar=grammar) for n, grammar in enumerate(grammars[-3:])]
    )
    assert [len(outputs.tokens(number)) for number in range(3)] == [28, 29, 30]


def test_logprobs_of_forbidden_tokens_are_left_out(kind: Kind, model: TextModel) -> None:
    outputs = run_rows(model, [kind.row(1, prompt_for(CAPITAL), 9, grammar='start: "ab"', top_logprobs=5)])
    assert [step.token for step in outputs.steps[1]][-1] == END_TOKEN
    for step in outputs.steps[1]:
        assert step.logprob is not None
        assert step.logprob <= 0
        assert all(logprob > float("-inf") for _, logprob in step.top)


def test_a_row_with_a_grammar_is_refused_beside_a_draft_model() -> None:
    kind = KINDS["draft model"]
    with closing(kind.open(1)) as model, pytest.raises(ValidationError, match="draft_model"):
        model.add_row(kind.row(1, prompt_for(CAPITAL), 5, grammar=_DIGITS))


def _greedy() -> SamplingParameters:
    return SamplingParameters(temperature=0.0)
