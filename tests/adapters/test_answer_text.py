"""The text of an answer is what the model's tokenizer decodes all its tokens to, whichever library runs it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text import tokenizer as tokenizer_module
from mlxknife.adapters.mlx.text.model import MlxTextLoader
from mlxknife.adapters.mlx.text.tokenizer import FastTokenizer, TransformersTokenizer
from mlxknife.domain.generation.services.engine import TextEngine
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationOptions, GenerationRequest, Message
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.text import Tokenizer
from tests.engine_answers import answered, numbered_call_ids
from tests.fakes.templates import FakeTemplates
from tests.fakes.text_model import FakeTextModel
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, UNICODE
from tests.parrot_rows import GREEDY
from tests.tokenizer_files import KINDS, fast_tokenizer, tokenizer_json

pytestmark = pytest.mark.timeout(1200)

_TEXTS = (
    " the sun",
    "the sun",
    "  the sun",
    "\n the",
    "the\n the\n\n  the",
    "é the",
    " é",
    "the sun 's , .",
    "<think> the",
)
"""A space at the start, two of them, one after a line break: each of mlx-lm's own detokenizers loses one of these."""


@cache
def _loaded(kind: str) -> Any:  # noqa: ANN401 - mlx-lm's own
    """Return a tokenizer of a kind as it is loaded from the folder of a model."""
    load_fast_blas()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tokenizer.json").write_text(tokenizer_json(kind), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        return tokenizer_module.load(folder)


@cache
def _fast(kind: str) -> Tokenizer:
    tokenizer = tokenizer_module.wrapped(_loaded(kind))
    assert isinstance(tokenizer, FastTokenizer)
    return tokenizer


@cache
def _transformers(kind: str) -> Tokenizer:
    """Return the same tokenizer run by transformers, as one of another library is."""
    return TransformersTokenizer(_loaded(kind))


@cache
def _library(kind: str) -> Library:
    return Library.from_str(tokenizer_json(kind))


def _text(tokenizer: Tokenizer, tokens: Sequence[int]) -> str:
    detokenizer = tokenizer.detokenizer()
    return "".join([*map(detokenizer.feed, tokens), detokenizer.finish()])


@pytest.mark.parametrize("text", _TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_joined_deltas_are_the_decoded_tokens(kind: str, text: str) -> None:
    tokens = _library(kind).encode(text, add_special_tokens=False).ids
    decoded = _library(kind).decode(tokens, skip_special_tokens=False)
    assert _text(_fast(kind), tokens) == _text(_transformers(kind), tokens) == decoded


@pytest.mark.parametrize("text", _TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_libraries_encode_a_text_alike(kind: str, text: str) -> None:
    for add_special_tokens in (False, True):
        tokens = tuple(_library(kind).encode(text, add_special_tokens=add_special_tokens).ids)
        for tokenizer in (_fast(kind), _transformers(kind)):
            assert tokenizer.encode(text, add_special_tokens=add_special_tokens) == tokens


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_tokens_of_whole_characters_give_the_decoded_text(kind: str, data: st.DataObject) -> None:
    library = _library(kind)
    names = [(number, name) for name, number in library.get_vocab().items() if not name.startswith("<0x")]
    whole = [number for number, _ in names if "\ufffd" not in library.decode([number], skip_special_tokens=False)]
    tokens = data.draw(st.lists(st.sampled_from(whole), max_size=20))
    decoded = library.decode(tokens, skip_special_tokens=False)
    assert _text(_fast(kind), tokens) == _text(_transformers(kind), tokens) == decoded


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_character_at_the_end_and_an_unknown_token_add_no_text(kind: str) -> None:
    library = _library(kind)
    tokens = library.encode("the 👍 sun", add_special_tokens=False).ids
    unknown = library.get_vocab_size() + 5
    for end in range(len(tokens)):
        assert _text(_fast(kind), tokens[:end]) == _text(_transformers(kind), tokens[:end])
        for tokenizer in (_fast(kind), _transformers(kind)):
            assert _text(tokenizer, [unknown, *tokens[:end], unknown]) == _text(tokenizer, tokens[:end])


@pytest.mark.parametrize("character", ["é", "€", "👍"])
@pytest.mark.parametrize("kind", ["byte-level", "parrot"])
def test_a_character_is_whole_after_any_number_of_invalid_bytes(kind: str, character: str) -> None:
    fast = _fast(kind)
    numbers = {fast.token_bytes(number): number for number in range(len(fast.vocabulary))}
    invalid, parts = numbers[b"\x80"], [numbers[bytes([byte])] for byte in character.encode()]
    for tokenizer in (fast, _transformers(kind)):
        for count in range(40):
            assert _text(tokenizer, [invalid] * count + parts).endswith(character)


@pytest.fixture(scope="module")
def parrot() -> Iterator[TextEngine]:
    loaded = LoadRequest(Location(str(parrot_folder()), ()), "as-is")
    with closing(
        TextEngine(MlxTextLoader().load(loaded), FakeTemplates(), loaded, numbered_call_ids(), time.monotonic)
    ) as engine:
        yield engine


@pytest.mark.parametrize("is_echoed", [False, True])
def test_an_answer_that_continues_a_text_begins_with_the_space_between_them(
    parrot: TextEngine, *, is_echoed: bool
) -> None:
    answer = ANSWERS[CAPITAL]
    word = answer.split(" ", 1)[0]
    prompt = f"<|im_start|>user\n{CAPITAL}<|im_end|>\n<|im_start|>assistant\n{word}"
    request = GenerationRequest(prompts=(prompt,), options=GenerationOptions(GREEDY), echo=is_echoed)
    text = answered(parrot, request).text()
    assert text == (prompt if is_echoed else "") + answer.removeprefix(word)


def test_a_completion_keeps_the_space_before_its_first_token_and_a_chat_does_not() -> None:
    """The decoder of this kind drops the space at the start of a text, as sentencepiece does."""
    tokenizer = fast_tokenizer("metaspace")
    model = FakeTextModel(lambda _: tokenizer.encode("sun", add_special_tokens=False), tokenizer, chat_template="the")
    engine = TextEngine(
        model, FakeTemplates(), LoadRequest(Location("model", ()), "fast"), numbered_call_ids(), time.monotonic
    )
    assert answered(engine, GenerationRequest(prompts=("the",))).text() == " sun"
    assert answered(engine, GenerationRequest((Message("user", "the"),))).text() == "sun"


def test_an_answer_cut_at_any_token_has_no_half_character(parrot: TextEngine) -> None:
    answer = ANSWERS[UNICODE]
    for count in range(1, len(answer.encode())):  # a byte is a token of the parrot
        options = GenerationOptions(GREEDY, max_tokens=count)
        text = answered(parrot, GenerationRequest((Message("user", UNICODE),), options=options)).text()
        assert text == answer.encode()[:count].decode(errors="ignore")
