"""The engine and tools: what of them is in the prompt, and which requests are refused."""

from __future__ import annotations

import attrs
import pytest

from mlxknife.domain.errors import TemplateError, ValidationError
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel

_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    '{% for c in m.tool_calls or [] %}<tool_call>{"name": {{ c.function.name }}}{{ ARGUMENTS }}{% endfor %}{% endfor %}'
)
_OBJECTS = _TEMPLATE.replace("ARGUMENTS", "c.function.arguments.items() | list")
_TEXTS = _TEMPLATE.replace("ARGUMENTS", "'' + c.function.arguments")
_ASKED = (Message("user", "Hello"),)
_TOOLS = (Tool("f", "Adds."),)


def _prompt(request: GenerationRequest, template: str | None = _OBJECTS) -> str:
    engine = TextEngine(FakeTextModel(chat_template=template), FakeTemplates(), LoadRequest(Location("m", ()), "fast"))
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
