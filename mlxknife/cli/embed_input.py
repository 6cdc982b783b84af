"""The texts that ``embed`` reads: a text, stdin, or files, each whole or line by line, in groups as they arrive."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import BinaryIO, cast

from mlxknife.cli import prompt_input
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode

GROUP = 256
"""The most lines that are embedded together."""
Line = str | ValidationError
"""A line, or why it is no text."""
_CHUNK = 64 * 1024
_MAX_LINE = 100 * 1000 * 1000


def stdin_lines() -> Iterator[Sequence[Line]]:
    """Yield the lines of stdin in groups, each as soon as it has arrived. Raises ValidationError, OSError."""
    if sys.stdin is None or sys.stdin.closed:
        msg = "stdin is closed"
        raise ValidationError(msg)
    is_empty = True
    for group in line_groups(cast("BinaryIO", sys.stdin.buffer), "stdin"):
        is_empty = False
        yield group
    if is_empty:
        msg = "stdin is empty"
        raise ValidationError(msg, hint=HintCode.PIPE_TEXT)


def file_lines(path: str) -> Iterator[Sequence[Line]]:
    """Yield the lines of a file in groups. Raises ValidationError, OSError."""
    with open(path, "rb") as file:
        yield from line_groups(file, path)


def checked(groups: Iterable[Sequence[Line]]) -> Iterator[list[str]]:
    """Yield groups of lines. Raises the ValidationError of the first line that is no text."""
    for group in groups:
        texts = list[str]()
        for line in group:
            if isinstance(line, ValidationError):
                raise line
            texts.append(line)
        yield texts


def line_groups(file: BinaryIO, name: str) -> Iterator[Sequence[Line]]:
    """Yield the lines that have arrived, at most ``GROUP`` at a time. A line without its end comes last."""
    rest, numbers = b"", count(1)
    read = getattr(file, "read1", file.read)
    while chunk := read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            msg = f"A line of {name} is longer than 100MB"
            raise ValidationError(msg, hint=HintCode.SHORTEN_TEXT)
        yield from _groups(_line(line, f"line {next(numbers)} of {name}") for line in lines)
    if rest:
        yield [_line(rest, f"line {next(numbers)} of {name}")]


def texts_of_files(paths: Iterable[str]) -> Iterator[list[str]]:
    """Yield the whole text of each file. Raises ValidationError, OSError."""
    for path in paths:
        yield [prompt_input.read_file(path)]


def _groups(lines: Iterable[Line]) -> Iterator[list[Line]]:
    group = list[Line]()
    for line in lines:
        group.append(line)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def _line(line: bytes, name: str) -> Line:
    if b"\0" in line:
        return ValidationError(f"{name} is binary, not text")
    try:
        return line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return ValidationError(f"{name} is not UTF-8 text", hint=HintCode.CONVERT_TEXT)
