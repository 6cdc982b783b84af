from __future__ import annotations

import errno
import io

import pytest

from mlxknife.cli.render.answer import AnswerPrinter, cut_note, statistics
from mlxknife.cli.render.text import terminal_safe
from mlxknife.cli.streams import StdoutError
from mlxknife.domain.generation.values.answer import (
    FinishReason,
    GenerationResult,
    TextDelta,
    TextKind,
    Timings,
    Usage,
)
from tests.screen import ScreenStream

_REASONING, _ANSWER = TextKind.REASONING, TextKind.ANSWER
_BOTH = (_REASONING, _ANSWER)
_HOSTILE = "\x1b]0;title\x07\x1b[2J\r\x08\x9b\u202e\u2028\x7f"


class Terminal(io.StringIO):
    """A stream that claims to be a terminal, and keeps what was flushed."""

    flushed = ""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.flushed = self.getvalue()


class Full(io.StringIO):
    """A stream on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def _print(printer: AnswerPrinter, text: str) -> None:
    printer.write(TextDelta(_ANSWER, text))
    printer.end()


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def _shown(stream: io.StringIO, *deltas: tuple[TextKind, str], kinds: tuple[TextKind, ...] = _BOTH) -> str:
    printer = AnswerPrinter(stream, kinds, is_plain=True)
    for kind, text in deltas:
        printer.write(TextDelta(kind, text))
    printer.end()
    return stream.getvalue()


def _faint(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"


def test_an_answer_ends_its_line() -> None:
    assert _shown(Terminal(), (_ANSWER, "Hello, "), (_ANSWER, "world!")) == "Hello, world!\n"


@pytest.mark.parametrize("texts", [["Hello\n"], ["Hello", "\n"], ["Hello", "\n", ""]])
def test_an_ended_line_is_not_ended_again(texts: list[str]) -> None:
    assert _shown(Terminal(), *((_ANSWER, text) for text in texts)) == "Hello\n"


def test_the_line_is_ended_once() -> None:
    stream = Terminal()
    printer = AnswerPrinter(stream, _BOTH, is_plain=True)
    printer.write(TextDelta(_ANSWER, "Hello"))
    printer.end()
    printer.end()
    assert stream.getvalue() == "Hello\n"


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
@pytest.mark.parametrize("deltas", [(), ((_ANSWER, ""),), ((_REASONING, ""), (_ANSWER, ""))])
def test_an_empty_answer_prints_nothing(stream: type[io.StringIO], deltas: tuple[tuple[TextKind, str], ...]) -> None:
    assert _shown(stream(), *deltas) == ""


def test_reasoning_is_faint_and_an_empty_line_follows() -> None:
    shown = _shown(Terminal(), (_REASONING, "hm"), (_REASONING, "m"), (_ANSWER, "Yes"), (_ANSWER, "."))
    assert shown == f"{_faint('hm')}{_faint('m')}\n\nYes.\n"


def test_an_empty_delta_of_another_kind_separates_nothing() -> None:
    assert _shown(Terminal(), (_ANSWER, "a"), (_REASONING, ""), (_ANSWER, "b")) == "ab\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("CI", "1"), ("TERM", "dumb")])
def test_without_colours_reasoning_is_not_faint(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert _shown(Terminal(), (_REASONING, "\x1bhm"), (_ANSWER, "\x1bYes")) == "\\x1bhm\n\n\\x1bYes\n"


@pytest.mark.parametrize(
    ("kind", "shown"), [(_REASONING, "hm\n"), (_ANSWER, "Yes\n")], ids=["only reasoning", "only the answer"]
)
def test_only_the_chosen_kinds_are_printed(kind: TextKind, shown: str) -> None:
    assert _shown(io.StringIO(), (_REASONING, "hm"), (_ANSWER, "Yes"), kinds=(kind,)) == shown


def _markdown(stream: ScreenStream, *deltas: tuple[TextKind, str], is_streaming: bool = True) -> str:
    printer = AnswerPrinter(stream, _BOTH, is_streaming=is_streaming)
    for kind, text in deltas:
        printer.write(TextDelta(kind, text))
    printer.end()
    printer.end()
    return stream.getvalue()


@pytest.mark.parametrize("is_streaming", [True, False])
def test_markdown_is_drawn_on_a_terminal_after_faint_reasoning(*, is_streaming: bool) -> None:
    deltas = ((_REASONING, "h*m*"), (_ANSWER, "A **bold"), (_ANSWER, "** word"), (_REASONING, "again"))
    with ScreenStream() as stream:
        shown = _markdown(stream, *deltas, is_streaming=is_streaming)
        assert stream.screen.text == "h*m*\n\nA bold word\n\nagain"
        assert shown.startswith(f"{_faint('h*m*')}\n\n")
        assert "\x1b[1mbold\x1b[0m" in shown
        assert shown.endswith(f"{_faint('again')}\n")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("CI", "1"), ("TERM", "dumb")])
def test_without_colours_markdown_is_printed_as_it_is_written(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with ScreenStream() as stream:
        assert _markdown(stream, (_ANSWER, "# A **bold** word\n")) == "# A **bold** word\n"


def test_a_full_disk_is_an_error_of_stdout_with_markdown_too() -> None:
    class FullTerminal(Full):
        def isatty(self) -> bool:
            return True

    with pytest.raises(StdoutError, match="No space left"):
        _print(AnswerPrinter(FullTerminal(), _BOTH), "Yes")


def test_control_characters_are_escaped_in_every_kind() -> None:
    escaped = "\\x1b]0;title\\x07\\x1b[2J\\r\\x08\\x9b\\u202e\\u2028\\x7f"
    assert _shown(Terminal(), (_ANSWER, _HOSTILE)) == f"{escaped}\n"
    assert _shown(Terminal(), (_REASONING, _HOSTILE)) == f"{_faint(escaped)}\n"


def test_an_escape_sequence_in_several_deltas_is_escaped() -> None:
    shown = _shown(Terminal(), *((_ANSWER, char) for char in "\x1b[31m"))
    assert shown == "\\x1b[31m\n"


def test_layout_and_letters_of_every_script_are_not_escaped() -> None:
    text = "\tif x:\n\t\tgrüße 世界 \U0001f468\u200d\U0001f469 \u0645"
    assert _shown(Terminal(), (_ANSWER, text)) == f"{text}\n"
    assert terminal_safe(text) == text


def test_a_pipe_gets_every_character_unchanged() -> None:
    text = f"{_HOSTILE}\n\n  x \ud800"
    assert _shown(io.StringIO(), (_ANSWER, text)) == f"{text}\n"


def test_a_pipe_gets_reasoning_without_colours_and_an_empty_line_after_it() -> None:
    assert _shown(io.StringIO(), (_REASONING, "hm"), (_ANSWER, "Yes")) == "hm\n\nYes\n"


def test_every_delta_is_flushed() -> None:
    stream = Terminal()
    printer = AnswerPrinter(stream, _BOTH, is_plain=True)
    for number in range(3):
        printer.write(TextDelta(_ANSWER, str(number)))
        assert stream.flushed == "012"[: number + 1]
    printer.end()
    assert stream.flushed == "012\n"


def test_without_streaming_everything_is_printed_at_the_end() -> None:
    stream = Terminal()
    printer = AnswerPrinter(stream, _BOTH, is_streaming=False, is_plain=True)
    printer.write(TextDelta(_REASONING, "hm"))
    printer.write(TextDelta(_ANSWER, "Yes"))
    assert stream.getvalue() == ""
    printer.end()
    printer.end()
    assert stream.getvalue() == f"{_faint('hm')}\n\nYes\n"


@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_full_disk_is_an_error_of_stdout(*, is_streaming: bool) -> None:
    printer = AnswerPrinter(Full(), _BOTH, is_streaming=is_streaming)
    with pytest.raises(StdoutError, match="No space left") as caught:
        _print(printer, "Yes")
    assert caught.value.error.errno == errno.ENOSPC


def _result(tokens: int, first: float, total: float) -> GenerationResult:
    return GenerationResult(
        "x", "", FinishReason.LENGTH, Usage(7, tokens), Timings(load=1.25, first_token=first, total=total)
    )


def test_the_rate_counts_the_tokens_after_the_first() -> None:
    shown = statistics(_result(11, 0.5, 2.5))
    assert shown == "7 prompt tokens, 11 generated (length); loaded in 1.2s, first token after 0.50s, then 5.0 tokens/s"


def test_statistics_name_the_cached_tokens() -> None:
    usage = Usage(prompt_tokens=70, completion_tokens=1, cached_tokens=60)
    shown = statistics(GenerationResult("x", "", FinishReason.STOP, usage, Timings(0.0, 0.0, 0.0)))
    assert shown.startswith("70 prompt tokens (60 cached), 1 generated (stop); ")


@pytest.mark.parametrize(("tokens", "first", "total"), [(0, 0.0, 0.0), (1, 0.5, 0.5), (5, 0.5, 0.5), (0, 1.0, 2.0)])
def test_the_rate_of_fewer_than_two_tokens_is_zero(tokens: int, first: float, total: float) -> None:
    assert statistics(_result(tokens, first, total)).endswith("then 0.0 tokens/s")


@pytest.mark.parametrize(
    ("reason", "context_length", "note"),
    [
        (FinishReason.STOP, 12, None),
        (FinishReason.LENGTH, None, "Output cut at 5 tokens (--max-tokens)"),
        (FinishReason.LENGTH, 13, "Output cut at 5 tokens (--max-tokens)"),
        (FinishReason.LENGTH, 12, "Output cut at 5 tokens (the context window is full)"),
        (FinishReason.REPETITION, 12, "Output ended at 5 tokens: it only repeated itself (--no-loop-guard)"),
    ],
)
def test_an_answer_that_is_not_complete_gets_a_note(
    reason: FinishReason, context_length: int | None, note: str | None
) -> None:
    result = GenerationResult("x", "", reason, Usage(7, 5), Timings(0.0, 0.0, 0.0))
    assert cut_note(result, context_length, "--max-tokens") == note
