"""Laws of the engine: in whatever order requests are submitted, cancelled and stepped, each has its own outcome."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.options import MAX_SEED
from mlxknife.domain.generation.rules.reasoning import find_markers
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    Message,
    SamplingParameters,
)
from mlxknife.domain.generation.values.rows import Row
from mlxknife.domain.models.values.snapshot import Location
from tests.engine_answers import RequestOutput, answered, numbered_call_ids, step, submitted
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.fakes.tokenizer import FakeTokenizer

_BROKEN, _FAILING = 0xFE, 0xFF
"""A token that cannot be decoded, and one in a prompt that makes its row fail."""
_TOKENIZER = FakeTokenizer(("<think>", "</think>", "ab", "stop"), begin="", broken_token=_BROKEN)
_TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
_MARKERS = find_markers(_TOKENIZER.vocabulary, _TEMPLATE, "")
_ANSWERS = (
    "",
    "Hello, world!",
    "<think>hm ab</think>yes stop no",
    "é👍 stop",
    "st op sto",
    "<think>endless",
    "ababab",
    "<thi",
)
_TOKENS = [_TOKENIZER.encode(answer, add_special_tokens=False) for answer in _ANSWERS]
_FAILS_AFTER = 3


def _answer(row: Row) -> Sequence[int]:
    """Return an answer that depends on the prompt and on the seed; some prompts end in a token that is broken."""
    number = row.prompt[-1] - ord("0")
    seed = 0 if row.sampling.seed is None else row.sampling.seed
    tokens = _TOKENS[(number + seed) % len(_TOKENS)]
    return (*tokens[:_FAILS_AFTER], _BROKEN) if _broken(row.prompt) else tokens


def _broken(prompt: Sequence[int]) -> bool:
    return prompt[0] == ord("!")


def _prompts() -> st.SearchStrategy[tuple[int, ...]]:
    healthy = st.tuples(st.just(ord(" ")), st.integers(0, len(_ANSWERS) - 1).map(lambda number: ord("0") + number))
    broken = st.just((ord("!"), ord("1")))
    failing = st.just((_FAILING, ord("1")))
    return st.one_of(healthy, healthy, healthy, broken, failing)


_OPTIONS = st.builds(
    GenerationOptions,
    sampling=st.builds(SamplingParameters, seed=st.none() | st.sampled_from([0, 3, MAX_SEED])),
    max_tokens=st.sampled_from([None, 1, 4, 9]),
    stop=st.sampled_from([(), (), ("stop",), ("o", "ab"), ("👍",)]),
    top_logprobs=st.sampled_from([None, None, 0, 2]),
    n=st.integers(1, 3),
)
_CHATS = st.builds(
    lambda number, options: GenerationRequest((Message("user", f" {number}"),), options=options),
    st.integers(0, len(_ANSWERS) - 1),
    _OPTIONS,
)
_COMPLETIONS = st.builds(
    lambda prompts, options, echo: GenerationRequest(
        prompts=tuple(prompts), options=options, echo=echo and options.top_logprobs is None
    ),
    st.lists(_prompts(), min_size=1, max_size=3),
    _OPTIONS,
    st.booleans(),
)
_REQUESTS = _CHATS | _COMPLETIONS


def _model(max_rows: int = 32, *, can_batch: bool = True, prefill_chunk: int = 1) -> FakeTextModel:
    return FakeTextModel(
        _answer,
        tokenizer=_TOKENIZER,
        chat_template=_TEMPLATE,
        failing_token=_FAILING,
        can_batch=can_batch,
        max_rows=max_rows,
        prefill_chunk=prefill_chunk,
    )


def _engine(model: FakeTextModel) -> TextEngine:
    return TextEngine(
        model,
        FakeTemplates(),
        LoadRequest(Location("model", ()), "fast", max_tokens=50),
        numbered_call_ids(),
        time.monotonic,
    )


@lru_cache(maxsize=1000)
def _alone(request: GenerationRequest) -> RequestOutput:
    """Return the output of a request on an engine of its own."""
    return answered(_engine(_model()), request)


def _comparable(delta: Delta) -> Delta:
    """Return a delta without the number of cached tokens, which depends on the rows before."""
    return delta if delta.usage is None else attrs.evolve(delta, usage=attrs.evolve(delta.usage, cached_tokens=0))


def _is_start(part: Delta, whole: Delta) -> bool:
    """Return whether one delta is the start of another."""
    texts = {
        kind: ["".join(text.text for text in delta.texts if text.kind is kind) for delta in (part, whole)]
        for kind in TextKind
    }
    return all(longer.startswith(shorter) for shorter, longer in texts.values()) and (
        part.logprobs == whole.logprobs[: len(part.logprobs)]
    )


class Interleaving(RuleBasedStateMachine):
    """Submits, cancels and steps. ``RequestOutput`` checks that no event comes after the end of its request."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _model(3, prefill_chunk=2)
        self.engine = _engine(self.model)
        self.requests: dict[int, GenerationRequest] = {}
        self.outputs: dict[int, RequestOutput] = {}

    @rule(request=_REQUESTS)
    def submit(self, request: GenerationRequest) -> None:
        number = len(self.requests)
        self.requests[number] = request
        self.outputs[number] = submitted(self.engine, number, request)
        assert self.outputs[number].accepted == _alone(request).accepted

    @precondition(lambda self: self.requests)
    @rule(choice=st.integers(0))
    def cancel(self, choice: int) -> None:
        number = choice % len(self.requests)
        self.engine.cancel(number)
        if not self.outputs[number].has_ended:
            self.outputs[number].is_cancelled = True

    @rule(count=st.integers(1, 15))
    def step(self, count: int) -> None:
        for _ in range(count):
            step(self.engine, self.outputs)

    @invariant()
    def each_output_is_the_start_of_the_one_alone(self) -> None:
        for number, request in self.requests.items():
            alone = _alone(request)
            if alone.error is None:
                for index in range(request.answer_count):
                    assert _is_start(self.outputs[number].answer(index), alone.answer(index))

    @invariant()
    def no_row_of_an_ended_request_runs(self) -> None:
        if all(output.has_ended or output.is_cancelled for output in self.outputs.values()):
            assert self.engine.is_idle

    def teardown(self) -> None:
        while not self.engine.is_idle:
            step(self.engine, self.outputs)
        for number, request in self.requests.items():
            output, alone = self.outputs[number], _alone(request)
            if output.is_cancelled:
                continue
            assert output.has_ended
            assert (output.error is None) == (alone.error is None)
            if alone.error is None:
                for index in range(request.answer_count):
                    assert _comparable(output.answer(index)) == _comparable(alone.answer(index))
        assert not self.engine._answers  # noqa: SLF001 - nothing else shows a leak
        self.engine.close()


class SequentialInterleaving(Interleaving):
    """The same with a model that runs one row at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.model.can_batch = False


def test_the_outcome_of_a_request_does_not_depend_on_other_requests() -> None:
    run_state_machine_as_test(Interleaving, settings=settings(stateful_step_count=30))


def test_nor_does_it_if_rows_run_sequentially() -> None:
    run_state_machine_as_test(SequentialInterleaving, settings=settings(stateful_step_count=30))


@given(_REQUESTS)
def test_every_request_ends_with_a_finish_reason_for_each_answer_or_with_one_error(request: GenerationRequest) -> None:
    output = _alone(request)
    fails = any(isinstance(prompt, tuple) and prompt[0] == _FAILING for prompt in request.prompts)
    if output.error is None:
        assert not fails
        assert all(output.finish_reason(index) for index in range(request.answer_count))
    else:
        assert isinstance(output.error, EngineError)
        assert fails or any(isinstance(prompt, tuple) and _broken(prompt) for prompt in request.prompts)


@given(_REQUESTS)
def test_an_answer_is_what_the_rules_make_of_its_whole_text(request: GenerationRequest) -> None:
    model = _model()
    output = answered(_engine(model), request)
    if output.error is not None:
        return
    for index, row in enumerate(model.rows):
        sampled = tuple(_answer(row))[: row.max_tokens]
        whole = b"".join(map(_TOKENIZER.token_bytes, sampled)).decode("utf-8", "ignore")
        splitter = AnswerSplitter(_MARKERS if request.messages else None, request.options.stop)
        deltas = [delta for character in whole for delta in splitter.feed(character)]
        if not splitter.has_stopped:
            deltas += splitter.flush()
        echo = b"".join(map(_TOKENIZER.token_bytes, row.prompt)).decode() if request.echo else ""
        for kind, before in ((TextKind.ANSWER, echo), (TextKind.REASONING, "")):
            texts = [delta for delta in deltas if isinstance(delta, TextDelta) and delta.kind is kind]
            text = "".join(delta.text for delta in texts)
            assert output.text(index, kind) == before + text
        if splitter.has_stopped:
            assert output.finish_reason(index) is FinishReason.STOP


@given(_REQUESTS)
def test_usage_adds_up(request: GenerationRequest) -> None:
    model = _model()
    output = answered(_engine(model), request)
    prompts = [row.prompt for row in model.rows[:: request.options.n]]
    assert output.accepted.prompt_tokens == sum(map(len, prompts))
    if output.error is not None:
        return
    for index, row in enumerate(model.rows):
        usage = output.answer(index).usage
        assert usage is not None
        assert usage.prompt_tokens == len(row.prompt)
        assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
        assert 0 <= usage.cached_tokens < usage.prompt_tokens
        assert 1 <= usage.completion_tokens <= min(row.max_tokens, len(_answer(row)) + 1)
        if output.finish_reason(index) is FinishReason.LENGTH:
            assert usage.completion_tokens == row.max_tokens


@given(_REQUESTS)
def test_a_row_is_cancelled_only_for_a_stop_string_or_an_error(request: GenerationRequest) -> None:
    model = _model()
    engine = _engine(model)
    output = answered(engine, request)
    assert engine.is_idle
    if output.error is not None:
        return
    for index, row in enumerate(model.rows):
        usage = output.answer(index).usage
        assert usage is not None
        sampled = min(row.max_tokens, len(_answer(row)) + 1)  # with the end token
        assert (row.id in model.cancelled) == (usage.completion_tokens < sampled)
    if not any(request.options.stop):
        assert model.cancelled == []


@given(_REQUESTS)
def test_every_answer_has_its_own_seed_and_row(request: GenerationRequest) -> None:
    model = _model()
    submitted(_engine(model), 1, request)
    seed, n = request.options.sampling.seed, request.options.n
    assert len(model.rows) == request.answer_count
    assert len({row.id for row in model.rows}) == request.answer_count
    for index, row in enumerate(model.rows):
        assert row.sampling.seed == (None if seed is None else (seed + index % n) % (MAX_SEED + 1))


@given(_REQUESTS)
def test_the_tokens_of_the_logprobs_are_the_text(request: GenerationRequest) -> None:
    output = _alone(request)
    if output.error is not None or request.echo:
        return
    for index in range(request.answer_count):
        logprobs = output.answer(index).logprobs
        if request.options.top_logprobs is None:
            assert logprobs == ()
            continue
        assert all(len(one.top) == request.options.top_logprobs for one in logprobs)
        content = b"".join(one.content for one in logprobs)
        assert content.decode("utf-8", "replace") == output.text(index)


@given(_REQUESTS, st.integers(1, 4), st.booleans(), st.integers(1, 5))
def test_the_number_of_rows_that_run_at_once_changes_no_answer(
    request: GenerationRequest,
    max_rows: int,
    can_batch: bool,  # noqa: FBT001 - drawn
    prefill_chunk: int,
) -> None:
    alone = _alone(request)
    output = answered(_engine(_model(max_rows, can_batch=can_batch, prefill_chunk=prefill_chunk)), request)
    assert (output.error is None) == (alone.error is None)  # which of two errors comes first may differ
    if alone.error is None:
        for index in range(request.answer_count):
            assert _comparable(output.answer(index)) == _comparable(alone.answer(index))
