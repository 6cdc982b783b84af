"""The input of a prompt: text from stdin, from a file or from an argument, checked."""

from __future__ import annotations

import sys
from typing import BinaryIO

from mlxknife.cli.render.text import Span, Style, print_line
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import HintCode

_MAX_BYTES = 100 * 1000 * 1000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}


def read_stdin() -> str:
    """Return all of stdin. Raises ValidationError if it is empty, too long or no UTF-8 text.

    For a user who types it, a note names the key that ends it.
    """
    stdin = _stdin()
    if stdin.isatty() and sys.stderr.isatty():
        print_line((Span("reading stdin from the terminal; Ctrl-D ends it", Style.FAINT),), sys.stderr)
    text = _decoded(stdin.read(_MAX_BYTES + 1), "stdin")
    if not text.strip():
        msg = "stdin is empty"
        raise ValidationError(msg, hint=HintCode.PIPE_TEXT)
    return text


def read_stdin_line() -> str:
    """Return the next line of stdin without its line end.

    Raises EOFError at the end, ValidationError for a line that is too long or no UTF-8 text.
    """
    data = _stdin().readline(_MAX_BYTES + 1)
    if not data:
        raise EOFError
    return _decoded(data, "a line of stdin").removesuffix("\n").removesuffix("\r")


def read_file(path: str) -> str:
    """Return the text of a file. Raises OSError, ValidationError if it is too long or no UTF-8 text."""
    with open(path, "rb") as file:
        return _decoded(file.read(_MAX_BYTES + 1), path)


def checked_utf8(text: str, name: str) -> str:
    """Return a command-line argument unchanged. Raises ValidationError if it was not valid in the locale's encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        msg = f"{name} is not UTF-8"
        raise ValidationError(msg) from exc
    return text


def unescape(text: str) -> str:
    r"""Return a text with the escapes ``\n``, ``\t``, ``\r``, ``\0`` and ``\\`` replaced."""
    pieces = iter(text)
    return "".join(_unescaped_pair(next(pieces, "")) if char == "\\" else char for char in pieces)


def _stdin() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        msg = "stdin is closed"
        raise ValidationError(msg)
    return sys.stdin.buffer


def _unescaped_pair(char: str) -> str:
    return _ESCAPES.get(char, "\\" + char)


def _decoded(data: bytes, name: str) -> str:
    if len(data) > _MAX_BYTES:
        msg = f"{name} is longer than 100MB"
        raise ValidationError(msg, hint=HintCode.SHORTEN_TEXT)
    if b"\0" in data:
        msg = f"{name} is binary, not text"
        raise ValidationError(msg)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        msg = f"{name} is not UTF-8 text"
        raise ValidationError(msg, hint=HintCode.CONVERT_TEXT) from exc
