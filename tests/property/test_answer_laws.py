"""Laws of text that comes in pieces: where it is cut changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from mlxknife.domain.generation.values.generation import Markers, PieceKind

from mlxknife.cli.render.text import terminal_safe
from mlxknife.domain.generation.rules.reasoning import Splitter, markers
from mlxknife.domain.generation.rules.stop_strings import StopWatch
from mlxknife.domain.text.rules.display import is_unprintable

_THINK = Markers(("<think>",), "</think>")
_CHANNELS = markers(("<|channel|>", "<|message|>", "<|end|>", "<|start|>"), "", "")
_RESPONSE = markers(("<|START_THINKING|>", "<|END_THINKING|>"), "", "")
_MARKS = st.sampled_from((_THINK, Markers(("<think>",), "</think>", begins_inside=True), _CHANNELS, _RESPONSE, None))
_WORDS = st.sampled_from(
    (
        *("<think>", "</think>", "<think", "</", ">", "thought", " ", "\n", "\n\n", "answer", "<", "x"),
        *(
            "<|channel|>",
            "analysis",
            "final",
            "<|message|>",
            "<|end|>",
            "<|start|>",
            "assistant",
            "<|channel|>final<|message|>",
            "commentary",
            " to=functions.add",
            "<|constrain|>json",
        ),
        *("<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"),
    )
)
_TEXTS = st.lists(_WORDS, max_size=12).map("".join)
_STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


@st.composite
def _cut(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    """Return a text, and the same in pieces."""
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=len(text) + 1)))
    edges = [0, *cuts, len(text)]
    return text, [text[start:stop] for start, stop in pairwise(edges)]


def _split(pieces: Iterable[str], marks: Markers | None) -> dict[PieceKind, str]:
    splitter = Splitter(marks)
    told = [piece for text in pieces for piece in splitter.feed(text)]
    told += splitter.flush()
    return {kind: "".join(piece.text for piece in told if piece.kind is kind) for kind in PieceKind}


def _watched(pieces: Iterable[str], stops: Sequence[str]) -> tuple[str, bool]:
    watch = StopWatch(stops)
    shown = "".join(watch.feed(piece) for piece in pieces)
    return shown + watch.flush(), watch.has_stopped


@given(_cut(_TEXTS), _MARKS)
def test_reasoning_is_told_apart_wherever_the_text_is_cut(cut: tuple[str, list[str]], marks: Markers | None) -> None:
    text, pieces = cut
    assert _split(pieces, marks) == _split([text], marks)


@given(_TEXTS)
def test_without_marks_everything_is_answer(text: str) -> None:
    assert _split(text, None) == {PieceKind.ANSWER: text, PieceKind.REASONING: ""}


@given(st.text("xyz \n").map(str.strip), st.text("xyz \n").map(str.strip))
def test_what_stands_between_the_marks_is_reasoning_and_the_rest_is_answer(thought: str, answer: str) -> None:
    told = _split(f"<think>\n{thought}\n</think>\n\n{answer}", _THINK)
    assert told == {PieceKind.REASONING: thought, PieceKind.ANSWER: answer}


@given(st.text("xyz \n", min_size=1).map(str.strip), st.text("xyz \n").map(str.strip))
def test_the_channels_of_gpt_oss(thought: str, answer: str) -> None:
    text = f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}"
    assert _split(text, _CHANNELS) == {PieceKind.REASONING: thought, PieceKind.ANSWER: answer}


_SAID = st.text("xyz \n", min_size=1).map(str.strip).filter(bool)


@given(_SAID, st.sampled_from(("", " to=functions.add", " to=functions.add <|constrain|>json", "<|constrain|>json")))
def test_no_header_is_seen_whatever_stands_in_it(text: str, header: str) -> None:
    kind = PieceKind.REASONING if " to=" in header else PieceKind.ANSWER
    told = _split(f"<|channel|>commentary{header}<|message|>{text}", _CHANNELS)
    assert told == {PieceKind.REASONING: "", PieceKind.ANSWER: ""} | {kind: text}


@given(_SAID, _SAID)
def test_two_parts_of_one_kind_have_a_blank_line_between_them(one: str, two: str) -> None:
    told = _split(f"<think>{one}</think>\n<think>{two}</think>", _THINK)
    assert told == {PieceKind.REASONING: f"{one}\n\n{two}", PieceKind.ANSWER: ""}


@given(_TEXTS, _MARKS)
def test_nothing_but_marks_and_blanks_is_lost(text: str, marks: Markers | None) -> None:
    told = _split(text, marks)
    letters = [char for char in told[PieceKind.REASONING] + told[PieceKind.ANSWER] if not char.isspace()]
    position = 0
    for letter in letters:  # what is told stands in the text, in this order
        position = text.index(letter, position) + 1


@given(_cut(st.text("ab\n", max_size=30)), _STOPS)
@example(("a\na", ["a", "\n", "a"]), ["\n", "a\na"])
def test_a_stop_string_is_found_wherever_the_text_is_cut(cut: tuple[str, list[str]], stops: list[str]) -> None:
    text, pieces = cut
    assert _watched(pieces, stops) == _watched([text], stops)


@given(st.text("ab\n", max_size=30), _STOPS)
def test_a_text_ends_where_the_first_complete_stop_string_begins(text: str, stops: list[str]) -> None:
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert _watched([text], stops) == ((text[: min(found)[1]], True) if found else (text, False))


@given(_cut(st.text(max_size=30)))
def test_what_steers_a_terminal_is_written_out_wherever_the_text_is_cut(cut: tuple[str, list[str]]) -> None:
    text, pieces = cut
    shown = "".join(map(terminal_safe, pieces))
    assert shown == terminal_safe(text)
    assert not any(is_unprintable(char) for char in shown if char not in "\n\t")
