"""Tool calls in an answer: beside reasoning and stop strings, and as the end of the answer."""

from __future__ import annotations

import pytest

from mlxknife.domain.generation.rules.answer_splitter import AnswerSplitter
from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, find_markers
from mlxknife.domain.generation.services.answer_stream import AnswerStream
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind
from mlxknife.domain.generation.values.rows import RowStep
from mlxknife.domain.tools.rules.collecting import collected
from mlxknife.domain.tools.rules.families import ToolFamily
from mlxknife.domain.tools.values import ToolCall, ToolCallDelta
from tests.fakes.tokenizer import FakeTokenizer
from tests.tool_streams import splitter

_TOKENIZER = FakeTokenizer()
_END = 0
_THINK = ReasoningMarkers(("<think>",), "</think>")
_CHANNELS = find_markers(("<|channel|>", "<|message|>", "<|end|>", "<|start|>"), "", "")
_CALL = '<tool_call>\n{"name": "stop", "arguments": {"city": "stop"}}\n</tool_call>'
_CALLED = ToolCall("call_0", "stop", '{"city": "stop"}')


def _answer(
    text: str,
    *,
    family: ToolFamily = ToolFamily.HERMES,
    markers: ReasoningMarkers | None = None,
    stops: tuple[str, ...] = (),
    end: FinishReason = FinishReason.STOP,
    is_parallel: bool = True,
) -> tuple[Delta, int]:
    """Return the joined delta of an answer, and how many tokens it took."""
    calls = splitter(family, is_parallel=is_parallel)
    stream = AnswerStream(_TOKENIZER, 3, markers=markers, stops=stops, calls=calls)
    tokens = _TOKENIZER.encode(text, add_special_tokens=False)
    steps = [RowStep(1, token) for token in tokens]
    steps = [*steps, RowStep(1, _END, end)] if end is FinishReason.STOP else [*steps[:-1], RowStep(1, tokens[-1], end)]
    whole = Delta()
    for count, step in enumerate(steps, start=1):
        whole = whole.followed_by(stream.feed(step))
        if whole.finish_reason is not None:
            return whole, count
    return whole, len(steps)


def _text(delta: Delta, kind: TextKind = TextKind.ANSWER) -> str:
    return "".join(text.text for text in delta.texts if text.kind is kind)


def test_an_answer_that_called_ends_with_tool_calls() -> None:
    delta, _ = _answer(f"I look. {_CALL}")
    assert (_text(delta), collected(delta.tool_calls)) == ("I look.", (_CALLED,))
    assert (delta.finish_reason, len(delta.tool_calls)) == (FinishReason.TOOL_CALLS, 1)
    delta, _ = _answer(f"{_CALL}\n{_CALL}")
    assert [call.id for call in collected(delta.tool_calls)] == ["call_0", "call_1"]


def test_other_reasons_stay() -> None:
    assert _answer("No <tool_call>.")[0].finish_reason is FinishReason.STOP
    delta, _ = _answer(_CALL[:-17], end=FinishReason.LENGTH)
    assert (delta.finish_reason, collected(delta.tool_calls)[0].arguments) == (FinishReason.LENGTH, '{"city": "sto')


def test_stop_strings_do_not_apply_to_calls() -> None:
    delta, _ = _answer(f"I look. {_CALL} And stop here.", stops=("stop", "tool_call", '"'))
    assert (_text(delta), collected(delta.tool_calls)) == ("I look. And ", (_CALLED,))
    assert delta.finish_reason is FinishReason.TOOL_CALLS


def test_a_stop_string_before_a_call_ends_the_answer() -> None:
    delta, _ = _answer(f"I stop. {_CALL}", stops=("stop",))
    assert (_text(delta), delta.tool_calls, delta.finish_reason) == ("I ", (), FinishReason.STOP)


def test_no_stop_string_continues_after_a_call() -> None:
    delta, _ = _answer(f"st{_CALL}op", stops=("stop",))
    assert (_text(delta), delta.finish_reason) == ("stop", FinishReason.TOOL_CALLS)


def test_without_parallel_calls_the_answer_ends_with_its_first_call() -> None:
    delta, count = _answer(f"{_CALL}\n{_CALL}", is_parallel=False)
    assert (collected(delta.tool_calls), delta.finish_reason) == ((_CALLED,), FinishReason.TOOL_CALLS)
    assert count == len(_CALL.removesuffix("}\n</tool_call>"))


def test_nothing_comes_after_the_end_of_an_answer_in_the_same_text() -> None:
    stopped = AnswerSplitter(None, ("stop",), splitter(ToolFamily.HERMES))
    assert list(stopped.feed(f"I stop. {_CALL}")) == [TextDelta(TextKind.ANSWER, "I ")]
    assert (stopped.has_ended, stopped.has_called) == (True, False)
    called = AnswerSplitter(_CHANNELS, (), splitter(ToolFamily.HARMONY, is_parallel=False))
    deltas = list(called.feed(f"{_COMMENTARY}<|call|><|start|>assistant<|channel|>analysis<|message|>Hm.<|end|>"))
    assert called.has_ended
    assert [delta.index for delta in deltas if isinstance(delta, ToolCallDelta)] == [0] * len(deltas)


def test_calls_in_reasoning_are_reasoning() -> None:
    delta, _ = _answer(f"<think>{_CALL}</think>\n\n{_CALL}", markers=_THINK)
    assert _text(delta, TextKind.REASONING) == _CALL
    assert (_text(delta), collected(delta.tool_calls)) == ("", (_CALLED,))


_NEXT = "<|end|><|start|>assistant"
_COMMENTARY = '<|channel|>commentary to=functions.stop<|message|>{"city": "stop"}'
_FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>Done."
_ARGUMENTS = '<|message|>{"city": "stop"}'


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (f"<|channel|>commentary to=functions.stop <|constrain|>json{_ARGUMENTS}<|call|>", "", ""),
        (f"<|channel|>commentary to=functions.stop <|constrain|>json{_ARGUMENTS}", "", ""),
        (f"<|channel|>commentary to=functions.stop<|channel|>json{_ARGUMENTS}<|call|>", "", ""),
        (f" to=functions.stop<|channel|>commentary <|constrain|>json{_ARGUMENTS}<|call|>", "", ""),
        (f"<|channel|>commentary to=stop{_ARGUMENTS}<|end|>", "", ""),
        (
            f"<|channel|>analysis<|message|>Hm.{_NEXT} to=functions.stop<|channel|>commentary json{_ARGUMENTS}<|call|>",
            "Hm.",
            "",
        ),
        (f"{_COMMENTARY}{_FINAL}", "", "Done."),
        (
            f"<|channel|>commentary<|message|>I look.{_NEXT}{_COMMENTARY}{_FINAL}",
            "",
            "I look.\n\nDone.",
        ),
    ],
)
def test_messages_of_gpt_oss_to_tools_are_calls(text: str, reasoning: str, answer: str) -> None:
    delta, _ = _answer(text, family=ToolFamily.HARMONY, markers=_CHANNELS)
    assert (_text(delta, TextKind.REASONING), _text(delta)) == (reasoning, answer)
    assert collected(delta.tool_calls) == (_CALLED,)


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        (
            '<|channel|>commentary to=functions.unknown <|constrain|>json<|message|>{"a": 1}<|call|>',
            '{"a": 1}<|call|>',
            "",
        ),
        ("<|channel|>analysis to=python code<|message|>1+1", "1+1", ""),
        ("<|start|>user to=functions.stop<|channel|>commentary<|message|>{}", "{}", ""),
        ("<|channel|>final<|message|>to=functions.stop", "", "to=functions.stop"),
    ],
)
def test_messages_of_gpt_oss_to_no_known_tool_are_what_they_were(text: str, reasoning: str, answer: str) -> None:
    delta, _ = _answer(text, family=ToolFamily.HARMONY, markers=_CHANNELS)
    assert (_text(delta, TextKind.REASONING), _text(delta), delta.tool_calls) == (reasoning, answer, ())
