"""Laws of an answer with reasoning, tool calls and stop strings: where its text is cut changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, find_markers
from mlxknife.domain.generation.values.answer import TextDelta, TextKind
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from tests.tool_streams import joined, splitter

_THINK = ReasoningMarkers(("<think>",), "</think>")
_CHANNELS = find_markers(("<|channel|>", "<|message|>", "<|end|>", "<|start|>"), "", "")
_CASES = st.sampled_from([(ToolFamily.HERMES, None), (ToolFamily.HERMES, _THINK), (ToolFamily.HARMONY, _CHANNELS)])
_PIECES = [
    *("<think>", "</think>", "<tool_call>\n", '{"name": "stop", ', '"arguments": {"city": "stop"}}', "\n</tool_call>"),
    *('<tool_call>{"name": "get", "arguments": {}}', '<|channel|>commentary to=get<|message|>{"a": 1}<|call|>'),
    *("<|start|>assistant<|channel|>analysis<|message|>", "<|start|>assistant<|channel|>final<|message|>"),
    *("<|channel|>", "commentary", "analysis", "final", " to=functions.stop", " to=functions.none", " to=get"),
    *(" <|constrain|>json", "<|message|>", '{"city": "stop"}', "<|call|>", "<|end|>", "<|start|>assistant"),
    *("<|start|>user", "stop", "st", "op", "a ", "\n", "<", "é"),
]  # fmt: skip
_Answer = tuple[str, str, list[ToolCall], bool]


def _answered(
    parts: Iterable[str],
    case: tuple[ToolFamily, ReasoningMarkers | None],
    stops: Sequence[str],
    *,
    is_parallel: bool,
) -> _Answer:
    family, markers = case
    one = AnswerSplitter(markers, stops, splitter(family, is_parallel=is_parallel))
    deltas = list[TextDelta | ToolCallDelta]()
    for part in parts:
        deltas += one.feed(part)
        if one.has_ended:
            break
    else:
        deltas += one.flush()
    reasoning, answer = (
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta) and delta.kind is kind)
        for kind in (TextKind.REASONING, TextKind.ANSWER)
    )
    _, calls = joined(delta for delta in deltas if isinstance(delta, ToolCallDelta))
    assert one.has_called is bool(calls)
    return reasoning, answer, calls, one.has_ended


@given(
    st.data(),
    st.lists(st.sampled_from(_PIECES), max_size=14).map("".join),
    _CASES,
    st.lists(st.sampled_from(["stop", "op\n", "a <"]), max_size=2),
    st.booleans(),
)
def test_an_answer_is_split_the_same_wherever_it_is_cut(
    data: st.DataObject,
    text: str,
    case: tuple[ToolFamily, ReasoningMarkers | None],
    stops: list[str],
    is_parallel: bool,  # noqa: FBT001 - drawn
) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    parts = [text[start:end] for start, end in pairwise([0, *places, len(text)])]
    whole = _answered([text], case, stops, is_parallel=is_parallel)
    assert _answered(parts, case, stops, is_parallel=is_parallel) == whole
    assert _answered(text, case, stops, is_parallel=is_parallel) == whole
