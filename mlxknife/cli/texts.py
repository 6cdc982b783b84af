"""Texts that a user hands in: from stdin, from files, from the command line."""

from __future__ import annotations

import sys
from typing import BinaryIO

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode

_MAX_BYTES = 100 * 1000 * 1000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}


def from_stdin() -> str:
    """Return everything that comes on stdin. Raises ValidationError when it is no text, or nothing."""
    text = _decoded(_stdin().read(_MAX_BYTES + 1), "stdin")
    if not text.strip():
        msg = "stdin is empty"
        raise ValidationError(msg, hint=HintCode.PIPE_TEXT)
    return text


def line_from_stdin() -> str:
    """Return the next line of stdin without its end. Raises EOFError, ValidationError when it is no text."""
    data = _stdin().readline(_MAX_BYTES + 1)
    if not data:
        raise EOFError
    return _decoded(data, "a line of stdin").removesuffix("\n").removesuffix("\r")


def from_file(path: str) -> str:
    """Return the text in a file. Raises ValidationError when it is no text, OSError."""
    with open(path, "rb") as file:
        return _decoded(file.read(_MAX_BYTES + 1), path)


def checked(text: str, what: str) -> str:
    """Return a text of the command line. Raises ValidationError when it came in no encoding that is known."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        msg = f"{what} is not UTF-8"
        raise ValidationError(msg) from exc
    return text


def unescaped(text: str) -> str:
    r"""Return a text with ``\n``, ``\t`` and the like as what they stand for."""
    pieces = iter(text)
    return "".join(_unescaped_pair(next(pieces, "")) if char == "\\" else char for char in pieces)


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        msg = "There is no stdin to read from"
        raise ValidationError(msg)
    return sys.stdin.buffer


def _unescaped_pair(char: str) -> str:
    return _ESCAPES.get(char, "\\" + char)


def _decoded(data: bytes, what: str) -> str:
    if len(data) > _MAX_BYTES:
        msg = f"{what} is longer than 100MB"
        raise ValidationError(msg, hint=HintCode.SHORTEN_TEXT)
    if b"\0" in data:
        msg = f"{what} is binary, not text"
        raise ValidationError(msg)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        msg = f"{what} is not UTF-8 text"
        raise ValidationError(msg, hint=HintCode.CONVERT_TEXT) from exc
