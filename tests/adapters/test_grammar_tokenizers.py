"""Grammars with every kind of tokenizer: what a model may write is, decoded by us, what the grammar says."""

from __future__ import annotations

import re
from random import Random

import pytest

from mlxknife.adapters.mlx.text.grammars import Grammars
from mlxknife.domain.errors import UnsupportedCapability, ValidationError
from tests.tokenizer_files import INDEPENDENT, KINDS, fast_tokenizer

_PATTERN = "(the|sun|[a-z])+[ ](the|sun|s)*"
_SPACES_ONLY = ("words",)
"""Each of its tokens begins with a space, so that it cannot begin the answer with a letter."""


def _grammars(kind: str) -> tuple[Grammars, int, int]:
    """Return the grammars of a kind, the token that ends the turn, and the number of tokens."""
    tokenizer = fast_tokenizer(kind)
    size = len(tokenizer.vocabulary) + 9  # a model may have more tokens than its tokenizer names
    end = min(tokenizer.added_tokens.values())
    return Grammars(tokenizer, {end}, size, is_supported=tokenizer.has_spelling), end, size


@pytest.mark.parametrize("kind", [kind for kind in INDEPENDENT if kind not in _SPACES_ONLY])
def test_the_decoded_answer_matches(kind: str) -> None:
    grammars, end, size = _grammars(kind)
    added = set(fast_tokenizer(kind).added_tokens.values())
    for seed in range(5):
        random, matcher, answer = Random(seed), grammars.matcher(f"start: /{_PATTERN}/"), list[int]()
        while not answer or answer[-1] != end:
            allowed = matcher.allowed(size).nonzero()[0].tolist()
            assert not added - {end} & set(allowed)
            is_late = len(answer) > 20
            answer.append(end if end in allowed and is_late else random.choice(allowed))
            matcher.consume(answer[-1])
        assert matcher.error is None
        detokenizer = fast_tokenizer(kind).detokenizer()
        text = "".join(map(detokenizer.feed, answer[:-1])) + detokenizer.finish()
        assert re.fullmatch(_PATTERN, text)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(INDEPENDENT)))
def test_a_tokenizer_whose_tokens_depend_on_each_other_is_not_supported(kind: str) -> None:
    with pytest.raises(UnsupportedCapability):
        _grammars(kind)[0].compile("start: /a/")


def test_without_an_end_of_turn_no_answer_could_end() -> None:
    with pytest.raises(UnsupportedCapability):
        Grammars(fast_tokenizer("parrot"), (), 264).compile("start: /a/")


def test_an_answer_that_no_token_begins_is_refused() -> None:
    with pytest.raises(ValidationError, match="allows no value"):
        _grammars("words")[0].compile("start: /the/")


def test_a_demanded_text_of_any_length_is_written() -> None:
    """llguidance asks for the tokens of all text that is certain, at each place; only its start is encoded."""
    grammars, end, size = _grammars("byte-level")
    text = "the sun and the sons, é 你好 👍 " * 30
    matcher, answer = grammars.matcher(f'start: "{text}"'), list[int]()
    while not answer or answer[-1] != end:
        (token,) = matcher.allowed(size).nonzero()[0].tolist()
        answer.append(token)
        matcher.consume(token)
    detokenizer = fast_tokenizer("byte-level").detokenizer()
    assert "".join(map(detokenizer.feed, answer[:-1])) + detokenizer.finish() == text


def test_old_grammars_are_dropped() -> None:
    grammars, _, size = _grammars("parrot")
    for number in range(40):
        grammars.compile(f'start: "{number}"')
        assert grammars.matcher('start: "0"').allowed(size).any()
    assert grammars.kept <= 17
    for letter in "abc":
        grammars.compile(f'start: "{letter}" // {letter * 200_000}')
    assert grammars.kept <= 3
