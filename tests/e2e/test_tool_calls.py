"""Tools from end to end, in a model process with real weights: a call, its result, and the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import attrs
import pytest

from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message, SamplingParameters
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode
from mlxknife.ports.engines.processes import ModelClient
from mlxknife.wiring.run import model_processes
from tests.parrot import ANSWERS, TOOL_RESULT, parrot_folder
from tests.parrot.answers import CAPITAL, GREETING, TOOL

pytestmark = pytest.mark.timeout(600)

_SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Berlin", "Oslo"]}}, "required": ["city"]}
_WEATHER = Tool("get_weather", "Say what the weather is.", json.dumps(_SCHEMA))
_REQUIRED = ToolMode.REQUIRED
_GREEDY = GenerationOptions(SamplingParameters(temperature=0.0), max_tokens=200)


@attrs.frozen
class _Answer:
    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: FinishReason | None


@pytest.fixture(scope="module")
def client() -> Iterator[ModelClient]:
    """A process with the model that calls a tool for one question, and recites answers for others."""
    with closing(BlockingClients(model_processes()).start()) as started:
        started.load(LoadRequest(Location(str(parrot_folder()), ()), "as-is"))
        yield started


def _answer(client: ModelClient, request: GenerationRequest) -> _Answer:
    whole = Delta()
    for event in client.submit(request):
        whole = whole.followed_by(event) if isinstance(event, Delta) else whole
    calls: dict[int, ToolCall] = {}
    for part in whole.tool_calls:
        known = calls.setdefault(part.index, ToolCall(part.id, part.name, ""))
        calls[part.index] = attrs.evolve(known, arguments=known.arguments + part.arguments)
    return _Answer("".join(text.text for text in whole.texts), tuple(calls.values()), whole.finish_reason)


def _asking(question: str, **changes: object) -> GenerationRequest:
    request = GenerationRequest((Message("user", question),), options=_GREEDY, tools=(_WEATHER,))
    return attrs.evolve(request, **changes)  # type: ignore[arg-type] # by name


def test_a_call_its_result_and_the_answer(client: ModelClient) -> None:
    asked = _asking(TOOL)
    called = _answer(client, asked)
    (call,) = called.calls
    assert (call.name, call.arguments) == ("get_weather", '{"city": "Berlin"}')
    assert (called.text, called.finish_reason) == ("", FinishReason.TOOL_CALLS)
    history = (Message("assistant", "", tool_calls=called.calls), Message("tool", TOOL_RESULT, tool_call_id=call.id))
    answered = _answer(client, attrs.evolve(asked, messages=(*asked.messages, *history)))
    assert answered == _Answer(ANSWERS[TOOL_RESULT], (), FinishReason.STOP)


@pytest.mark.parametrize(
    "choice", [ToolChoice(ToolMode.REQUIRED), ToolChoice(ToolMode.REQUIRED, "get_weather")], ids=str
)
def test_a_model_that_would_answer_is_made_to_call(client: ModelClient, choice: ToolChoice) -> None:
    free, forced = _asking(CAPITAL), _asking(CAPITAL, tool_choice=choice, parallel_tool_calls=False)
    assert _answer(client, free) == _Answer(ANSWERS[CAPITAL], (), FinishReason.STOP)
    called = _answer(client, forced)
    (call,) = called.calls
    assert json.loads(call.arguments) in ({"city": "Berlin"}, {"city": "Oslo"})
    assert (called.text, called.finish_reason) == ("", FinishReason.TOOL_CALLS)
    assert _answer(client, free).text == ANSWERS[CAPITAL]


def test_a_strict_tool_holds_a_call_to_its_schema_and_leaves_text_free(client: ModelClient) -> None:
    schema = json.dumps({"type": "object", "properties": {"city": {"const": "Oslo"}}, "required": ["city"]})
    strict = (attrs.evolve(_WEATHER, parameters=schema, is_strict=True),)
    assert _answer(client, _asking(GREETING, tools=strict)).text == ANSWERS[GREETING]
    called = _answer(client, _asking(TOOL, tools=strict, parallel_tool_calls=False))
    assert [json.loads(call.arguments) for call in called.calls] == [{"city": "Oslo"}]


def test_without_the_choice_to_call_the_model_sees_no_tools(client: ModelClient) -> None:
    answer = _answer(client, _asking(CAPITAL, tool_choice=ToolChoice(ToolMode.NONE)))
    assert answer == _Answer(ANSWERS[CAPITAL], (), FinishReason.STOP)


def test_refusals_name_the_field_and_leave_the_process(client: ModelClient) -> None:
    for tools, param in (
        ((attrs.evolve(_WEATHER, name="a b"),), "tools[0].function.name"),
        ((attrs.evolve(_WEATHER, parameters='{"not": {}}', is_strict=True),), "tools[0].function.parameters.not"),
    ):
        with pytest.raises(ValidationError) as caught:
            _answer(client, _asking(TOOL, tools=tools))
        assert caught.value.param == param
    assert _answer(client, _asking(CAPITAL)).text == ANSWERS[CAPITAL]
