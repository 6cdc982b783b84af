"""The engine over the real model, tokenizer and template renderer: chats that run beside each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from mlxknife.adapters.jinja.templates import JinjaTemplates
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.domain.errors import ContextLengthExceeded, ValidationError
from mlxknife.domain.generation.rules.reasoning import ReasoningSplitter, find_markers
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import FinishReason, TextKind
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    KVCacheOptions,
    Message,
    SamplingParameters,
)
from mlxknife.domain.models.values.snapshot import Location
from tests.engine_answers import RequestOutput, answered, numbered_call_ids, step, submitted
from tests.parrot import ANSWERS, STOP_STRING, TOOL_RESULT, parrot_folder
from tests.parrot.answers import CAPITAL, ECHO, GREETING, LONG, REASONING, STOP
from tests.parrot.tokens import CONTEXT
from tests.parrot_rows import GREEDY

pytestmark = pytest.mark.timeout(1200)

_QUESTIONS = [question for question in ANSWERS if question != TOOL_RESULT]


@pytest.fixture(scope="module", params=[False, True], ids=["batched", "draft model"])
def has_draft(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def engine(has_draft: bool) -> Iterator[TextEngine]:  # noqa: FBT001 - a fixture
    location = Location(str(parrot_folder()), ())
    loaded = LoadRequest(location, "as-is", 2**30, context_length=CONTEXT, draft=location if has_draft else None)
    with closing(
        TextEngine(MlxTextLoader().load(loaded), JinjaTemplates(), loaded, numbered_call_ids(), time.monotonic)
    ) as made:
        yield made


def _chat(*contents: str, **options: object) -> GenerationRequest:
    """Return a chat with the contents of the user and of the assistant in turn."""
    roles = ("user", "assistant")
    messages = tuple(Message(roles[number % 2], content) for number, content in enumerate(contents))
    return GenerationRequest(messages, options=GenerationOptions(**{"sampling": GREEDY} | options))  # type: ignore[arg-type] # by name


def _expected(question: str) -> tuple[str, str]:
    """Return the reasoning and the answer of the parrot."""
    splitter = ReasoningSplitter(find_markers({"<think>", "</think>"}, "", ""))
    deltas = [*splitter.feed(ANSWERS[question]), *splitter.flush()]
    reasoning, answer = (
        "".join(delta.text for delta in deltas if delta.kind is kind) for kind in (TextKind.REASONING, TextKind.ANSWER)
    )
    return reasoning, answer


def _result(output: RequestOutput, index: int = 0) -> tuple[str, str]:
    return output.text(index, TextKind.REASONING), output.text(index)


def test_chats_beside_each_other_get_their_own_answers(engine: TextEngine) -> None:
    requests = [_chat(question, n=2 if number % 2 else 1) for number, question in enumerate(_QUESTIONS)]
    outputs = dict[int, RequestOutput]()
    for number, request in enumerate(requests):
        outputs[number] = submitted(engine, number, request)
        step(engine, outputs)
    while not engine.is_idle:
        step(engine, outputs)
    for number, question in enumerate(_QUESTIONS):
        for index in range(requests[number].answer_count):
            assert _result(outputs[number], index) == _expected(question)
            assert outputs[number].finish_reason(index) is FinishReason.STOP


def test_an_answer_with_a_seed_is_the_same_beside_others(engine: TextEngine) -> None:
    sampling = SamplingParameters(temperature=2.0, top_p=1.0, seed=5)
    alone = answered(engine, _chat(GREETING, sampling=sampling, n=3, max_tokens=30))
    outputs = {
        1: submitted(engine, 1, _chat(LONG)),
        2: submitted(engine, 2, _chat(GREETING, sampling=sampling, n=3, max_tokens=30)),
        3: submitted(engine, 3, _chat(ECHO)),
    }
    while not engine.is_idle:
        step(engine, outputs)
    texts = [_result(outputs[2], index) for index in range(3)]
    assert texts == [_result(alone, index) for index in range(3)]
    assert len(set(texts)) == 3
    assert _result(outputs[1]) == _expected(LONG)


def test_a_stop_string_ends_an_answer_and_its_row(engine: TextEngine) -> None:
    output = answered(engine, _chat(STOP, stop=(STOP_STRING,)))
    assert (output.text(), output.finish_reason()) == (ANSWERS[STOP].partition(STOP_STRING)[0], FinishReason.STOP)
    assert engine.is_idle


def test_a_cancelled_chat_leaves_the_others_alone(engine: TextEngine) -> None:
    outputs = {number: submitted(engine, number, _chat(question)) for number, question in enumerate((LONG, ECHO))}
    while not outputs[0].deltas:
        step(engine, outputs)
    engine.cancel(0)
    outputs[0].is_cancelled = True
    while not engine.is_idle:
        step(engine, outputs)
    assert _result(outputs[1]) == _expected(ECHO)
    assert ANSWERS[LONG].startswith(outputs[0].text())


def test_the_second_turn_of_a_chat_reuses_the_first(engine: TextEngine) -> None:
    first = answered(engine, _chat("My name is Ann. " + GREETING, max_tokens=20))
    output = answered(engine, _chat("My name is Ann. " + GREETING, first.text(), CAPITAL))
    assert _result(output) == _expected(CAPITAL)
    usages = first.answer().usage, output.answer().usage
    assert usages[0] is not None
    assert usages[1] is not None
    assert usages[0].prompt_tokens <= usages[1].cached_tokens < usages[1].prompt_tokens


def test_logprobs_of_a_greedy_answer_are_the_likeliest_tokens(engine: TextEngine) -> None:
    delta = answered(engine, _chat(CAPITAL, top_logprobs=2)).answer()
    assert b"".join(logprob.content for logprob in delta.logprobs).decode() == ANSWERS[CAPITAL]
    assert all(logprob.top[0].content == logprob.content for logprob in delta.logprobs)


def test_a_limited_kv_cache_is_an_option_of_a_request(engine: TextEngine, has_draft: bool) -> None:  # noqa: FBT001 - a fixture
    request = _chat(CAPITAL, kv_cache=KVCacheOptions(max_size=1024))
    if has_draft:
        with pytest.raises(ValidationError, match="draft_model cannot be combined"):
            answered(engine, request)
    else:
        assert _result(answered(engine, request)) == _expected(CAPITAL)


def test_a_prompt_too_long_for_the_context_is_rejected(engine: TextEngine) -> None:
    for content in ("a" * CONTEXT, "a" * CONTEXT * 20):
        with pytest.raises(ContextLengthExceeded) as caught:
            submitted(engine, 1, _chat(content))
        assert caught.value.param == "messages"
    assert _result(answered(engine, _chat(REASONING))) == _expected(REASONING)
