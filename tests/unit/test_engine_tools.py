"""The engine and tools: what of them is in the prompt, and which requests are refused."""

from __future__ import annotations

import time

import attrs
import pytest

from mlxknife.domain.errors import TemplateError, ValidationError
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.tools.values import Tool, ToolCall, ToolCallDelta, ToolChoice, ToolMode
from tests.engine_answers import answered, numbered_call_ids
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.fakes.tokenizer import FakeTokenizer

_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    '{% for c in m.tool_calls or [] %}<tool_call>{"name": {{ c.function.name }}}{{ ARGUMENTS }}{% endfor %}{% endfor %}'
)
_OBJECTS = _TEMPLATE.replace("ARGUMENTS", "c.function.arguments.items() | list")
_TEXTS = _TEMPLATE.replace("ARGUMENTS", "'' + c.function.arguments")
_ASKED = (Message("user", "Hello"),)
_TOOLS = (Tool("f", "Adds."),)


def _prompt(request: GenerationRequest, template: str | None = _OBJECTS) -> str:
    engine = TextEngine(
        FakeTextModel(chat_template=template),
        FakeTemplates(),
        LoadRequest(Location("m", ()), "fast"),
        numbered_call_ids(),
        time.monotonic,
    )
    (prompt,) = engine.render(request)
    assert isinstance(prompt.text, str)
    return prompt.text


def _called(arguments: str) -> tuple[Message, ...]:
    return (*_ASKED, Message("assistant", "", tool_calls=(ToolCall("call_1", "f", arguments),)))


def test_the_template_gets_the_tools() -> None:
    assert '"name": "f", "description": "Adds."' in _prompt(GenerationRequest(_ASKED, tools=_TOOLS))
    assert _prompt(GenerationRequest(_ASKED)) == "<user>Hello"


def test_a_model_that_must_not_call_tools_sees_none() -> None:
    request = GenerationRequest(_ASKED, tools=_TOOLS, tool_choice=ToolChoice(ToolMode.NONE))
    assert _prompt(request) == "<user>Hello"


def test_arguments_are_objects_or_texts_as_the_template_takes_them() -> None:
    request = GenerationRequest(_called('{"a":  1}'))
    assert _prompt(request).endswith("{\"name\": f}[('a', 1)]")
    assert _prompt(request, _TEXTS).endswith('{"name": f}{"a":  1}')


def test_arguments_that_the_template_cannot_take_are_refused_by_name() -> None:
    with pytest.raises(ValidationError) as caught:
        _prompt(GenerationRequest(_called("{")))
    assert caught.value.param == "messages[1].tool_calls[0].function.arguments"
    assert _prompt(GenerationRequest(_called("{")), _TEXTS).endswith('{"name": f}{')


def test_the_error_of_a_template_is_that_of_the_first_form() -> None:
    failing = (
        '{{ tools }}<tool_call>{"name"}{{ raise_exception(messages[1].tool_calls[0].function.arguments | string) }}'
    )
    with pytest.raises(TemplateError, match=r"\{'a': 1\}") as caught:
        _prompt(GenerationRequest(_called('{"a": 1}')), failing)
    assert caught.value.param == "messages"


def test_without_a_template_for_tools_the_prompt_describes_them() -> None:
    request = GenerationRequest(_called("{}"), tools=_TOOLS)
    for template in (None, "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"):
        prompt = _prompt(request, template)
        assert '"name": "f", "description": "Adds."' in prompt
        assert prompt.endswith('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>')


def _answered(text: str, request: GenerationRequest) -> tuple[str, list[ToolCallDelta], FinishReason | None]:
    tokenizer = FakeTokenizer()
    tokens = tokenizer.encode(text, add_special_tokens=False)
    model = FakeTextModel(
        lambda _: tokens, tokenizer=tokenizer, end_token=256, vocabulary_size=257, chat_template=_OBJECTS
    )
    engine = TextEngine(
        model, FakeTemplates(), LoadRequest(Location("m", ()), "fast"), numbered_call_ids(), time.monotonic
    )
    output = answered(engine, request)
    calls = [call for delta in output.deltas for call in delta.tool_calls]
    assert model.is_idle
    return output.text(), calls, output.finish_reason()


_CALLS = """I add.
<tool_call>
{"name": "f", "arguments": {"a": 1}}
</tool_call>
<tool_call>
{"name": "f", "arguments": {}}
</tool_call>"""


def test_calls_in_an_answer_are_deltas_with_ids() -> None:
    text, calls, reason = _answered(_CALLS, GenerationRequest(_ASKED, tools=_TOOLS))
    assert (text, reason) == ("I add.", FinishReason.TOOL_CALLS)
    assert [(call.index, call.id, call.name) for call in calls if call.id] == [(0, "call_0", "f"), (1, "call_1", "f")]
    assert "".join(call.arguments for call in calls if call.index == 0) == '{"a": 1}'


@pytest.mark.parametrize(
    ("choice", "is_parallel"), [(ToolChoice(), False), (ToolChoice(ToolMode.REQUIRED, "f"), True)], ids=str
)
def test_an_answer_with_one_call_ends_after_it(choice: ToolChoice, *, is_parallel: bool) -> None:
    request = GenerationRequest(_ASKED, tools=_TOOLS, tool_choice=choice, parallel_tool_calls=is_parallel)
    _, calls, reason = _answered(_CALLS, request)
    assert {call.index for call in calls} == {0}
    assert reason is FinishReason.TOOL_CALLS


@pytest.mark.parametrize(("mode", "left"), [(ToolMode.REQUIRED, ""), (ToolMode.AUTO, '<tool_call>\n{"name": "f')])
def test_a_forced_call_that_is_cut_leaves_no_markup(mode: ToolMode, left: str) -> None:
    cut = _CALLS[_CALLS.index("<tool_call>") : _CALLS.index('", "arguments": {}')]
    options = GenerationOptions(max_tokens=len(cut))  # a character is a token
    request = GenerationRequest(_ASKED, options=options, tools=_TOOLS, tool_choice=ToolChoice(mode))
    text, calls, reason = _answered(cut, request)
    assert (text.strip(), {call.index for call in calls}, reason) == (left, {0}, FinishReason.LENGTH)


def test_without_tools_to_call_markup_is_text() -> None:
    for request in (
        GenerationRequest(_ASKED),
        GenerationRequest(_ASKED, tools=_TOOLS, tool_choice=ToolChoice(ToolMode.NONE)),
    ):
        assert _answered(_CALLS, request) == (_CALLS, [], FinishReason.STOP)


def test_tools_need_messages_and_the_chat_template() -> None:
    asked = GenerationRequest(_ASKED, tools=_TOOLS)
    for request in (attrs.evolve(asked, use_chat_template=False), GenerationRequest(prompts=("a",), tools=_TOOLS)):
        with pytest.raises(ValidationError) as caught:
            _prompt(request)
        assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (GenerationRequest(_ASKED, tools=(Tool("a b"),)), "tools[0].function.name"),
        (GenerationRequest(_ASKED, tool_choice=ToolChoice(ToolMode.REQUIRED)), "tool_choice"),
    ],
)
def test_invalid_tools_are_refused(request_: GenerationRequest, param: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _prompt(request_)
    assert caught.value.param == param
