"""Laws of an answer: where its text is cut into deltas changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.cli.render.text import terminal_safe
from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, ReasoningSplitter, find_markers
from mlxknife.domain.generation.rules.stop_strings import StopMatcher
from mlxknife.domain.generation.values.answer import Delta, TextDelta, TextKind
from mlxknife.domain.text.rules.display import is_unprintable
from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.values import ToolCallDelta

_THINK = ReasoningMarkers(("<think>",), "</think>")
_CHANNELS = find_markers(("<|channel|>", "<|message|>", "<|end|>", "<|start|>"), "", "")
_RESPONSE = find_markers(("<|START_THINKING|>", "<|END_THINKING|>"), "", "")
_MARKERS = st.sampled_from(
    (_THINK, ReasoningMarkers(("<think>",), "</think>", begins_inside=True), _CHANNELS, _RESPONSE, None)
)
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


_CALL_DELTAS = st.builds(ToolCallDelta, st.integers(0, 2), arguments=st.text("ab", max_size=2))


@given(st.lists(st.lists(_CALL_DELTAS, max_size=3), max_size=6))
def test_joining_the_deltas_of_calls_changes_no_call(parts: list[list[ToolCallDelta]]) -> None:
    begun = [ToolCallDelta(index, f"call_{index}", "f") for index in range(3)]
    deltas = [*begun, *(delta for part in parts for delta in part)]
    joined = Delta(tool_calls=tuple(begun))
    for part in parts:
        joined = joined.followed_by(Delta(tool_calls=tuple(part)))
    expected = ["".join(delta.arguments for delta in deltas if delta.index == index) for index in range(3)]
    for found in (collected(deltas), collected(joined.tool_calls)):
        assert [(call.id, call.name, call.arguments) for call in found] == [
            (f"call_{index}", "f", arguments) for index, arguments in enumerate(expected)
        ]
    assert all(one.index != other.index for one, other in pairwise(joined.tool_calls))


@st.composite
def _cut(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> tuple[str, list[str]]:
    """Return a text, and its parts."""
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=len(text) + 1)))
    edges = [0, *cuts, len(text)]
    return text, [text[start:stop] for start, stop in pairwise(edges)]


def _joined(deltas: Iterable[TextDelta | ToolCallDelta]) -> dict[TextKind, str]:
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    return {kind: "".join(text.text for text in texts if text.kind is kind) for kind in TextKind}


def _split(parts: Iterable[str], markers: ReasoningMarkers | None) -> dict[TextKind, str]:
    splitter = ReasoningSplitter(markers)
    deltas = [delta for text in parts for delta in splitter.feed(text)]
    return _joined([*deltas, *splitter.flush()])


def _matched(parts: Iterable[str], stops: Sequence[str]) -> tuple[str, bool]:
    matcher = StopMatcher(stops)
    passed = "".join(matcher.feed(part) for part in parts)
    return passed + matcher.flush(), matcher.has_stopped


@given(_cut(_TEXTS), _MARKERS)
def test_reasoning_is_split_off_wherever_the_text_is_cut(
    cut: tuple[str, list[str]], markers: ReasoningMarkers | None
) -> None:
    text, parts = cut
    assert _split(parts, markers) == _split([text], markers)


@given(_TEXTS)
def test_without_markers_all_text_is_answer(text: str) -> None:
    assert _split(text, None) == {TextKind.ANSWER: text, TextKind.REASONING: ""}


@given(st.text("xyz \n").map(str.strip), st.text("xyz \n").map(str.strip))
def test_text_between_the_markers_is_reasoning_and_the_rest_is_answer(thought: str, answer: str) -> None:
    split = _split(f"<think>\n{thought}\n</think>\n\n{answer}", _THINK)
    assert split == {TextKind.REASONING: thought, TextKind.ANSWER: answer}


@given(st.text("xyz \n", min_size=1).map(str.strip), st.text("xyz \n").map(str.strip))
def test_the_channels_of_gpt_oss(thought: str, answer: str) -> None:
    text = f"<|channel|>analysis<|message|>{thought}<|end|><|start|>assistant<|channel|>final<|message|>{answer}"
    assert _split(text, _CHANNELS) == {TextKind.REASONING: thought, TextKind.ANSWER: answer}


_CONTENT = st.text("xyz \n", min_size=1).map(str.strip).filter(bool)


@given(_CONTENT, st.sampled_from(("", " to=functions.add", " to=functions.add <|constrain|>json", "<|constrain|>json")))
def test_a_header_is_never_shown(text: str, header: str) -> None:
    kind = TextKind.REASONING if " to=" in header else TextKind.ANSWER
    split = _split(f"<|channel|>commentary{header}<|message|>{text}", _CHANNELS)
    assert split == {TextKind.REASONING: "", TextKind.ANSWER: ""} | {kind: text}


@given(_CONTENT, _CONTENT)
def test_a_blank_line_separates_two_sections_of_one_kind(one: str, two: str) -> None:
    split = _split(f"<think>{one}</think>\n<think>{two}</think>", _THINK)
    assert split == {TextKind.REASONING: f"{one}\n\n{two}", TextKind.ANSWER: ""}


@given(_TEXTS, _MARKERS)
def test_only_markers_and_blanks_are_dropped(text: str, markers: ReasoningMarkers | None) -> None:
    split = _split(text, markers)
    characters = [char for char in split[TextKind.REASONING] + split[TextKind.ANSWER] if not char.isspace()]
    position = 0
    for character in characters:  # they occur in the text in this order
        position = text.index(character, position) + 1


@given(_cut(st.text("ab\n", max_size=30)), _STOPS)
@example(("a\na", ["a", "\n", "a"]), ["\n", "a\na"])
def test_a_stop_string_is_found_wherever_the_text_is_cut(cut: tuple[str, list[str]], stops: list[str]) -> None:
    text, parts = cut
    assert _matched(parts, stops) == _matched([text], stops)


@given(st.text("ab\n", max_size=30), _STOPS)
def test_a_text_ends_where_the_first_complete_stop_string_begins(text: str, stops: list[str]) -> None:
    found = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    assert _matched([text], stops) == ((text[: min(found)[1]], True) if found else (text, False))


def _answered(
    parts: Iterable[str], markers: ReasoningMarkers | None, stops: Sequence[str]
) -> tuple[dict[TextKind, str], bool]:
    """Return the texts of an answer, fed until a stop string is complete, and whether one was."""
    splitter, deltas = AnswerSplitter(markers, stops), list[TextDelta | ToolCallDelta]()
    for part in parts:
        deltas += splitter.feed(part)
        if splitter.has_stopped:
            return _joined(deltas), True
    return _joined([*deltas, *splitter.flush()]), splitter.has_stopped


_WORD_STOPS = st.lists(st.sampled_from(["answer", "<", "x", "\n\n", "</think>", "fi", "nal<"]), max_size=2)


@given(_cut(_TEXTS), _MARKERS, _WORD_STOPS)
def test_an_answer_with_reasoning_and_stop_strings_is_the_same_wherever_it_is_cut(
    cut: tuple[str, list[str]], markers: ReasoningMarkers | None, stops: list[str]
) -> None:
    text, parts = cut
    assert _answered(parts, markers, stops) == _answered(text, markers, stops)


@given(_TEXTS, _MARKERS, _WORD_STOPS)
def test_stop_strings_apply_to_the_answer_alone(text: str, markers: ReasoningMarkers | None, stops: list[str]) -> None:
    answered, has_stopped = _answered(text, markers, stops)
    split = _split(text, markers)
    assert (answered[TextKind.ANSWER], has_stopped) == _matched([split[TextKind.ANSWER]], stops)
    assert split[TextKind.REASONING].startswith(answered[TextKind.REASONING])


@given(_cut(st.text(max_size=30)))
def test_control_characters_are_escaped_wherever_the_text_is_cut(cut: tuple[str, list[str]]) -> None:
    text, parts = cut
    shown = "".join(map(terminal_safe, parts))
    assert shown == terminal_safe(text)
    assert not any(is_unprintable(char) for char in shown if char not in "\n\t")
