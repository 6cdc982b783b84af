"""The logprobs of an answer: those of the tokens that its text consists of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.generation.rules.logprobs import LogprobAligner
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.services.answer_stream import AnswerStream
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob
from mlxknife.domain.generation.values.rows import RowStep
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.rules.splitter import ToolCallSplitter
from mlxknife.domain.tools.values import Tool
from tests.fakes.tokenizer import FakeTokenizer

_TOKENIZER = FakeTokenizer(("<think>", "</think>", "ab", "bc", "stop", " st", "<tool_call>", "</tool_call>"))
_MARKERS = ReasoningMarkers(("<think>",), "</think>")
_CALL = '<tool_call>\n{"name": "add", "arguments": {"a": "ab"}}\n</tool_call>'
_END = 0


def _answer(
    text: str,
    *,
    stops: Sequence[str] = (),
    markers: ReasoningMarkers | None = None,
    has_tools: bool = False,
    is_cut: bool = False,
) -> list[Delta]:
    """Return the deltas of a text. The logprob of the first token is -1, of the second one -2, and so on.

    ``is_cut``: the text ends after max_tokens.
    """
    calls = ToolCallSplitter(ToolFamily.HERMES, [Tool("add")], lambda: "call_1") if has_tools else None
    stream = AnswerStream(_TOKENIZER, 3, markers=markers, stops=stops, calls=calls)
    tokens = _TOKENIZER.encode(text, add_special_tokens=False)
    steps = [RowStep(1, token, logprob=-1.0 - at) for at, token in enumerate(tokens)]
    if is_cut and steps:
        steps[-1] = RowStep(1, tokens[-1], FinishReason.LENGTH, -1.0 * len(tokens))
    else:
        steps.append(RowStep(1, _END, FinishReason.STOP, -0.5))
    deltas = list[Delta]()
    for step in steps:
        deltas.append(stream.feed(step))
        if deltas[-1].finish_reason is not None:
            break
    return deltas


def _text(deltas: Sequence[Delta]) -> str:
    return "".join(text.text for delta in deltas for text in delta.texts if text.kind is TextKind.ANSWER)


def _bytes(deltas: Sequence[Delta]) -> list[bytes]:
    return [logprob.content for delta in deltas for logprob in delta.logprobs]


def test_logprobs_have_text_and_bytes() -> None:
    delta = AnswerStream(_TOKENIZER, 3).feed(RowStep(1, 97, None, -0.5, ((97, -0.5), (0xC3, -2.0))))
    first, second = TokenLogprob("a", b"a", -0.5), TokenLogprob("\ufffd", b"\xc3", -2.0)
    assert delta.logprobs == (TokenLogprob("a", b"a", -0.5, (first, second)),)
    assert AnswerStream(_TOKENIZER, 3).feed(RowStep(1, _END, FinishReason.STOP, -0.1)).logprobs == ()


@pytest.mark.parametrize(
    ("text", "stop", "tokens"),
    [
        ("one,stop two", "stop", [b"o", b"n", b"e", b","]),  # nothing of the token is passed
        ("one,stop", "op", [b"o", b"n", b"e", b",", b"st"]),  # the start of the token is passed
        ("one stop", "stop", [b"o", b"n", b"e", b" "]),
        ("xabcabd", "bca", [b"x", b"a"]),
        ("abab", "ab", []),
        ("aé!", "é", [b"a"]),  # neither token of the character
        ("aé!", "!", [b"a", b"\xc3", b"\xa9"]),
        ("one sto", "stop", [b"o", b"n", b"e", b" st", b"o"]),
    ],
)
def test_a_token_that_a_stop_string_has_a_part_of_is_cut(text: str, stop: str, tokens: list[bytes]) -> None:
    assert _bytes(_answer(text, stops=(stop,))) == tokens


def test_the_logprob_of_a_token_that_may_belong_to_a_stop_string_waits_with_its_text() -> None:
    deltas = _answer("a ston", stops=("stop",))
    assert [len(delta.logprobs) for delta in deltas] == [1, 0, 0, 3, 0]
    assert [[text.text for text in delta.texts] for delta in deltas] == [["a"], [" "], [], ["ston"], []]


def test_a_character_of_several_tokens_has_the_logprobs_of_all_of_them() -> None:
    deltas = _answer("aé!")
    assert [len(delta.logprobs) for delta in deltas] == [1, 0, 2, 1, 0]
    assert [one.logprob for delta in deltas for one in delta.logprobs] == [-1.0, -2.0, -3.0, -4.0]


def test_the_tokens_of_reasoning_and_of_markers_are_left_out() -> None:
    deltas = _answer("<think>ab</think>\n\nabc", markers=_MARKERS)
    assert _text(deltas) == "abc"
    assert [(one.token, one.logprob) for delta in deltas for one in delta.logprobs] == [("ab", -6.0), ("c", -7.0)]


def test_the_tokens_of_a_call_are_left_out() -> None:
    deltas = _answer(f"ab {_CALL}\nc", has_tools=True)
    assert [call.name for delta in deltas for call in delta.tool_calls][:1] == ["add"]
    found = [(one.token, one.logprob) for delta in deltas for one in delta.logprobs]
    count = len(_TOKENIZER.encode(f"ab {_CALL}\nc", add_special_tokens=False))
    assert _text(deltas) == "ab\nc"
    assert found == [("ab", -1.0), ("\n", 1.0 - count), ("c", -1.0 * count)]


def test_a_false_start_of_a_call_keeps_its_tokens() -> None:
    text = '<tool_call>\n{"name": "sub", "arguments": {}}'
    assert b"".join(_bytes(_answer(text, has_tools=True))).decode() == text


def test_text_that_no_token_has_comes_with_the_token_after_it() -> None:
    aligner = LogprobAligner()
    for number, text in enumerate(("</think>", "b", "c")):
        aligner.add(TokenLogprob(text, text.encode(), -1.0 - number), text)
    aligner.show(TextDelta(TextKind.ANSWER, "\n\nbc"))
    settled = aligner.settled(holds_text=False, has_ended=False)
    assert [(one.token, one.logprob) for one in settled] == [("\n\nb", -2.0), ("c", -3.0)]


_STOPS = st.lists(st.sampled_from(["stop", "a", "bc", "é", "b ", "cst", "op s", "<"]), max_size=2)
_TEXTS = st.lists(
    st.sampled_from(
        [*"abcé <\n", "ab", "bc", "stop", " st", "o", "p", "<think>", "</think>", "<tool_call>", "</tool_call>", _CALL]
    ),
    max_size=10,
).map("".join)


@given(_TEXTS, _STOPS, st.sampled_from([None, _MARKERS]), st.booleans(), st.booleans())
def test_the_joined_tokens_are_the_text(
    text: str,
    stops: list[str],
    markers: ReasoningMarkers | None,
    has_tools: bool,  # noqa: FBT001 - drawn
    is_cut: bool,  # noqa: FBT001 - drawn
) -> None:
    deltas = _answer(text, stops=stops, markers=markers, has_tools=has_tools, is_cut=is_cut)
    assert b"".join(_bytes(deltas)).decode() == _text(deltas)
    for count in range(len(deltas)):  # no token comes before its text
        assert _text(deltas[:count]).startswith(b"".join(_bytes(deltas[:count])).decode())
    found = [one for delta in deltas for one in delta.logprobs]
    numbers = [int(-1 - one.logprob) for one in found]
    assert numbers == sorted(set(numbers)), "each token has one entry, in order"
    tokens = _TOKENIZER.encode(text, add_special_tokens=False)
    for one, number in zip(found, numbers, strict=True):
        assert one.content.strip() in _TOKENIZER.token_bytes(tokens[number]) or one.token.strip() == "é"
