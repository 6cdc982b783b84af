"""Names of control tokens in messages are text: they begin and end no turn, and they stay readable.

The laws hold for every special token of every family, wherever a client may write one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.rules import conversations
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.text import Tokenizer as TokenizerPort
from tests.chat_families import FAMILIES, Family
from tests.engine_answers import numbered_call_ids
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.tokenizer_files import (
    BYTES_IN_PYTHON,
    KINDS,
    LOSSLESS,
    SENTENCEPIECE,
    fast_tokenizer,
    transformers_tokenizer,
)

_NAMES = {name for family in FAMILIES for name in (*family.special, *family.markup)}
_PIECES = st.lists(
    st.one_of(
        st.sampled_from(sorted(_NAMES)),
        st.sampled_from(
            ["<", "|", ">", "im_end|>", "<|im_", "\n", " ", "the sun", "é 你好", "\ufdd0", "</s", "\\", '"']
        ),
        st.text(alphabet="ab <|>[]/", max_size=5),
    ),
    max_size=8,
)
_TEXTS = _PIECES.map("".join)
_TURNS = st.tuples(_TEXTS, _TEXTS, _TEXTS, _TEXTS, _TEXTS)


def _conversation(family: Family, turns: Sequence[str]) -> tuple[Message, ...]:
    system, user, answer, result, reasoning = turns
    for name in family.markup:  # an answer keeps it
        answer = answer.replace(name, "")
    messages = [Message("system", f"s{system}s")] if family.has_system else []
    messages += [Message("user", f"u{user}u"), Message("assistant", f"a{answer}a", reasoning_content=f"r{reasoning}r")]
    messages.append(Message("tool", f"t{result}t", name="f") if family.has_tools else Message("user", f"t{result}t"))
    return tuple(messages)


@cache
def _engine(family: Family) -> TextEngine:
    model = FakeTextModel(tokenizer=family.tokenizer(), chat_template=family.template, special_tokens=family.variables)
    return TextEngine(
        model, FakeTemplates(), LoadRequest(Location("model", ()), "fast"), numbered_call_ids(), time.monotonic
    )


def _tokens(family: Family, messages: tuple[Message, ...]) -> tuple[int, ...]:
    engine, request = _engine(family), GenerationRequest(messages)
    return engine.tokenize(request, engine.render(request)).rows[0].prompt


def _rendered(family: Family, messages: tuple[Message, ...]) -> str:
    return FakeTemplates().render(family.template, conversations.of(messages).messages, family.variables)


def _control(family: Family, tokens: Sequence[int]) -> list[str]:
    """Return the names of the control tokens among some tokens."""
    numbers = {family.backend().token_to_id(name): name for name in (*family.special, *family.markup)}
    return [numbers[token] for token in tokens if token in numbers]


def _without_names(text: str) -> str:
    """Return a text from which no control token can come, and which a template treats in the same way."""
    return "".join("x" if character in "<>[]|" else character for character in text)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(max_examples=30)
@given(turns=_TURNS)
def test_nothing_in_a_message_becomes_a_control_token_and_the_prompt_reads_as_rendered(
    family: Family, turns: tuple[str, ...]
) -> None:
    messages = _conversation(family, turns)
    harmless = _conversation(family, [_without_names(text) for text in turns])
    tokens = _tokens(family, messages)
    assert _control(family, tokens) == _control(family, _tokens(family, harmless))
    rendered = _rendered(family, messages)
    assert family.backend().decode(list(tokens), skip_special_tokens=False) == rendered


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@settings(max_examples=30)
@given(turns=st.tuples(*[st.text(alphabet="ab é你\n<>|", max_size=20)] * 5))
def test_messages_without_names_have_the_tokens_of_the_rendered_template(
    family: Family, turns: tuple[str, ...]
) -> None:
    messages = _conversation(family, turns)
    rendered = _rendered(family, messages)
    assert list(_tokens(family, messages)) == family.backend().encode(rendered, add_special_tokens=False).ids


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_special_token_is_text_in_every_role(family: Family, role: str) -> None:
    for name in family.special:
        marked = family.tokenizer().mark_control_tokens(f"a{name}b", "\ufdd1", is_answer=role == "assistant")
        tokens = family.tokenizer().encode(marked, add_special_tokens=False, mark="\ufdd1")
        assert _control(family, tokens) == []
        assert family.backend().decode(list(tokens), skip_special_tokens=False) == f"a{name}b"


def test_an_answer_keeps_the_markup_that_models_write() -> None:
    (qwen,) = (family for family in FAMILIES if family.name == "qwen")
    answer = "<think>\nhm\n</think>\n\nyes"
    asked = (Message("user", "<think>"), Message("assistant", answer), Message("user", "</think>"))
    assert _control(qwen, _tokens(qwen, asked)).count("<think>") == 1
    assert _control(qwen, _tokens(qwen, asked)).count("</think>") == 1


@pytest.mark.parametrize("kind", [*KINDS, SENTENCEPIECE, BYTES_IN_PYTHON])
@settings(max_examples=30)
@given(
    pieces=st.lists(st.sampled_from(["<s>", "</s>", "<think>", "</think>", "the ", "<", "s>", "\n", "é"]), max_size=6)
)
def test_it_holds_for_every_kind_of_tokenizer(kind: str, pieces: list[str]) -> None:
    tokenizer, text = _opened(kind), "".join(pieces)
    marked = tokenizer.mark_control_tokens(text, "\ufdd1", is_answer=False)
    tokens = tokenizer.encode(marked, add_special_tokens=False, mark="\ufdd1")
    assert not {tokenizer.token_bytes(token).strip() for token in tokens} & {b"<think>", b"</think>", b"<s>"}
    if kind in (*LOSSLESS, SENTENCEPIECE, BYTES_IN_PYTHON):
        detokenizer = tokenizer.detokenizer()
        decoded = "".join(map(detokenizer.feed, tokens)) + detokenizer.finish()
        assert decoded == text


def _opened(kind: str) -> TokenizerPort:
    """Return a tokenizer of a kind, used with a template that has ``<think>``."""
    if kind in (SENTENCEPIECE, BYTES_IN_PYTHON):
        return transformers_tokenizer(kind, "<think></think>")
    return fast_tokenizer(kind, "<think></think>")


def test_a_model_without_a_template_gets_its_special_tokens_around_marked_text() -> None:
    tokenizer = fast_tokenizer("byte-level", "")
    engine = TextEngine(
        FakeTextModel(tokenizer=tokenizer),
        FakeTemplates(),
        LoadRequest(Location("model", ()), "fast"),
        numbered_call_ids(),
        time.monotonic,
    )
    request = GenerationRequest((Message("user", "a<s>b"),))
    prompt = engine.tokenize(request, engine.render(request)).rows[0].prompt
    names = [tokenizer.token_bytes(token) for token in prompt]
    assert names[0] == b"<s>"
    assert b"<s>" not in names[1:]
    raw = (
        engine.tokenize(
            attrs.evolve(request, use_chat_template=False),
            engine.render(attrs.evolve(request, use_chat_template=False)),
        )
        .rows[0]
        .prompt
    )
    assert [tokenizer.token_bytes(token) for token in raw].count(b"<s>") == 2


@given(texts=st.lists(st.text(alphabet="a\ufdd0\ufdd1\ufdd2\\ufd01", max_size=8), max_size=4))
def test_the_mark_occurs_in_no_text_escaped_or_not(texts: list[str]) -> None:
    conversation = conversations.of([Message("user", text, name=text) for text in texts])
    mark = conversations.unused_mark(conversation, "".join(texts))
    assert all(mark not in text and json.dumps(mark)[1:-1] not in text for text in texts)


def test_there_are_limits_to_names_and_marks() -> None:
    every = conversations.of([Message("user", "".join(map(chr, range(0xFDD0, 0xFDF0))))])
    with pytest.raises(ValidationError, match="noncharacter"):
        conversations.unused_mark(every, "")
    with pytest.raises(ValidationError, match="more than 65536 names") as caught:
        fast_tokenizer("byte-level", "").mark_control_tokens("<s>" * 70_000, "\ufdd0", is_answer=False)
    assert caught.value.param == "messages"
