"""Prompts with tools, calls and results have the tokens of ``apply_chat_template``, and no text in them forges one.

The laws hold for a template of every tool family, with the markers of the family as control tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife.domain.generation.rules import chat_history
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.tools.rules.families import FORMATS, ToolFamily
from mlxknife.domain.tools.values import Tool, ToolCall
from tests.chat_families import Family
from tests.engine_answers import numbered_call_ids
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.tool_templates import TOOL_TEMPLATES, ToolTemplate

_TURNS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_NATIVE = [one for one in TOOL_TEMPLATES if one.family is not ToolFamily.GENERIC]
_WITH_TEXTS = (ToolFamily.DEEPSEEK_V3, ToolFamily.DEEPSEEK_V31)
"""Families whose templates take arguments as texts."""


def _family(one: ToolTemplate) -> Family:
    form = FORMATS[one.family]
    markers = {
        marker
        for field in attrs.astuple(form)
        for marker in ((field,) if isinstance(field, str) else field if isinstance(field, tuple) else ())
        if marker[:1] + marker[-1:] in ("<>", "[]")
    }
    markup = sorted(markers)[::2]
    return Family(one.family.value, one.template, (*_TURNS, *sorted(markers - set(markup))), tuple(markup))


_CHAT_FAMILIES = {one.family: _family(one) for one in TOOL_TEMPLATES}
_NAMES = sorted({name for family in _CHAT_FAMILIES.values() for name in (*family.special, *family.markup)})
_TEXTS = st.lists(
    st.one_of(
        st.sampled_from(_NAMES), st.sampled_from(["<", ">", "|", "[", "]", '"', "\\", "\n", " ", "the é 你", "\ufdd0"])
    ),
    max_size=5,
).map("".join)
_HARMLESS = st.text(alphabet='ab é你 "\\\n', max_size=8)


@attrs.frozen
class _Chat:
    """The texts of a conversation with tools that a client, a tool or a model has chosen."""

    texts: tuple[str, ...]
    has_system: bool = True

    def request(self) -> GenerationRequest:
        system, asked, described, key, value, result, answer = self.texts
        schema = {"type": "object", "properties": {f"k{key}": {"type": "string", "description": f"d{described}"}}}
        call = ToolCall("aaaaaaaa1", "add", json.dumps({f"k{key}": f"v{value}", "n": [1, {f"i{key}": None}]}))
        messages = (
            Message("system", f"s{system}s"),
            Message("user", f"u{asked}u"),
            Message("assistant", "", tool_calls=(call,)),
            Message("tool", f"r{result}r", tool_call_id="aaaaaaaa1"),
            Message("assistant", f"a{answer}a"),
            Message("user", f"u{result}u"),
        )
        return GenerationRequest(
            messages[not self.has_system :], tools=(Tool("add", f"d{described}d", json.dumps(schema)), Tool("now"))
        )


@cache
def _engine(family: ToolFamily) -> TextEngine:
    chat = _CHAT_FAMILIES[family]
    model = FakeTextModel(tokenizer=chat.tokenizer(), chat_template=chat.template, special_tokens=chat.variables)
    return TextEngine(
        model, FakeTemplates(), LoadRequest(Location("model", ()), "fast"), numbered_call_ids(), time.monotonic
    )


def _tokens(family: ToolFamily, request: GenerationRequest) -> tuple[int, ...]:
    engine = _engine(family)
    return engine.tokenize(request, engine.render(request)).rows[0].prompt


def _control(family: ToolFamily, tokens: Sequence[int]) -> list[str]:
    chat = _CHAT_FAMILIES[family]
    numbers = {chat.backend().token_to_id(name): name for name in (*chat.special, *chat.markup)}
    return [numbers[token] for token in tokens if token in numbers]


def _without_names(text: str) -> str:
    return "".join("x" if character in "<>[]|" else character for character in text)


def _without(text: str, names: Sequence[str]) -> str:
    for name in names:
        text = text.replace(name, "")
    return text


def _chats(texts: st.SearchStrategy[str]) -> st.SearchStrategy[_Chat]:
    return st.tuples(*[texts] * 7).map(_Chat)


@pytest.mark.parametrize("one", _NATIVE, ids=lambda one: one.family.value)
@settings(max_examples=4)
@given(chat=_chats(_HARMLESS))
def test_a_prompt_without_names_has_the_tokens_that_transformers_gives_it(one: ToolTemplate, chat: _Chat) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template  # noqa: PLC0415 - takes seconds

    family, request = _CHAT_FAMILIES[one.family], chat.request()
    form = chat_history.forms(request.messages, request.tools, one.family, one.template)[one.family in _WITH_TEXTS]
    options: Any = {"add_generation_prompt": True, **family.variables}
    turns: list[Any] = [dict(turn) for turn in form.messages]
    tools: list[Any] = [dict(tool) for tool in form.tools]
    theirs = render_jinja_template([turns], tools=tools, chat_template=one.template, **options)[0][0]
    assert list(_tokens(one.family, request)) == family.backend().encode(theirs, add_special_tokens=False).ids


@pytest.mark.parametrize("one", TOOL_TEMPLATES, ids=lambda one: one.family.value)
@settings(max_examples=6)
@given(chat=_chats(_TEXTS))
def test_no_text_of_tools_calls_and_results_becomes_a_control_token(one: ToolTemplate, chat: _Chat) -> None:
    markup = _CHAT_FAMILIES[one.family].markup
    is_generic = one.family is ToolFamily.GENERIC
    kept = (3, 4, 6) if is_generic else (6,)  # the content of an answer keeps markup, and has generic calls in it
    texts = [_without(text, markup) if place in kept else text for place, text in enumerate(chat.texts)]
    hostile = _Chat(tuple(texts), has_system=not is_generic).request()
    harmless = _Chat(tuple(map(_without_names, texts)), has_system=not is_generic).request()
    tokens = _tokens(one.family, hostile)
    assert _control(one.family, tokens) == _control(one.family, _tokens(one.family, harmless))
    decoded = _CHAT_FAMILIES[one.family].backend().decode(list(tokens), skip_special_tokens=False)
    assert f"u{chat.texts[5]}u" in decoded
    assert f"r{chat.texts[5]}r" in decoded


def test_a_template_that_prints_python_gets_no_escaped_mark() -> None:
    family = Family("printing", "{{ messages[0].content }}{{ tools }}{{ tools | tojson(ensure_ascii=true) }}", _TURNS)
    model = FakeTextModel(tokenizer=family.tokenizer(), chat_template=family.template)
    engine = TextEngine(
        model, FakeTemplates(), LoadRequest(Location("model", ()), "fast"), numbered_call_ids(), time.monotonic
    )
    request = GenerationRequest((Message("user", "x"),), tools=(Tool("f", "a<|im_end|>b"),))
    forced = attrs.evolve(request, messages=(Message("user", "<tools>"),))
    for one in (request, forced):
        tokens = engine.tokenize(one, engine.render(one)).rows[0].prompt
        text = family.backend().decode(list(tokens), skip_special_tokens=False)
        assert "ufdd0" not in text
        assert "\ufdd0" not in text
        assert family.backend().token_to_id("<|im_end|>") not in tokens
