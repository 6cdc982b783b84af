"""Tokenizers that the tokenizers library cannot run: their text and the bytes of their tokens."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text.tokenizer import FastTokenizer, TransformersTokenizer, wrapped
from mlxknife.domain.errors import EngineError
from mlxknife.ports.engines.text import Tokenizer
from tests.parrot.tokens import build_tokenizer
from tests.tokenizer_files import BYTES_IN_PYTHON, SENTENCEPIECE, TRANSFORMERS_KINDS, transformers_tokenizer

_WORDS = st.lists(
    st.sampled_from(["the", " sun", "  ", "\n", "é", "你好", "👍", "<think>", "</think>", "x", "a b"]), max_size=10
).map("".join)


class _Slow:
    """A tokenizer written in Python, with the methods that transformers has."""

    special_tokens_map: dict[str, str] = {}  # noqa: RUF012 - as transformers has it
    all_special_tokens = ("<pad>",)
    _names = ("<pad>", "a", "b", "▁c", "<0x41>", "<0xC3>", "<0xA9>", "bad")

    def get_vocab(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._names)}

    def get_added_vocab(self) -> dict[str, int]:
        return {"<pad>": 0}

    def encode(self, text: str, **_: object) -> list[int]:
        if "z" in text:
            raise KeyError(text)
        return [self._names.index(character) for character in text]

    def decode(self, tokens: Sequence[int], **_: object) -> str:
        names = [self._names[token] for token in tokens]
        if "bad" in names:
            msg = "no such word"
            raise ValueError(msg)
        data = b"".join(
            bytes.fromhex(name[3:5]) if name.startswith("<0x") else name.replace("▁", " ").encode() for name in names
        )
        return data.decode("utf-8", "replace").removeprefix(" ")


def _texts(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    detokenizer = tokenizer.detokenizer()
    return [*map(detokenizer.feed, tokens), detokenizer.finish()]


@pytest.mark.parametrize("kind", TRANSFORMERS_KINDS)
def test_a_folder_without_a_tokenizer_json_gets_one_of_transformers(kind: str) -> None:
    assert type(transformers_tokenizer(kind)) is TransformersTokenizer


def test_which_tokenizer_is_used_depends_on_whether_the_library_runs_it() -> None:
    class Fast(_Slow):
        backend_tokenizer = build_tokenizer()

    assert type(wrapped(_Slow())) is TransformersTokenizer
    assert type(wrapped(Fast())) is FastTokenizer


def test_a_tokenizer_that_changes_texts_before_it_encodes_them_is_run_by_transformers() -> None:
    """mlx-lm has one that writes ``<n>`` for a line break."""
    load_fast_blas()
    from mlx_lm.tokenizer_utils import NewlineTokenizer  # noqa: PLC0415 - MLX comes after the BLAS

    library = build_tokenizer()
    library.add_tokens(["<n>"])
    loaded = NewlineTokenizer(tokenizer_object=library)  # type: ignore[no-untyped-call] # mlx-lm's own
    tokenizer = wrapped(loaded)
    tokens = tokenizer.encode("a\nb", add_special_tokens=False)
    assert library.token_to_id("<n>") in tokens
    assert "".join(_texts(tokenizer, tokens)) == "a\nb"


@pytest.mark.parametrize("kind", TRANSFORMERS_KINDS)
@given(text=_WORDS)
def test_the_joined_deltas_are_the_decoded_tokens(kind: str, text: str) -> None:
    tokenizer = transformers_tokenizer(kind)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    assert "".join(_texts(tokenizer, tokens)) == text


@pytest.mark.parametrize("text", [" the sun", "  the", "é the", "the 👍\n 你好", "the<think> x</think>"])
def test_the_joined_bytes_of_sentencepiece_tokens_are_the_text_after_a_space(text: str) -> None:
    tokenizer = transformers_tokenizer(SENTENCEPIECE)
    tokens = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(map(tokenizer.token_bytes, tokens)).decode() == " " + text


def test_the_bytes_of_whole_characters_are_their_text() -> None:
    tokenizer = transformers_tokenizer(BYTES_IN_PYTHON)
    tokens = tokenizer.encode("a b<think>", add_special_tokens=False)
    assert b"".join(map(tokenizer.token_bytes, tokens)) == b"a b<think>"


def test_a_character_of_several_tokens_is_passed_with_the_last_of_them() -> None:
    tokenizer = transformers_tokenizer(SENTENCEPIECE)
    tokens = tokenizer.encode("x👍é", add_special_tokens=False)
    assert [text for text in _texts(tokenizer, tokens) if text] == ["x", "👍", "é"]
    assert [len(tokenizer.token_bytes(token)) for token in tokens[-6:]] == [1] * 6


def test_an_answer_that_continues_a_prompt_keeps_the_space_between_them() -> None:
    tokenizer = transformers_tokenizer(SENTENCEPIECE)
    before, after = (tokenizer.encode(text, add_special_tokens=False) for text in ("the", "sun"))
    detokenizer = tokenizer.detokenizer(before)
    assert "".join(map(detokenizer.feed, after)) == " sun"
    assert "".join(_texts(tokenizer, after)) == "sun"


def test_names_of_bytes_and_spaces_are_spelled() -> None:
    tokenizer: Any = wrapped(_Slow())
    assert [tokenizer.token_bytes(token) for token in range(-1, 9)] == [
        b"",
        b"<pad>",
        b"a",
        b"b",
        b" c",
        b"A",
        b"\xc3",
        b"\xa9",
        b"",  # the tokenizer cannot decode it
        b"",
    ]
    assert _texts(tokenizer, (3, 1, 3, 5, 6, 99, 4)) == ["c", "a", " c", "", "é", "", "A", ""]


def test_errors_of_the_tokenizer_are_engine_errors() -> None:
    tokenizer = wrapped(_Slow())
    with pytest.raises(EngineError, match=r"cannot encode the text: .*'z'"):
        tokenizer.encode("z", add_special_tokens=True)
    with pytest.raises(EngineError, match="cannot decode its tokens: no such word"):
        tokenizer.detokenizer().feed(7)


def test_a_vocabulary_that_cannot_be_read_is_an_engine_error() -> None:
    class Broken(_Slow):
        def get_vocab(self) -> dict[str, int]:
            raise NotImplementedError

    with pytest.raises(EngineError, match="cannot be read"):
        wrapped(Broken())


@given(st.lists(st.integers(0, 7), max_size=30))
def test_any_tokens_give_text_or_an_engine_error(tokens: list[int]) -> None:
    tokenizer = wrapped(_Slow())
    with suppress(EngineError):
        assert all(isinstance(text, str) for text in _texts(tokenizer, tokens))
