"""Laws of detokenizers: the joined deltas of any tokens are what the tokenizer decodes all of them to."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from tests.tokenizer_files import INDEPENDENT, KINDS, fast_tokenizer, tokenizer_json

_INCOMPLETE = "\ufffd"
_WITH_BYTE_TOKENS = ("llama 2", "gemma", "unigram with bytes")


@cache
def _library(kind: str) -> Library:
    return Library.from_str(tokenizer_json(kind))


def _answers(kind: str) -> st.SearchStrategy[list[int]]:
    """Return a strategy of answers. Some of their tokens have no name."""
    size = _library(kind).get_vocab_size()
    added = range(max(0, size - 8), size + 3)
    return st.lists(st.one_of(st.integers(0, size + 2), st.sampled_from(added)), max_size=30)


def _deltas(kind: str, tokens: list[int]) -> list[str]:
    detokenizer = fast_tokenizer(kind).detokenizer()
    return [*map(detokenizer.feed, tokens), detokenizer.finish()]


def _is_whole(text: str, decoded: str) -> bool:
    """Return whether a text is the decoded one, except for half characters at its end."""
    return decoded == text or (decoded.startswith(text) and not decoded[len(text) :].strip(_INCOMPLETE))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in _WITH_BYTE_TOKENS])
@given(data=st.data())
def test_the_joined_deltas_are_the_decoded_tokens(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    assert _is_whole("".join(_deltas(kind, tokens)), _library(kind).decode(tokens, skip_special_tokens=False))


@pytest.mark.parametrize("kind", _WITH_BYTE_TOKENS)
@given(data=st.data())
def test_byte_tokens_of_whole_characters_are_decoded_alike(kind: str, data: st.DataObject) -> None:
    library = _library(kind)
    vocabulary = library.get_vocab()
    # the library takes a "▁" that bytes spell for the blank that it stands for in the vocabulary
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="▁").map(
        lambda character: [vocabulary[f"<0x{byte:02X}>"] for byte in character.encode()]
    )
    others = st.sampled_from([[number] for name, number in vocabulary.items() if not name.startswith("<0x")])
    tokens = sum(data.draw(st.lists(characters | others, max_size=20)), list[int]())
    assert "".join(_deltas(kind, tokens)) == library.decode(tokens, skip_special_tokens=False)


@pytest.mark.parametrize("kind", INDEPENDENT)
@given(data=st.data())
def test_the_joined_deltas_are_the_bytes_of_the_tokens(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    joined = b"".join(map(fast_tokenizer(kind).token_bytes, tokens)).decode("utf-8", "replace").lstrip(" ")
    text = "".join(_deltas(kind, tokens)).lstrip(" ")
    assert _is_whole(text, joined)
    assert joined.count(_INCOMPLETE) - text.count(_INCOMPLETE) <= 1


@pytest.mark.parametrize("kind", ["parrot", *_WITH_BYTE_TOKENS])
@given(text=st.text(max_size=20), data=st.data())
def test_a_character_is_passed_whole_with_its_last_byte(kind: str, text: str, data: st.DataObject) -> None:
    clean = text.encode("utf-8", "ignore").decode().replace(_INCOMPLETE, "")
    tokens = list(fast_tokenizer(kind).encode(clean, add_special_tokens=False))
    end = data.draw(st.integers(0, len(tokens)))
    text = "".join(_deltas(kind, tokens[:end]))
    assert _INCOMPLETE not in text
    assert "".join(_deltas(kind, tokens)).startswith(text)


@pytest.mark.parametrize("kind", INDEPENDENT)
@given(data=st.data())
def test_only_half_a_character_is_held_back(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    deltas = _deltas(kind, tokens)
    assert deltas[-1] == ""
    for end in range(len(tokens)):
        assert _deltas(kind, tokens[:end])[:-1] == deltas[:end]


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.tuples(st.text("ab c<é", max_size=12), st.text("ab c<é", max_size=12)))
def test_an_answer_that_continues_other_tokens_is_joined_as_one_text(kind: str, texts: tuple[str, str]) -> None:
    tokenizer = fast_tokenizer(kind)
    before, then = (list(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
    detokenizer = tokenizer.detokenizer(before)
    added = "".join([*map(detokenizer.feed, then), detokenizer.finish()])
    if before:
        assert "".join(_deltas(kind, before)) + added == "".join(_deltas(kind, before + then))
    else:
        assert added == "".join(_deltas(kind, then))
