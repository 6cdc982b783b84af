"""The contract of ``Tokenizers``, for one in which a byte is a token and for those that models have."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlxknife.adapters.mlx.text.hf_tokenizer import HfTokenizers
from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.tokenizers import Tokenizer, Tokenizers
from tests.contracts.vocabularies import KINDS, LOSSLESS, written
from tests.fakes.tokenizers import FakeTokenizers

_FAKE = json.dumps({"marks": ["<s>", "<think>", "</think>"], "begin": "<s>"})
_TEXTS = (
    "",
    "Hello",
    "the sun, the sons",
    " leading",
    "  two",
    "a  b ",
    "\n\n\tx",
    "Grüße, 你好, नमस्ते",
    "👩‍👩‍👧🏽",
    "\ufeffx\ufffdy\x00z",
    "<think>hm</think> yes",
    "▁ <0x41>",
)


@pytest.fixture(params=["fake", *KINDS])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return _opened(request.param)


def _opened(kind: str) -> Tokenizer:
    return FakeTokenizers().open(_FAKE) if kind == "fake" else HfTokenizers().open(written(kind))


def _joined(tokenizer: Tokenizer, tokens: tuple[int, ...]) -> str:
    joining = tokenizer.joining()
    return "".join(map(joining.feed, tokens)) + joining.rest()


@pytest.mark.parametrize("text", [text for text in _TEXTS if "▁" not in text])
@pytest.mark.parametrize("kind", ["fake", *LOSSLESS])
def test_a_text_comes_back_as_it_was(kind: str, text: str) -> None:
    tokenizer = _opened(kind)
    if kind in ("llama 2", "unigram with bytes"):  # these put a space before whatever follows a mark
        text = text.replace("think>", "think")
    told = _joined(tokenizer, tokenizer.tokens(text, is_rendered=True))
    if kind == "unigram with bytes":  # and this one drops all spaces at the head
        told, text = told.lstrip(" "), text.lstrip(" ")
    assert told == text


@pytest.mark.parametrize("text", _TEXTS)
def test_pieces_are_never_half_letters(tokenizer: Tokenizer, text: str) -> None:
    clean = text.replace("\ufffd", "")
    joining = tokenizer.joining()
    for token in tokenizer.tokens(clean, is_rendered=True):
        assert "\ufffd" not in joining.feed(token)
    assert "\ufffd" not in joining.rest()


def test_a_rendered_text_gets_no_special_tokens(tokenizer: Tokenizer) -> None:
    plain, rendered = (tokenizer.tokens("the sun", is_rendered=is_rendered) for is_rendered in (False, True))
    assert plain[-len(rendered) :] == rendered
    if "<s>" in tokenizer.vocabulary:
        assert tokenizer.bytes_of(plain[0]).strip() == b"<s>"
        assert len(plain) == len(rendered) + 1


def test_marks_are_one_token_and_are_text_in_an_answer(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.tokens("<think></think>", is_rendered=True)
    assert len(tokens) == 2
    assert _joined(tokenizer, tokens).replace(" ", "") == "<think></think>"
    assert {"<think>", "</think>"} <= set(tokenizer.vocabulary)


def test_half_a_character_is_no_text_and_hurts_nobody(tokenizer: Tokenizer) -> None:
    assert tokenizer.tokens("a\ud800b", is_rendered=True) == tokenizer.tokens("a?b", is_rendered=True)


def test_half_a_letter_at_the_end_is_dropped(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.tokens("the 👍", is_rendered=True)
    for end in range(len(tokens)):
        assert "\ufffd" not in _joined(tokenizer, tokens[:end])


@pytest.mark.parametrize("number", [-1, 99_999, 2**31, 2**40, 10**30])
def test_a_number_without_a_token_stands_for_nothing(tokenizer: Tokenizer, number: int) -> None:
    assert tokenizer.bytes_of(number) == b""


def test_answers_do_not_meet(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.tokens("the 👍 sun é", is_rendered=True)
    one, other = tokenizer.joining(), tokenizer.joining()
    told = [(one.feed(token), other.feed(token)) for token in tokens]
    assert "".join(first for first, _ in told) + one.rest() == "".join(second for _, second in told) + other.rest()


def test_several_threads_may_use_one(tokenizer: Tokenizer) -> None:
    texts = [f"the sun {number} 👍" for number in range(40)]

    def work(text: str) -> str:
        return _joined(tokenizer, tokenizer.tokens(text, is_rendered=True))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, texts)) == list(map(work, texts))


@pytest.mark.parametrize("tokenizers", [FakeTokenizers(), HfTokenizers()], ids=["fake", "real"])
@pytest.mark.parametrize("content", ["", "{", "null", "[]", "{}", "\ud800", '{"model":' * 100_000, "[" * 100_000])
def test_what_is_no_tokenizer_is_an_error_of_the_contract(tokenizers: Tokenizers, content: str) -> None:
    with pytest.raises(EngineError):
        tokenizers.open(content)
