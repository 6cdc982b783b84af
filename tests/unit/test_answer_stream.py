"""What is told of one answer, token by token."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.services.answer_stream import Narration
from mlxknife.domain.generation.values.generation import FinishReason, Markers, Piece, PieceKind, Usage
from mlxknife.domain.generation.values.requests import TokenLikelihood, Told
from mlxknife.domain.generation.values.rows import RowStep
from tests.fakes.tokenizers import FakeTokenizer

_TOKENIZER = FakeTokenizer(("<think>", "</think>"), "")
_MARKS = Markers(("<think>",), "</think>")
_END = 0


def _told(narration: Narration, text: str, ended: FinishReason = FinishReason.STOP) -> list[Told]:
    """Return what is told of a text until it ends, or is to be cancelled."""
    tokens = _TOKENIZER.tokens(text, is_rendered=True)
    steps = [RowStep(1, token, cached=2) for token in tokens]
    if ended is FinishReason.STOP:
        steps.append(RowStep(1, _END, ended, cached=2))
    else:
        steps[-1] = RowStep(1, tokens[-1], ended, cached=2)
    told = list[Told]()
    for step in steps:
        told.append(narration.hear(step))
        if told[-1].ended is not None:
            break
    return told


def _text(told: list[Told], kind: PieceKind = PieceKind.ANSWER) -> str:
    return "".join(piece.text for one in told for piece in one.pieces if piece.kind is kind)


def test_a_letter_is_told_when_its_last_byte_came() -> None:
    told = _told(Narration(_TOKENIZER, 3), "é!")
    assert [[piece.text for piece in one.pieces] for one in told] == [[], ["é"], ["!"], []]
    assert told[-1] == Told(ended=FinishReason.STOP, usage=Usage(3, 4, 2))


def test_the_token_that_ends_a_turn_is_no_text_and_the_last_of_too_many_is() -> None:
    assert _text(_told(Narration(_TOKENIZER, 3), "ab")) == "ab"
    told = _told(Narration(_TOKENIZER, 3), "ab", FinishReason.LENGTH)
    assert (_text(told), told[-1].ended, told[-1].usage) == ("ab", FinishReason.LENGTH, Usage(3, 2, 2))


def test_a_stop_string_ends_an_answer_of_which_the_model_knows_nothing() -> None:
    told = _told(Narration(_TOKENIZER, 3, stops=("<end>",)), "one<end>two")
    assert (_text(told), told[-1].ended, told[-1].must_be_cancelled) == ("one", FinishReason.STOP, True)
    assert told[-1].usage == Usage(3, 8, 2)


def test_a_stop_string_that_is_complete_with_the_last_token_needs_no_cancelling() -> None:
    told = _told(Narration(_TOKENIZER, 3, stops=("<end>",)), "one<end>", FinishReason.LENGTH)
    assert (_text(told), told[-1].ended, told[-1].must_be_cancelled) == ("one", FinishReason.STOP, False)


def test_what_might_have_become_a_stop_string_is_told_at_the_end() -> None:
    told = _told(Narration(_TOKENIZER, 3, stops=("<end>",)), "one<en")
    assert (_text(told), told[-1].must_be_cancelled) == ("one<en", False)
    assert [piece.text for piece in told[-1].pieces] == ["<en"]


def test_reasoning_is_told_apart() -> None:
    told = _told(Narration(_TOKENIZER, 3, marks=_MARKS), "<think>hm</think>yes")
    assert (_text(told, PieceKind.REASONING), _text(told)) == ("hm", "yes")


def test_an_echo_comes_first() -> None:
    told = _told(Narration(_TOKENIZER, 3, echo="Say: "), "ab")
    assert told[0].pieces == (Piece(PieceKind.ANSWER, "Say: "), Piece(PieceKind.ANSWER, "a"))
    assert _text(_told(Narration(_TOKENIZER, 3, echo="Say: "), "")) == "Say: "


def test_likelihoods_have_names_and_bytes() -> None:
    told = Narration(_TOKENIZER, 3).hear(RowStep(1, 0xC3, None, -0.5, ((0xC3, -0.5), (97, -2.0))))
    first, second = TokenLikelihood("\ufffd", b"\xc3", -0.5), TokenLikelihood("a", b"a", -2.0)
    assert told.likelihoods == (TokenLikelihood("\ufffd", b"\xc3", -0.5, (first, second)),)
    assert Narration(_TOKENIZER, 3).hear(RowStep(1, _END, FinishReason.STOP, -0.1)).likelihoods == ()


def test_half_a_letter_at_the_end_is_dropped() -> None:
    narration = Narration(_TOKENIZER, 3)
    assert narration.hear(RowStep(1, 0xC3, FinishReason.LENGTH)).pieces == ()


def test_a_tokenizer_that_breaks_down_is_an_error() -> None:
    class Broken:
        def feed(self, token: int) -> str:
            msg = f"no {token}"
            raise EngineError(msg)

        def rest(self) -> str:
            return ""

    class BrokenTokenizer(FakeTokenizer):
        def joining(self, after: Sequence[int] = ()) -> Broken:
            del after
            return Broken()

    with pytest.raises(EngineError):
        Narration(BrokenTokenizer((), ""), 1).hear(RowStep(1, 1))


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "stop", "st", "o", "p", "é", "\n", " "]), max_size=12).map("".join)
)
def test_a_stream_says_what_the_whole_says(text: str) -> None:
    """Letter by letter or at once: what is told is the same."""
    whole = Narration(_TOKENIZER, 3, marks=_MARKS, stops=("stop",))
    in_letters = Narration(FakeTokenizer((), ""), 3, marks=_MARKS, stops=("stop",))
    by_marks = _told(whole, text)
    steps = [RowStep(1, byte) for byte in text.encode()] + [RowStep(1, _END, FinishReason.STOP)]
    by_bytes = list[Told]()
    for step in steps:
        by_bytes.append(in_letters.hear(step))
        if by_bytes[-1].ended is not None:
            break
    for kind in PieceKind:
        assert _text(by_marks, kind) == _text(by_bytes, kind)


_PAIRS = FakeTokenizer(("<think>", "</think>", "ab", "bc", "stop", " st"), "")


def _with_likelihoods(text: str, stops: Sequence[str], marks: Markers | None = None, *, is_cut: bool) -> list[Told]:
    """Return what is told of a text of which some tokens have several letters; ``is_cut``: by its length."""
    steps = [RowStep(1, token, None, -1.0) for token in _PAIRS.tokens(text, is_rendered=True)]
    if is_cut and steps:
        steps[-1] = RowStep(1, steps[-1].token, FinishReason.LENGTH, -1.0)
    else:
        steps.append(RowStep(1, _END, FinishReason.STOP, -1.0))
    narration, told = Narration(_PAIRS, 3, marks=marks, stops=stops), list[Told]()
    for step in steps:
        told.append(narration.hear(step))
        if told[-1].ended is not None:
            break
    return told


def _bytes(told: Sequence[Told]) -> list[bytes]:
    return [likelihood.content for one in told for likelihood in one.likelihoods]


@pytest.mark.parametrize(
    ("text", "stop", "tokens"),
    [
        ("one,stop two", "stop", [b"o", b"n", b"e", b","]),  # nothing of a stop string's own token is shown
        ("one,stop", "op", [b"o", b"n", b"e", b",", b"stop"]),  # the beginning of it is
        ("one stop", "stop", [b"o", b"n", b"e", b" st"]),
        ("xabcabd", "bca", [b"x", b"ab"]),
        ("abab", "ab", []),
        ("aé!", "é", [b"a"]),  # neither of the two that are one letter
        ("aé!", "!", [b"a", b"\xc3", b"\xa9"]),
        ("one sto", "stop", [b"o", b"n", b"e", b" st", b"o"]),
    ],
)
def test_a_token_is_told_where_something_of_it_is_shown(text: str, stop: str, tokens: list[bytes]) -> None:
    assert _bytes(_with_likelihoods(text, (stop,), is_cut=False)) == tokens


def test_a_token_that_may_belong_to_a_stop_string_waits_with_its_text() -> None:
    told = _with_likelihoods("a ston", ("stop",), is_cut=False)
    assert [len(one.likelihoods) for one in told] == [1, 1, 0, 2, 0]
    assert [[piece.text for piece in one.pieces] for one in told] == [["a"], [" "], [], ["ston"], []]


_STOPS = st.lists(st.sampled_from(["stop", "a", "bc", "é", "b ", "cst", "op s", "<"]), max_size=2)
_WORDS = st.lists(st.sampled_from([*"abcé <", "ab", "bc", "stop", " st", "o", "p"]), max_size=10).map("".join)


@given(_WORDS, _STOPS, st.booleans())
def test_the_tokens_told_are_the_fewest_that_say_what_is_shown(text: str, stops: list[str], is_cut: bool) -> None:  # noqa: FBT001 - drawn
    told = _with_likelihoods(text, stops, is_cut=is_cut)
    for count in range(1, len(told) + 1):  # no text goes out before its tokens
        assert b"".join(_bytes(told[:count])).startswith(_text(told[:count]).encode())
    tokens, shown = _bytes(told), _text(told).encode()
    if shown == text.encode():
        assert b"".join(tokens) == shown
    else:
        assert not b"".join(tokens[:-1]).startswith(shown) or not tokens


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "\n", "a", "ab", "stop", " st", "é"]), max_size=10).map(
        "".join
    ),
    _STOPS,
)
def test_where_a_model_thinks_aloud_the_tokens_told_say_what_is_shown(text: str, stops: list[str]) -> None:
    told = _with_likelihoods(text, stops, _MARKS, is_cut=False)
    tokens = _bytes(told)
    assert text.encode().startswith(b"".join(tokens))
    again = _with_likelihoods(b"".join(tokens).decode("utf-8", "ignore"), (), _MARKS, is_cut=True)
    for kind in PieceKind:
        assert _text(again, kind).startswith(_text(told, kind))
