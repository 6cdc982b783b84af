"""The answers of several commands: each under its header, or each as a line of JSON."""

from __future__ import annotations

import codecs
import json
import os
import signal
from collections.abc import Sequence
from typing import Protocol, TextIO

import msgspec

from mlxknife.cli.render.speech import safe
from mlxknife.cli.render.text import Span, Style, paint, wants_colour
from mlxknife.cli.wire_tee import AnswerObject
from mlxknife.domain.tee.values import CommandExited, OutputChunk, TeeCommand


class Teller(Protocol):
    """Tells what commands answer, one command after the other."""

    def turn(self, job: TeeCommand) -> None:
        """Begin with a command."""
        ...

    def hear(self, said: OutputChunk) -> None:
        """Take what it wrote."""
        ...

    def end(self, ended: CommandExited) -> None:
        """Have done with it."""
        ...


class Pages:
    """Passes on what commands write, byte for byte in a pipe and safely on a terminal, under headers like tail's."""

    def __init__(self, out: TextIO, err: TextIO, *, with_headers: bool) -> None:
        """Take the streams for answers and for complaints."""
        is_one_place = os.path.sameopenfile(out.fileno(), err.fileno())
        place = _Place()
        self._out = _Sheet(out, place)
        self._err = _Sheet(err, place if is_one_place else _Place())
        self._is_one_place = is_one_place
        self._with_headers = with_headers
        self._job: TeeCommand | None = None
        self._complains = False

    def turn(self, job: TeeCommand) -> None:
        """See ``Teller.turn``; the header stands there before the answer comes."""
        self._job = job
        self._complains = False
        if self._with_headers:
            self._out.head(job.title)

    def hear(self, said: OutputChunk) -> None:
        """See ``Teller.hear``."""
        if said.is_error and not self._complains:
            self._complains = True
            if self._with_headers and self._job is not None and not self._is_one_place:
                self._err.head(self._job.title)
        (self._err if said.is_error else self._out).write(said.data)

    def end(self, ended: CommandExited) -> None:
        """See ``Teller.end``; what failed without a word is told."""
        self._out.finish()
        self._err.finish()
        if ended.status and self._job is not None and (ended.signal or not self._complains):
            self._err.remark(f"mlx-tee: {_end_of(ended)}: {self._job.title}")


class Records:
    """Tells each command as a line of JSON when it is over."""

    def __init__(self, out: TextIO) -> None:
        """Take the stream for the lines."""
        self._out = out
        self._job: TeeCommand | None = None
        self._written: dict[bool, list[bytes]] = {False: [], True: []}

    def turn(self, job: TeeCommand) -> None:
        """See ``Teller.turn``."""
        self._job = job
        self._written = {False: [], True: []}

    def hear(self, said: OutputChunk) -> None:
        """See ``Teller.hear``."""
        self._written[said.is_error].append(said.data)

    def end(self, ended: CommandExited) -> None:
        """See ``Teller.end``."""
        if self._job is not None:
            answer = AnswerObject(
                command=self._job.command,
                model=self._job.models[0] if self._job.models else None,
                host=self._job.host,
                output=_text(self._written[False]),
                error=_text(self._written[True]),
                exit_code=ended.status,
                seconds=round(ended.seconds, 3),
            )
            write_line(answer, self._out)


def write_line(value: msgspec.Struct, stream: TextIO) -> None:
    """Write a value as one line of JSON, in ASCII, so that nothing in it can steer a terminal."""
    stream.write(json.dumps(msgspec.to_builtins(value)) + "\n")
    stream.flush()


class _Sheet:
    """One stream, which is written to byte for byte unless it is a terminal."""

    def __init__(self, stream: TextIO, place: _Place) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._place = place

    def head(self, title: str) -> None:
        """Begin with a command: a header on a line of its own, after an empty one unless it is the first."""
        gap = "" if self._place.is_empty else "\n"
        header = paint((Span(f"==> {title} <==", Style.STRONG),), colour=wants_colour(self._stream))
        self._show(f"{self._place.break_off()}{gap}{header}\n")

    def remark(self, text: str) -> None:
        """Say something of our own, on a line of its own."""
        self._show(f"{self._place.break_off()}{paint((text,), colour=False)}\n")

    def write(self, data: bytes) -> None:
        """Pass on what a command wrote."""
        if self._is_terminal:
            self._show(safe(self._decoder.decode(data)))
            return
        self._stream.buffer.write(data)
        self._stream.flush()
        self._place.note(ends_line=data.endswith(b"\n"))

    def finish(self) -> None:
        """Show what is left of a character that never became whole."""
        if self._is_terminal:
            self._show(safe(self._decoder.decode(b"", final=True)))

    def _show(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self._place.note(ends_line=text.endswith("\n"))


class _Place:
    """Where streams end up, perhaps both: whether it is empty, and whether it stands at the beginning of a line."""

    def __init__(self) -> None:
        self.is_empty = True
        self._ends_line = True

    def note(self, *, ends_line: bool) -> None:
        self.is_empty, self._ends_line = False, ends_line

    def break_off(self) -> str:
        return "" if self._ends_line else "\n"


def _end_of(ended: CommandExited) -> str:
    if ended.signal is None:
        return f"exit status {ended.status}"
    try:
        return f"killed by {signal.Signals(ended.signal).name}"
    except ValueError:  # a real-time signal
        return f"killed by signal {ended.signal}"


def _text(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "backslashreplace")
