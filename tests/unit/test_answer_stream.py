"""The answer stream: the tokens of one answer become deltas."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers
from mlxknife.domain.generation.services.answer_stream import AnswerStream
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, Usage
from mlxknife.domain.generation.values.rows import RowStep
from tests.fakes.tokenizer import FakeTokenizer

_TOKENIZER = FakeTokenizer(("<think>", "</think>"))
_MARKERS = ReasoningMarkers(("<think>",), "</think>")
_END = 0


def _fed(stream: AnswerStream, steps: Sequence[RowStep]) -> list[Delta]:
    """Return the deltas of steps, up to the end of the answer."""
    deltas = list[Delta]()
    for step in steps:
        deltas.append(stream.feed(step))
        if deltas[-1].finish_reason is not None:
            break
    return deltas


def _steps(
    text: str,
    reason: FinishReason = FinishReason.STOP,
    tokenizer: FakeTokenizer = _TOKENIZER,
    logprob: float | None = None,
) -> list[RowStep]:
    """Return the steps of a text that ends with its last token, or with the token that ends a turn."""
    tokens = tokenizer.encode(text, add_special_tokens=False)
    steps = [RowStep(1, token, logprob=logprob, cached=2) for token in tokens]
    if reason is FinishReason.LENGTH and steps:
        return [*steps[:-1], RowStep(1, tokens[-1], reason, logprob, cached=2)]
    return [*steps, RowStep(1, _END, FinishReason.STOP, logprob, cached=2)]


def _text(deltas: Sequence[Delta], kind: TextKind = TextKind.ANSWER) -> str:
    return "".join(text.text for delta in deltas for text in delta.texts if text.kind is kind)


def test_a_character_is_passed_with_its_last_byte() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3), _steps("é!"))
    assert [[text.text for text in delta.texts] for delta in deltas] == [[], ["é"], ["!"], []]
    assert deltas[-1] == Delta(finish_reason=FinishReason.STOP, usage=Usage(3, 4, 2))
    assert [delta.usage for delta in deltas] == [Usage(3, count, 2) for count in range(1, 5)]


def test_the_token_that_ends_a_turn_is_no_text_and_the_last_of_max_tokens_is() -> None:
    assert _text(_fed(AnswerStream(_TOKENIZER, 3), _steps("ab"))) == "ab"
    deltas = _fed(AnswerStream(_TOKENIZER, 3), _steps("ab", FinishReason.LENGTH))
    assert (_text(deltas), deltas[-1].finish_reason, deltas[-1].usage) == ("ab", FinishReason.LENGTH, Usage(3, 2, 2))


def test_a_stop_string_ends_an_answer_before_the_model_does() -> None:
    steps = _steps("one<end>two")
    deltas = _fed(AnswerStream(_TOKENIZER, 3, stops=("<end>",)), steps)
    assert (_text(deltas), deltas[-1].finish_reason) == ("one", FinishReason.STOP)
    assert steps[len(deltas) - 1].finish_reason is None
    assert deltas[-1].usage == Usage(3, 8, 2)


def test_a_stop_string_that_is_complete_with_the_last_token_is_the_finish_reason() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, stops=("<end>",)), _steps("one<end>", FinishReason.LENGTH))
    assert (_text(deltas), deltas[-1].finish_reason, len(deltas)) == ("one", FinishReason.STOP, 8)


def test_the_start_of_a_stop_string_is_passed_at_the_end() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, stops=("<end>",)), _steps("one<en"))
    assert _text(deltas) == "one<en"
    assert [text.text for text in deltas[-1].texts] == ["<en"]


def test_a_stop_string_that_is_complete_only_at_the_end_is_the_finish_reason() -> None:
    """The splitter holds back what may begin a reasoning marker."""
    stream = AnswerStream(_TOKENIZER, 3, markers=_MARKERS, stops=("<thi",))
    deltas = _fed(stream, _steps("<thi", FinishReason.LENGTH))
    assert (_text(deltas), deltas[-1].finish_reason) == ("", FinishReason.STOP)


def test_reasoning_is_split_off() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, markers=_MARKERS), _steps("<think>hm</think>yes"))
    assert (_text(deltas, TextKind.REASONING), _text(deltas)) == ("hm", "yes")


def test_stop_strings_do_not_apply_to_reasoning() -> None:
    stream = AnswerStream(_TOKENIZER, 3, markers=_MARKERS, stops=(" stop",))
    deltas = _fed(stream, _steps("<think>a stop</think>an end stop"))
    assert (_text(deltas, TextKind.REASONING), _text(deltas)) == ("a stop", "an end")


def test_an_echo_comes_first() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, echo="Say: "), _steps("ab"))
    assert deltas[0].texts == (TextDelta(TextKind.ANSWER, "Say: "), TextDelta(TextKind.ANSWER, "a"))
    assert _text(_fed(AnswerStream(_TOKENIZER, 3, echo="Say: "), _steps(""))) == "Say: "


def test_stop_strings_do_not_apply_to_the_echo() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, echo="stop ", stops=("stop", "p a")), _steps("a stop"))
    assert _text(deltas) == "stop a "


def test_deltas_carry_the_index_of_their_answer() -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, index=4), _steps("ab"))
    assert [delta.index for delta in deltas] == [4] * 3


def test_half_a_character_at_the_end_is_dropped() -> None:
    assert AnswerStream(_TOKENIZER, 3).feed(RowStep(1, 0xC3, FinishReason.LENGTH)).texts == ()


def test_an_error_of_the_tokenizer_is_raised() -> None:
    with pytest.raises(EngineError):
        AnswerStream(FakeTokenizer(broken_token=1), 1).feed(RowStep(1, 1))


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "stop", "st", "o", "p", "é", "\n", " "]), max_size=12).map("".join)
)
def test_the_joined_text_does_not_depend_on_the_tokens(text: str) -> None:
    by_bytes = FakeTokenizer()
    answers = [
        _fed(AnswerStream(tokenizer, 3, markers=_MARKERS, stops=("stop",)), _steps(text, tokenizer=tokenizer))
        for tokenizer in (_TOKENIZER, by_bytes)
    ]
    for kind in TextKind:
        assert _text(answers[0], kind) == _text(answers[1], kind)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "stop", "st", "o", "p", "é", "\n", " "]), max_size=12).map("".join)
)
def test_joined_deltas_are_one_delta(text: str) -> None:
    deltas = _fed(AnswerStream(_TOKENIZER, 3, markers=_MARKERS, stops=("stop",)), _steps(text, logprob=-1.0))
    joined = deltas[0]
    for delta in deltas[1:]:
        joined = joined.followed_by(delta)
    for kind in TextKind:
        assert _text([joined], kind) == _text(deltas, kind)
    assert joined.logprobs == tuple(one for delta in deltas for one in delta.logprobs)
    assert (joined.finish_reason, joined.usage) == (deltas[-1].finish_reason, deltas[-1].usage)


def test_the_loop_guard_ends_an_answer_that_only_repeats_itself() -> None:
    steps = _steps("So: " + "ab" * 400)
    deltas = _fed(AnswerStream(_TOKENIZER, 3, has_loop_guard=True, stops=("zz",)), steps)
    assert (len(deltas), _text(deltas)) == (4 + 256, "So: " + "ab" * 128)
    assert (deltas[-1].finish_reason, deltas[-1].usage) == (FinishReason.REPETITION, Usage(3, 260, 2))
    assert steps[len(deltas) - 1].finish_reason is None  # so the row is cancelled
    assert _fed(AnswerStream(_TOKENIZER, 3), steps)[-1].finish_reason is FinishReason.STOP


def test_a_loop_that_ends_with_the_answer_is_no_reason_of_its_own() -> None:
    steps = _steps("a" * 256, FinishReason.LENGTH)
    deltas = _fed(AnswerStream(_TOKENIZER, 3, has_loop_guard=True), steps)
    assert (deltas[-1].finish_reason, _text(deltas)) == (FinishReason.LENGTH, "a" * 256)
    steps = _steps("a" * 255 + "<end>")
    deltas = _fed(AnswerStream(_TOKENIZER, 3, has_loop_guard=True, stops=("<end>",)), steps)
    assert (deltas[-1].finish_reason, _text(deltas)) == (FinishReason.STOP, "a" * 255)
