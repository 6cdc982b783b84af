"""The contract of ``Tokenizer``, for the fake and for every kind that models have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from mlxknife.ports.engines.text import Tokenizer
from tests.fakes.tokenizer import FakeTokenizer
from tests.tokenizer_files import (
    BYTES_IN_PYTHON,
    KINDS,
    LOSSLESS,
    SENTENCEPIECE,
    TRANSFORMERS_KINDS,
    fast_tokenizer,
    transformers_tokenizer,
)

_FAKE = FakeTokenizer(("<s>", "<think>", "</think>"), begin="<s>")
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
_ALL_KINDS = ("fake", *KINDS, *TRANSFORMERS_KINDS)


@pytest.fixture(params=_ALL_KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return _opened(request.param)


def _opened(kind: str) -> Tokenizer:
    if kind == "fake":
        return _FAKE
    return transformers_tokenizer(kind) if kind in TRANSFORMERS_KINDS else fast_tokenizer(kind)


def _decoded(tokenizer: Tokenizer, tokens: tuple[int, ...]) -> str:
    detokenizer = tokenizer.detokenizer()
    return "".join(map(detokenizer.feed, tokens)) + detokenizer.finish()


@pytest.mark.parametrize("text", [text for text in _TEXTS if "▁" not in text])
@pytest.mark.parametrize("kind", ["fake", *LOSSLESS, BYTES_IN_PYTHON])
def test_a_text_is_the_same_after_encoding_and_decoding(kind: str, text: str) -> None:
    tokenizer = _opened(kind)
    if kind in ("llama 2", "unigram with bytes"):  # these put a space before the text after an added token
        text = text.replace("think>", "think")
    decoded = _decoded(tokenizer, tokenizer.encode(text, add_special_tokens=False))
    if kind == "unigram with bytes":  # and this one drops all spaces at the start
        decoded, text = decoded.lstrip(" "), text.lstrip(" ")
    assert decoded == text


@pytest.mark.parametrize("text", _TEXTS)
def test_no_delta_has_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    clean = text.replace("\ufffd", "")
    detokenizer = tokenizer.detokenizer()
    for token in tokenizer.encode(clean, add_special_tokens=False):
        assert "\ufffd" not in detokenizer.feed(token)
    assert "\ufffd" not in detokenizer.finish()


@pytest.mark.parametrize("kind", ["fake", *KINDS])
def test_special_tokens_are_added_where_the_caller_asks_for_them(kind: str) -> None:
    tokenizer = _opened(kind)
    plain, special = (tokenizer.encode("the sun", add_special_tokens=is_added) for is_added in (False, True))
    assert special[-len(plain) :] == plain
    if "<s>" in tokenizer.vocabulary:
        assert tokenizer.token_bytes(special[0]).strip() == b"<s>"
        assert len(special) == len(plain) + 1


@pytest.mark.parametrize("kind", TRANSFORMERS_KINDS)
def test_transformers_adds_special_tokens_at_the_end_if_the_kind_has_some(kind: str) -> None:
    tokenizer = _opened(kind)
    plain, special = (tokenizer.encode("the sun", add_special_tokens=is_added) for is_added in (False, True))
    added = special[len(plain) :]
    assert special[: len(plain)] == plain
    assert [tokenizer.token_bytes(token) for token in added] == ([b"</s>"] if kind == BYTES_IN_PYTHON else [])


def test_an_added_token_is_one_token_and_is_text_in_an_answer(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("the<think></think>", add_special_tokens=False)[-2:]
    assert [tokenizer.token_bytes(token).strip() for token in tokens] == [b"<think>", b"</think>"]
    assert _decoded(tokenizer, tokens).replace(" ", "") == "<think></think>"
    assert {"<think>", "</think>"} <= set(tokenizer.vocabulary)


@pytest.mark.parametrize("kind", [kind for kind in _ALL_KINDS if kind != SENTENCEPIECE])
def test_an_added_token_has_the_id_that_its_name_is_encoded_to(kind: str) -> None:
    """A model of sentencepiece has markup among its pieces."""
    tokenizer = _opened(kind)
    assert {"<think>", "</think>"} <= set(tokenizer.added_tokens)
    for name, number in tokenizer.added_tokens.items():
        encoded = tokenizer.encode("\n" + name, add_special_tokens=False)
        assert number in encoded


def test_a_letter_is_no_added_token(tokenizer: Tokenizer) -> None:
    assert not {"t", "the"} & set(tokenizer.added_tokens)


def test_a_lone_surrogate_is_replaced(tokenizer: Tokenizer) -> None:
    lone, replaced = (tokenizer.encode(text, add_special_tokens=False) for text in ("a\ud800b", "a?b"))
    assert lone == replaced


def test_half_a_character_at_the_end_is_dropped(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("the 👍", add_special_tokens=False)
    for end in range(len(tokens)):
        assert "\ufffd" not in _decoded(tokenizer, tokens[:end])


@pytest.mark.parametrize("number", [-1, 99_999, 2**31, 2**40, 10**30])
def test_a_number_without_a_token_has_no_bytes(tokenizer: Tokenizer, number: int) -> None:
    assert tokenizer.token_bytes(number) == b""


def test_a_token_that_the_tokenizer_does_not_name_adds_no_text(tokenizer: Tokenizer) -> None:
    """A model may have more tokens than its tokenizer names."""
    tokens = tokenizer.encode("the sun", add_special_tokens=False)
    for number in (len(tokenizer.vocabulary) + 5, 99_999):
        assert _decoded(tokenizer, (number, *tokens, number)) == _decoded(tokenizer, tokens)


def test_answers_do_not_affect_each_other(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("the 👍 sun é", add_special_tokens=False)
    one, other = tokenizer.detokenizer(), tokenizer.detokenizer()
    texts = [(one.feed(token), other.feed(token)) for token in tokens]
    assert "".join(first for first, _ in texts) + one.finish() == (
        "".join(second for _, second in texts) + other.finish()
    )


def test_several_threads_may_use_one_tokenizer(tokenizer: Tokenizer) -> None:
    texts = [f"the sun {number} 👍" for number in range(40)]

    def work(text: str) -> str:
        return _decoded(tokenizer, tokenizer.encode(text, add_special_tokens=False))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(work, texts)) == list(map(work, texts))
