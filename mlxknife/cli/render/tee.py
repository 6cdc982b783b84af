"""The output of ``mlx-tee``: each command under a header as in ``tail``, or one JSON document per command."""

from __future__ import annotations

import codecs
import json
import os
import signal
from collections.abc import Sequence
from typing import Protocol, TextIO

import msgspec

from mlxknife.cli.render.terminal import has_colour
from mlxknife.cli.render.text import Span, Style, paint, terminal_safe
from mlxknife.cli.tee_documents import TeeOutputObject
from mlxknife.domain.tee.values import CommandExited, OutputChunk, TeeCommand


class TeeOutput(Protocol):
    """Prints the output of several commands, one command after the other."""

    def begin(self, job: TeeCommand) -> None:
        """Start with a command."""
        ...

    def write(self, chunk: OutputChunk) -> None:
        """Take a piece of its output."""
        ...

    def end(self, ended: CommandExited) -> None:
        """Finish the command, which has ended."""
        ...


class HeadedOutput:
    """Copies the output of each command under a header: byte for byte in a pipe, escaped on a terminal."""

    def __init__(self, out: TextIO, err: TextIO, *, with_headers: bool) -> None:
        """Take stdout and stderr."""
        is_same_file = os.path.sameopenfile(out.fileno(), err.fileno())
        position = _Position()
        self._out = _StreamWriter(out, position)
        self._err = _StreamWriter(err, position if is_same_file else _Position())
        self._is_same_file = is_same_file
        self._with_headers = with_headers
        self._job: TeeCommand | None = None
        self._has_errors = False

    def begin(self, job: TeeCommand) -> None:
        """See ``TeeOutput.begin``. Prints the header before any output arrives."""
        self._job = job
        self._has_errors = False
        if self._with_headers:
            self._out.header(job.title)

    def write(self, chunk: OutputChunk) -> None:
        """See ``TeeOutput.write``. stderr gets a header of its own, unless it is the same file as stdout."""
        if chunk.is_error and not self._has_errors:
            self._has_errors = True
            if self._with_headers and self._job is not None and not self._is_same_file:
                self._err.header(self._job.title)
        (self._err if chunk.is_error else self._out).write(chunk.data)

    def end(self, ended: CommandExited) -> None:
        """See ``TeeOutput.end``. Prints the exit status of a command that failed and wrote nothing to stderr."""
        self._out.finish()
        self._err.finish()
        if ended.status and self._job is not None and (ended.signal or not self._has_errors):
            self._err.message(f"mlx-tee: {_end_of(ended)}: {self._job.title}")


class JsonLinesOutput:
    """Prints one line of JSON for each command when it ends."""

    def __init__(self, out: TextIO) -> None:
        """Take stdout."""
        self._out = out
        self._job: TeeCommand | None = None
        self._written: dict[bool, list[bytes]] = {False: [], True: []}

    def begin(self, job: TeeCommand) -> None:
        """See ``TeeOutput.begin``."""
        self._job = job
        self._written = {False: [], True: []}

    def write(self, chunk: OutputChunk) -> None:
        """See ``TeeOutput.write``."""
        self._written[chunk.is_error].append(chunk.data)

    def end(self, ended: CommandExited) -> None:
        """See ``TeeOutput.end``."""
        if self._job is not None:
            document = TeeOutputObject(
                command=self._job.command,
                model=self._job.models[0] if self._job.models else None,
                host=self._job.host,
                output=_text(self._written[False]),
                error=_text(self._written[True]),
                exit_code=ended.status,
                seconds=round(ended.seconds, 3),
            )
            write_json_line(document, self._out)


def write_json_line(value: msgspec.Struct, stream: TextIO) -> None:
    """Write a value as one line of JSON, in ASCII, so that nothing in it can control a terminal."""
    stream.write(json.dumps(msgspec.to_builtins(value)) + "\n")
    stream.flush()


class _StreamWriter:
    """Writes to one stream: bytes unchanged, or decoded and escaped if it is a terminal."""

    def __init__(self, stream: TextIO, position: _Position) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._position = position

    def header(self, title: str) -> None:
        """Write the header of a command on a line of its own, after an empty line unless it is the first."""
        gap = "" if self._position.is_start else "\n"
        header = paint((Span(f"==> {title} <==", Style.STRONG),), colour=has_colour(self._stream))
        self._write_text(f"{self._position.line_end()}{gap}{header}\n")

    def message(self, text: str) -> None:
        """Write a message of mlx-tee on a line of its own."""
        self._write_text(f"{self._position.line_end()}{paint((text,), colour=False)}\n")

    def write(self, data: bytes) -> None:
        """Write the output of a command."""
        if self._is_terminal:
            self._write_text(terminal_safe(self._decoder.decode(data)))
            return
        self._stream.buffer.write(data)
        self._stream.flush()
        self._position.update(ends_line=data.endswith(b"\n"))

    def finish(self) -> None:
        """Write the rest of an incomplete UTF-8 sequence."""
        if self._is_terminal:
            self._write_text(terminal_safe(self._decoder.decode(b"", final=True)))

    def _write_text(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
            self._position.update(ends_line=text.endswith("\n"))


class _Position:
    """Where the output of one or two streams stands: at its start, at the start of a line, or inside a line."""

    def __init__(self) -> None:
        self.is_start = True
        self._ends_line = True

    def update(self, *, ends_line: bool) -> None:
        self.is_start, self._ends_line = False, ends_line

    def line_end(self) -> str:
        """Return the line feed that an open line needs."""
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
