"""Printing: one JSON document, or text for people."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TextIO

import msgspec

from mlxknife.cli.answer import Answer
from mlxknife.cli.render.text import Line, paint
from mlxknife.cli.wire import Envelope, ErrorObject

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def print_answer(answer: Answer, *, command: str, as_json: bool) -> int:
    """Print what a command answered and return the exit code of the process."""
    if as_json:
        print_document(Envelope(status="success", command=command, data=answer.data(), error=None))
    else:
        for line in answer.lines(sys.stdout.isatty()):
            print_line(line, sys.stdout)
    return answer.exit_code


def print_error(error: ErrorObject, *, command: str | None) -> None:
    """Print an error as the JSON document of a command."""
    print_document(Envelope(status="error", command=command, data=None, error=error))


def print_document(envelope: Envelope) -> None:
    """Write one JSON document to stdout, in ASCII, so that no name in it can steer a terminal."""
    try:
        document = msgspec.json.format(msgspec.json.encode(envelope), indent=2).decode()
    except UnicodeEncodeError:  # a file name that is no text
        document = json.dumps(msgspec.to_builtins(envelope), indent=2)
    sys.stdout.write(_NOT_ASCII.sub(_escaped, document) + "\n")


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def print_line(line: Line, stream: TextIO) -> None:
    """Write one line of text, coloured where that is wanted."""
    stream.write(paint(line, colour=wants_colour(stream)) + "\n")


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user did not ask for plain text."""
    plain_wanted = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain_wanted
