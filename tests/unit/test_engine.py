"""The engine of a language model: how a request becomes rows, and which requests it rejects."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest

from mlxknife.domain.errors import ContextLengthExceeded, EngineError, KnifeError, TemplateError, ValidationError
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
from mlxknife.ports.engines.engine import AnyEngine
from tests.engine_answers import answered, numbered_call_ids, step, submitted
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.fakes.tokenizer import FakeTokenizer

_TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
_HELLO = (Message("user", "Hello"),)
_VOCABULARY_SIZE = 259
_TOKENIZER = FakeTokenizer(("<think>", "</think>", "<s>"), begin="<s>", broken_token=0xFE, broken_text="unencodable")


def _model(answer: str = "Hello there.", **changes: Any) -> FakeTextModel:  # noqa: ANN401 - fields of several types
    tokens = _TOKENIZER.encode(answer, add_special_tokens=False)
    model = FakeTextModel(
        lambda _: tokens, tokenizer=_TOKENIZER, chat_template=_TEMPLATE, vocabulary_size=_VOCABULARY_SIZE
    )
    return attrs.evolve(model, **changes)


def _engine(model: FakeTextModel | None = None, **loaded: Any) -> TextEngine:  # noqa: ANN401
    request = LoadRequest(Location("model", ()), "fast", **loaded)
    return TextEngine(model or _model(), FakeTemplates(), request, numbered_call_ids(), time.monotonic)


def _prompts(model: FakeTextModel) -> list[str]:
    return [b"".join(map(_TOKENIZER.token_bytes, row.prompt)).decode() for row in model.rows]


def _error(request: GenerationRequest, model: FakeTextModel | None = None, **loaded: Any) -> KnifeError:  # noqa: ANN401
    """Return the error of a request; nothing of it runs."""
    model = model or _model()
    with pytest.raises(KnifeError) as caught:
        submitted(_engine(model, **loaded), 1, request)
    assert model.is_idle
    return caught.value


def test_it_fulfils_the_port() -> None:
    engine: AnyEngine = _engine(_model(notes=("no GPU",)))
    assert (engine.notes, engine.is_idle) == (("no GPU",), True)


def test_a_conversation_becomes_the_rendered_template_without_further_special_tokens() -> None:
    model = _model()
    output = submitted(_engine(model), 1, GenerationRequest(_HELLO))
    assert _prompts(model) == ["<user>Hello<assistant>"]
    assert output.accepted.prompt_tokens == len(model.rows[0].prompt)


@pytest.mark.parametrize(("template", "use_chat_template"), [(None, True), (_TEMPLATE, False), (None, False)])
def test_without_a_template_the_messages_are_joined_and_get_special_tokens(
    template: str | None, *, use_chat_template: bool
) -> None:
    model = _model("<think>x</think>", chat_template=template)
    messages = (Message("system", "Be brief."), *_HELLO)
    output = answered(_engine(model), GenerationRequest(messages, use_chat_template=use_chat_template))
    assert _prompts(model) == ["<s>Be brief.\n\nHello"]
    assert (output.text(), output.text(kind=TextKind.REASONING)) == ("<think>x</think>", "")


def test_the_template_gets_the_special_tokens_of_the_model() -> None:
    model = _model(chat_template="{{ bos_token }}{{ messages[0].content }}", special_tokens={"bos_token": "<s>"})
    submitted(_engine(model), 1, GenerationRequest(_HELLO))
    assert _prompts(model) == ["<s>Hello"]


def test_reasoning_is_found_by_the_tokens_of_the_model() -> None:
    output = answered(_engine(_model("<think>\nHmm.\n</think>\n\nYes.")), GenerationRequest(_HELLO))
    assert (output.text(kind=TextKind.REASONING), output.text()) == ("Hmm.", "Yes.")


def test_reasoning_that_the_prompt_has_begun_is_found() -> None:
    model = _model("Hmm.</think>Yes.", chat_template=f"{_TEMPLATE}<think>\n")
    output = answered(_engine(model), GenerationRequest(_HELLO))
    assert (output.text(kind=TextKind.REASONING), output.text()) == ("Hmm.", "Yes.")


def test_prompts_are_completed_in_their_order_without_reasoning() -> None:
    model = _model("<think>x")
    request = GenerationRequest(prompts=("a", (98, 99)), options=GenerationOptions(n=2))
    output = answered(_engine(model), request)
    assert _prompts(model) == ["<s>a", "<s>a", "bc", "bc"]
    assert output.accepted.prompt_tokens == 4
    usages = [output.answer(index).usage for index in range(4)]
    assert [(usage.prompt_tokens, usage.completion_tokens) for usage in usages if usage] == [(2, 3)] * 4
    assert {output.text(index) for index in range(4)} == {"<think>x"}


def test_an_echo_is_the_prompt_as_text() -> None:
    request = GenerationRequest(prompts=("Say: ", (0x61, 256)), echo=True)
    output = answered(_engine(), request)
    assert [output.text(index) for index in range(2)] == ["Say: Hello there.", "a<think>Hello there."]


@pytest.mark.parametrize(
    ("options", "param"),
    [
        (GenerationOptions(SamplingParameters(temperature=-1.0)), "temperature"),
        (GenerationOptions(SamplingParameters(frequency_penalty=3.0)), "frequency_penalty"),
        (GenerationOptions(SamplingParameters(presence_penalty=float("nan"))), "presence_penalty"),
        (GenerationOptions(SamplingParameters(logit_bias=((300, 1.0),))), "logit_bias"),
        (GenerationOptions(SamplingParameters(logit_bias=((3, 101.0),))), "logit_bias"),
        (GenerationOptions(max_tokens=-1), "max_tokens"),
        (GenerationOptions(top_logprobs=21), "top_logprobs"),
        (GenerationOptions(stop=("",)), "stop"),
        (GenerationOptions(n=0), "n"),
    ],
    ids=str,
)
@pytest.mark.parametrize("prompts", [(), ("a",)])
def test_invalid_options_are_rejected_by_name(options: GenerationOptions, param: str, prompts: tuple[str, ...]) -> None:
    messages = () if prompts else _HELLO
    error = _error(GenerationRequest(messages, prompts, options))
    assert isinstance(error, ValidationError)
    assert error.param == param


def test_kv_cache_options_that_the_model_does_not_support_are_rejected() -> None:
    request = GenerationRequest(_HELLO, options=GenerationOptions(kv_cache=KVCacheOptions(bits=4)))
    assert isinstance(_error(request), ValidationError)


def test_kv_cache_options_are_rejected_for_a_model_with_a_draft_model() -> None:
    request = GenerationRequest(_HELLO, options=GenerationOptions(kv_cache=KVCacheOptions(max_size=64)))
    error = _error(request, draft=Location("draft", ()))
    assert "max_kv_size and draft_model cannot be combined" in error.message
    answered(_engine(), request)


@pytest.mark.parametrize("prompt", [(-1,), (259,), (2**40,), ()], ids=str)
def test_tokens_outside_the_vocabulary_are_rejected(prompt: tuple[int, ...]) -> None:
    error = _error(GenerationRequest(prompts=("a", prompt)))
    assert isinstance(error, ValidationError)
    assert error.param == "prompt"


def test_a_request_without_messages_is_rejected() -> None:
    error = _error(GenerationRequest())
    assert (type(error), error.param) == (ValidationError, "messages")


def test_messages_of_another_type_are_rejected() -> None:
    messages: Any = ({"role": "user", "content": "Hello"},)
    error = _error(GenerationRequest(messages))
    assert (type(error), error.param) == (ValidationError, "messages")


@pytest.mark.parametrize("top_logprobs", [0, 2])
def test_logprobs_and_echo_cannot_be_combined(top_logprobs: int) -> None:
    options = GenerationOptions(top_logprobs=top_logprobs)
    error = _error(GenerationRequest(prompts=("a",), options=options, echo=True))
    assert (type(error), error.param) == (ValidationError, "logprobs")


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (GenerationRequest((Message("user", "a" * 5000),)), "messages"),
        (GenerationRequest((Message("assistant", "", reasoning_content="a" * 5000), *_HELLO)), "messages"),
        (GenerationRequest(prompts=("b", "a" * 5000)), "prompt"),
    ],
    ids=["messages", "reasoning", "prompt"],
)
def test_a_text_too_long_for_the_context_is_rejected_before_it_is_rendered_or_encoded(
    request_: GenerationRequest, param: str
) -> None:
    model, templates = _model(), FakeTemplates()
    engine = TextEngine(
        model,
        templates,
        LoadRequest(Location("model", ()), "fast", context_length=64),
        numbered_call_ids(),
        time.monotonic,
    )
    with pytest.raises(ContextLengthExceeded, match="characters") as caught:
        submitted(engine, 1, request_)
    assert caught.value.param == param
    assert (templates.renderings, model.rows) == (0, [])


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (GenerationRequest((Message("user", "a" * 60),)), "messages"),
        *((GenerationRequest(prompts=((97,) * count,)), "prompt") for count in (64, 65, 100_000)),
        (GenerationRequest(prompts=("b", "a" * 63)), "prompt"),
    ],
    ids=["messages", "64", "65", "100000", "special token"],
)
def test_tokens_that_fill_the_context_are_rejected(request_: GenerationRequest, param: str) -> None:
    error = _error(request_, context_length=64)
    assert (type(error), error.param) == (ContextLengthExceeded, param)


def test_a_prompt_that_leaves_one_token_is_answered_with_one() -> None:
    output = answered(_engine(context_length=64), GenerationRequest(prompts=("a" * 62,)))
    assert (output.text(), output.finish_reason()) == ("H", FinishReason.LENGTH)


@pytest.mark.parametrize("template", ["{{ raise_exception('no system text') }}", "{{ messages", "{{ 1 / 0 }}"])
def test_an_error_of_the_template_names_the_messages(template: str) -> None:
    error = _error(GenerationRequest(_HELLO), _model(chat_template=template))
    assert (type(error), error.param) == (TemplateError, "messages")
    if "raise" in template:
        assert "no system text" in error.message


def test_a_rendered_template_that_is_empty_is_rejected() -> None:
    error = _error(GenerationRequest(_HELLO), _model(chat_template="{# nothing #}"))
    assert (type(error), error.message) == (ValidationError, "prompt is empty")


def test_a_text_that_the_tokenizer_cannot_encode_is_an_engine_error() -> None:
    assert isinstance(_error(GenerationRequest((Message("user", "unencodable"),))), EngineError)


def test_an_error_while_an_answer_is_decoded_ends_its_request_alone() -> None:
    model = FakeTextModel(
        lambda row: (0xFE,) if row.prompt[-1] == ord("x") else (*b"fine",),
        tokenizer=_TOKENIZER,
        vocabulary_size=_VOCABULARY_SIZE,
    )
    engine = _engine(model)
    outputs = {
        number: submitted(engine, number, GenerationRequest(prompts=prompts))
        for number, prompts in enumerate([("a",), ("b", "x", "c"), ("d",)])
    }
    while not engine.is_idle:
        step(engine, outputs)
    assert [output.text() for output in (outputs[0], outputs[2])] == ["fine", "fine"]
    assert isinstance(outputs[1].error, EngineError)
    assert len(model.cancelled) == 3  # the failed row and the two others of its request


def test_a_row_that_fails_ends_its_request_alone() -> None:
    model = _model(failing_token=0xFF)
    engine = _engine(model)
    outputs = {
        number: submitted(engine, number, GenerationRequest(prompts=prompts))
        for number, prompts in enumerate([("a",), ("b", (97, 0xFF), "c"), ("d",)])
    }
    while not engine.is_idle:
        step(engine, outputs)
    assert [output.text() for output in (outputs[0], outputs[2])] == ["Hello there."] * 2
    assert outputs[1].error is not None
    assert outputs[1].error.message == "The model produced NaN logits"


def test_a_request_of_which_one_row_is_rejected_does_not_run() -> None:
    model = _model()
    engine = _engine(model)
    running = submitted(engine, 1, GenerationRequest(_HELLO))
    with pytest.raises(ValidationError):
        submitted(engine, 2, GenerationRequest(prompts=("a", "b", (999,))))
    assert len(model.cancelled) == 2
    while not engine.is_idle:
        step(engine, {1: running})  # an event of the rejected request would have no output
    assert running.text() == "Hello there."


def test_a_stop_string_cancels_its_row() -> None:
    model = _model("One\nTwo\nThree")
    output = answered(_engine(model), GenerationRequest(_HELLO, options=GenerationOptions(stop=("\nTwo", "Four"))))
    assert (output.text(), output.finish_reason()) == ("One", FinishReason.STOP)
    assert model.cancelled == [model.rows[0].id]
    usage = output.answer().usage
    assert usage is not None
    assert usage.completion_tokens == len("One\nTwo")


def test_an_answer_that_ends_itself_is_not_cancelled() -> None:
    model = _model("One")
    answered(_engine(model), GenerationRequest(_HELLO, options=GenerationOptions(stop=("\nTwo",), n=2)))
    assert model.cancelled == []


def test_a_cancelled_request_has_no_further_events() -> None:
    model = _model()
    engine = _engine(model)
    outputs = {number: submitted(engine, number, GenerationRequest(_HELLO)) for number in (1, 2)}
    for _ in range(4):
        step(engine, outputs)
    engine.cancel(1)
    outputs[1].is_cancelled = True
    engine.cancel(1)
    engine.cancel(7)
    while not engine.is_idle:
        step(engine, outputs)
    assert outputs[2].text() == "Hello there."
    assert "Hello there.".startswith(outputs[1].text())
    engine.cancel(2)
    assert model.cancelled == [model.rows[0].id]


def test_the_second_turn_of_a_chat_reports_the_cached_tokens() -> None:
    model = _model()
    engine = _engine(model)
    first = answered(engine, GenerationRequest(_HELLO)).answer().usage
    messages = (*_HELLO, Message("assistant", "Hello there."), Message("user", "Bye"))
    second = answered(engine, GenerationRequest(messages)).answer().usage
    assert first is not None
    assert second is not None
    assert (first.cached_tokens, second.cached_tokens) == (0, first.prompt_tokens + len("Hello there."))


def test_closing_frees_the_model_and_ends_the_renderers() -> None:
    model, templates = _model(), FakeTemplates()
    engine = TextEngine(
        model, templates, LoadRequest(Location("model", ()), "fast"), numbered_call_ids(), time.monotonic
    )
    submitted(engine, 1, GenerationRequest(_HELLO))
    engine.close()
    assert (model.is_closed, templates.is_closed, engine.is_idle) == (True, True, True)
    with pytest.raises(EngineError, match="closed"):
        engine.step()
    with pytest.raises(EngineError, match="closed"):
        submitted(engine, 2, GenerationRequest(prompts=("a",)))


def test_the_loop_guard_of_one_request_ends_its_row_alone() -> None:
    model = _model("ab" * 300)
    engine = _engine(model)
    outputs = {
        number: submitted(
            engine, number, GenerationRequest(_HELLO, options=GenerationOptions(has_loop_guard=is_guarded))
        )
        for number, is_guarded in ((1, True), (2, False))
    }
    while not engine.is_idle:
        step(engine, outputs)
    assert [output.finish_reason() for output in outputs.values()] == [FinishReason.REPETITION, FinishReason.STOP]
    assert [len(output.text()) for output in outputs.values()] == [256, 600]
