"""What ``run`` makes of the tokens of an answer: what the tokenizer says of them all, and so what the server makes."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text import tokenizer as vocabulary
from mlxknife.adapters.mlx.text.hf_tokenizer import HfTokenizer, HfTokenizers
from mlxknife.adapters.mlx.text.joining import Joining
from mlxknife.adapters.mlx.text.model import MlxEngine
from mlxknife.domain.generation.values.generation import Sampling, TokenRequest
from mlxknife.domain.models.values.snapshot import Location
from tests.contracts.vocabularies import KINDS, written
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL

pytestmark = pytest.mark.timeout(1200)

_HEADS = (
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
"""A space at the head, two of them, and one behind a line break; each of mlx-lm's own ways loses one of these."""


@cache
def _loaded(kind: str) -> Any:  # noqa: ANN401 - mlx-lm's own
    """Return a tokenizer of a kind, as ``run`` opens that of a model."""
    load_fast_blas()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "tokenizer.json").write_text(written(kind), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
        (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
        return vocabulary.tokenizer(folder)


@cache
def _served(kind: str) -> HfTokenizer:
    return HfTokenizers().open(written(kind))


@cache
def _library(kind: str) -> Library:
    return Library.from_str(written(kind))


def _in_run(kind: str, tokens: list[int]) -> str:
    joining = Joining(_loaded(kind))
    pieces = [*map(joining.feed, tokens), joining.rest()]
    assert not any("\ufffd" in piece for piece in pieces)
    return "".join(pieces)


def _in_server(kind: str, tokens: list[int]) -> str:
    joining = _served(kind).joining()
    return "".join([*map(joining.feed, tokens), joining.rest()])


@pytest.mark.parametrize("text", _HEADS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_the_same_in_run_and_from_the_server_and_what_its_tokenizer_says(kind: str, text: str) -> None:
    tokens = _library(kind).encode(text, add_special_tokens=False).ids
    decoded = _library(kind).decode(tokens, skip_special_tokens=False)
    assert _in_run(kind, tokens) == _in_server(kind, tokens) == decoded


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_so_it_is_for_any_tokens_that_are_letters(kind: str, data: st.DataObject) -> None:
    library = _library(kind)
    names = [(number, name) for name, number in library.get_vocab().items() if not name.startswith("<0x")]
    whole = [number for number, _ in names if "\ufffd" not in library.decode([number], skip_special_tokens=False)]
    tokens = data.draw(st.lists(st.sampled_from(whole), max_size=20))
    decoded = library.decode(tokens, skip_special_tokens=False)
    assert _in_run(kind, tokens) == _in_server(kind, tokens) == decoded


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_letter_at_the_end_is_dropped_and_a_number_without_a_token_says_nothing(kind: str) -> None:
    library = _library(kind)
    tokens = library.encode("the 👍 sun", add_special_tokens=False).ids
    strange = library.get_vocab_size() + 5
    for end in range(len(tokens)):
        assert _in_run(kind, tokens[:end]) == _in_server(kind, tokens[:end])
        assert _in_run(kind, [strange, *tokens[:end], strange]) == _in_run(kind, tokens[:end])


@pytest.mark.parametrize("letter", ["é", "€", "👍"])
@pytest.mark.parametrize("kind", ["byte-level", "parrot"])
def test_a_letter_is_whole_behind_any_number_of_bytes_that_are_none(kind: str, letter: str) -> None:
    served = _served(kind)
    numbers = {served.bytes_of(number): number for number in range(len(served.vocabulary))}
    stray, parts = numbers[b"\x80"], [numbers[bytes([byte])] for byte in letter.encode()]
    for count in range(40):
        joining = Joining(_loaded(kind))
        assert "".join([*map(joining.feed, [stray] * count + parts), joining.rest()]).endswith(letter)


def test_a_space_that_an_answer_begins_with_is_told() -> None:
    """A parrot that is cut off in the middle of its answer goes on with the space."""
    answer = ANSWERS[CAPITAL]
    word = answer.split(" ", 1)[0]
    with closing(MlxEngine().load(Location(str(parrot_folder()), ("parrot",)), "as-is")) as bird:
        begun = f"<|im_start|>user\n{CAPITAL}<|im_end|>\n<|im_start|>assistant\n{word}"
        request = TokenRequest(bird.tokens(begun, is_rendered=True), 500, Sampling(temperature=0.0))
        said = "".join(step.text for step in bird.generate(request))
    assert said.startswith(" ")
    assert word + said == answer
