"""Laws of joining: whatever tokens a model says, its answer is what they say together, told letter by letter."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from mlxknife.adapters.mlx.text.hf_tokenizer import HfTokenizer, HfTokenizers
from tests.contracts.vocabularies import KINDS, SPELT, written

_HALF = "\ufffd"
_WITH_BYTE_TOKENS = ("llama 2", "gemma", "unigram with bytes")


@cache
def _opened(kind: str) -> HfTokenizer:
    return HfTokenizers().open(written(kind))


@cache
def _library(kind: str) -> Library:
    return Library.from_str(written(kind))


def _answers(kind: str) -> st.SearchStrategy[list[int]]:
    """Return a strategy of answers; some of their numbers have no token."""
    size = _library(kind).get_vocab_size()
    marks = range(max(0, size - 8), size + 3)
    return st.lists(st.one_of(st.integers(0, size + 2), st.sampled_from(marks)), max_size=30)


def _pieces(kind: str, tokens: list[int]) -> list[str]:
    joining = _opened(kind).joining()
    return [*map(joining.feed, tokens), joining.rest()]


def _is_whole(told: str, decoded: str) -> bool:
    """Tell whether an answer is what was decoded, but for half letters at its end."""
    return decoded == told or (decoded.startswith(told) and not decoded[len(told) :].strip(_HALF))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in _WITH_BYTE_TOKENS])
@given(data=st.data())
def test_an_answer_is_what_its_tokens_are_decoded_to(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    assert _is_whole("".join(_pieces(kind, tokens)), _library(kind).decode(tokens, skip_special_tokens=False))


@pytest.mark.parametrize("kind", _WITH_BYTE_TOKENS)
@given(data=st.data())
def test_so_it_is_for_byte_tokens_that_are_letters(kind: str, data: st.DataObject) -> None:
    library = _library(kind)
    vocabulary = library.get_vocab()
    letters = st.characters(exclude_categories=["Cs"]).map(
        lambda letter: [vocabulary[f"<0x{byte:02X}>"] for byte in letter.encode()]
    )
    others = st.sampled_from([[number] for name, number in vocabulary.items() if not name.startswith("<0x")])
    tokens = sum(data.draw(st.lists(letters | others, max_size=20)), list[int]())
    assert "".join(_pieces(kind, tokens)) == library.decode(tokens, skip_special_tokens=False)


@pytest.mark.parametrize("kind", SPELT)
@given(data=st.data())
def test_an_answer_is_the_bytes_of_its_tokens(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    joined = b"".join(map(_opened(kind).bytes_of, tokens)).decode("utf-8", "replace").lstrip(" ")
    told = "".join(_pieces(kind, tokens)).lstrip(" ")
    assert _is_whole(told, joined)
    assert joined.count(_HALF) - told.count(_HALF) <= 1


@pytest.mark.parametrize("kind", ["parrot", *_WITH_BYTE_TOKENS])
@given(text=st.text(max_size=20), data=st.data())
def test_a_letter_is_told_with_its_last_byte_and_whole(kind: str, text: str, data: st.DataObject) -> None:
    clean = text.encode("utf-8", "ignore").decode().replace(_HALF, "")
    tokens = list(_opened(kind).tokens(clean, is_rendered=True))
    end = data.draw(st.integers(0, len(tokens)))
    pieces = _pieces(kind, tokens[:end])
    assert _HALF not in "".join(pieces)
    assert "".join(_pieces(kind, tokens)).startswith("".join(pieces))


@pytest.mark.parametrize("kind", SPELT)
@given(data=st.data())
def test_only_half_a_letter_is_held_back(kind: str, data: st.DataObject) -> None:
    tokens = data.draw(_answers(kind))
    pieces = _pieces(kind, tokens)
    assert pieces[-1] == ""
    for end in range(len(tokens)):
        assert _pieces(kind, tokens[:end])[:-1] == pieces[:end]


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.tuples(st.text("ab c<é", max_size=12), st.text("ab c<é", max_size=12)))
def test_what_goes_on_a_text_is_joined_as_if_it_had_been_one_with_it(kind: str, texts: tuple[str, str]) -> None:
    opened = _opened(kind)
    before, then = (list(opened.tokens(text, is_rendered=True)) for text in texts)
    joining = opened.joining(before)
    added = "".join([*map(joining.feed, then), joining.rest()])
    if before:
        assert "".join(_pieces(kind, before)) + added == "".join(_pieces(kind, before + then))
    else:
        assert added == "".join(_pieces(kind, then))
