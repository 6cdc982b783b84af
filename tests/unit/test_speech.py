from __future__ import annotations

import errno
import io

import pytest

from mlxknife.cli.listener import ListenerGone
from mlxknife.cli.render.speech import Speech, safe, statistics
from mlxknife.domain.generation.values.generation import FinishReason, Outcome, Piece, PieceKind, Timings, Usage

_REASONING, _ANSWER = PieceKind.REASONING, PieceKind.ANSWER
_BOTH = (_REASONING, _ANSWER)
_HOSTILE = "\x1b]0;title\x07\x1b[2J\r\x08\x9b\u202e\u2028\x7f"


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and remembers what was flushed."""

    flushed = ""

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        self.flushed = self.getvalue()


@pytest.fixture(autouse=True)
def _colours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def _shown(stream: io.StringIO, *pieces: tuple[PieceKind, str], kinds: tuple[PieceKind, ...] = _BOTH) -> str:
    speech = Speech(stream, kinds)
    for kind, text in pieces:
        speech.hear(Piece(kind, text))
    speech.end()
    return stream.getvalue()


def _faint(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"


def test_an_answer_ends_its_line() -> None:
    assert _shown(Terminal(), (_ANSWER, "Hello, "), (_ANSWER, "world!")) == "Hello, world!\n"


@pytest.mark.parametrize("texts", [["Hello\n"], ["Hello", "\n"], ["Hello", "\n", ""]])
def test_a_line_that_has_ended_is_not_ended_again(texts: list[str]) -> None:
    assert _shown(Terminal(), *((_ANSWER, text) for text in texts)) == "Hello\n"


def test_the_line_is_ended_once() -> None:
    stream = Terminal()
    speech = Speech(stream, _BOTH)
    speech.hear(Piece(_ANSWER, "Hello"))
    speech.end()
    speech.end()
    assert stream.getvalue() == "Hello\n"


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
@pytest.mark.parametrize("pieces", [(), ((_ANSWER, ""),), ((_REASONING, ""), (_ANSWER, ""))])
def test_an_empty_answer_shows_nothing(stream: type[io.StringIO], pieces: tuple[tuple[PieceKind, str], ...]) -> None:
    assert _shown(stream(), *pieces) == ""


def test_reasoning_is_faint_and_separated() -> None:
    told = _shown(Terminal(), (_REASONING, "hm"), (_REASONING, "m"), (_ANSWER, "Yes"), (_ANSWER, "."))
    assert told == f"{_faint('hm')}{_faint('m')}\n\nYes.\n"


def test_an_empty_piece_of_another_kind_adds_no_separator() -> None:
    assert _shown(Terminal(), (_ANSWER, "a"), (_REASONING, ""), (_ANSWER, "b")) == "ab\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("CI", "1"), ("TERM", "dumb")])
def test_a_terminal_without_colours_shows_reasoning_plainly(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert _shown(Terminal(), (_REASONING, "\x1bhm"), (_ANSWER, "\x1bYes")) == "\\x1bhm\n\n\\x1bYes\n"


@pytest.mark.parametrize(
    ("kind", "shown"), [(_REASONING, "hm\n"), (_ANSWER, "Yes\n")], ids=["only reasoning", "only the answer"]
)
def test_hidden_kinds_are_not_shown(kind: PieceKind, shown: str) -> None:
    assert _shown(io.StringIO(), (_REASONING, "hm"), (_ANSWER, "Yes"), kinds=(kind,)) == shown


def test_control_characters_are_escaped_in_every_kind() -> None:
    written = "\\x1b]0;title\\x07\\x1b[2J\\r\\x08\\x9b\\u202e\\u2028\\x7f"
    assert _shown(Terminal(), (_ANSWER, _HOSTILE)) == f"{written}\n"
    assert _shown(Terminal(), (_REASONING, _HOSTILE)) == f"{_faint(written)}\n"


def test_a_control_sequence_split_over_pieces_is_escaped() -> None:
    told = _shown(Terminal(), *((_ANSWER, char) for char in "\x1b[31m"))
    assert told == "\\x1b[31m\n"


def test_layout_and_letters_of_every_script_are_unchanged() -> None:
    text = "\tif x:\n\t\tgrüße 世界 \U0001f468\u200d\U0001f469 \u0645"
    assert _shown(Terminal(), (_ANSWER, text)) == f"{text}\n"
    assert safe(text) == text


def test_a_pipe_gets_every_character_unchanged() -> None:
    text = f"{_HOSTILE}\n\n  x \ud800"
    assert _shown(io.StringIO(), (_ANSWER, text)) == f"{text}\n"


def test_a_pipe_gets_reasoning_separated_and_without_colours() -> None:
    assert _shown(io.StringIO(), (_REASONING, "hm"), (_ANSWER, "Yes")) == "hm\n\nYes\n"


def test_every_piece_is_flushed_at_once() -> None:
    stream = Terminal()
    speech = Speech(stream, _BOTH)
    for number in range(3):
        speech.hear(Piece(_ANSWER, str(number)))
        assert stream.flushed == "012"[: number + 1]
    speech.end()
    assert stream.flushed == "012\n"


def test_unstreamed_text_is_shown_at_the_end() -> None:
    stream = Terminal()
    speech = Speech(stream, _BOTH, at_once=False)
    speech.hear(Piece(_REASONING, "hm"))
    speech.hear(Piece(_ANSWER, "Yes"))
    assert stream.getvalue() == ""
    speech.end()
    speech.end()
    assert stream.getvalue() == f"{_faint('hm')}\n\nYes\n"


class Full(io.StringIO):
    """A stream that takes nothing."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def _say(speech: Speech, text: str) -> None:
    speech.hear(Piece(_ANSWER, text))
    speech.end()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_closed_stream_is_not_an_error_of_the_answer(*, at_once: bool) -> None:
    speech = Speech(Full(), _BOTH, at_once=at_once)
    with pytest.raises(ListenerGone, match="No space left") as caught:
        _say(speech, "Yes")
    assert caught.value.error.errno == errno.ENOSPC


def _outcome(tokens: int, first: float, total: float) -> Outcome:
    return Outcome("x", "", FinishReason.LENGTH, Usage(7, tokens), Timings(load=1.25, first_token=first, total=total))


def test_statistics_count_what_came_after_the_first_token() -> None:
    told = statistics(_outcome(11, 0.5, 2.5))
    assert told == "7 prompt tokens, 11 answered (length); loaded in 1.2s, first token after 0.50s, then 5.0 tokens/s"


def test_statistics_name_the_cached_tokens() -> None:
    usage = Usage(prompt_tokens=70, completion_tokens=1, cached_tokens=60)
    told = statistics(Outcome("x", "", FinishReason.STOP, usage, Timings(0.0, 0.0, 0.0)))
    assert told.startswith("70 prompt tokens (60 known from before), 1 answered (stop); ")


@pytest.mark.parametrize(("tokens", "first", "total"), [(0, 0.0, 0.0), (1, 0.5, 0.5), (5, 0.5, 0.5), (0, 1.0, 2.0)])
def test_statistics_of_a_very_short_answer_name_no_speed(tokens: int, first: float, total: float) -> None:
    assert statistics(_outcome(tokens, first, total)).endswith("then 0.0 tokens/s")
