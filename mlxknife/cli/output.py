"""Printing: one JSON document, or text for people."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TextIO

import msgspec

from mlxknife.cli.answer import Answer
from mlxknife.cli.render.text import Line, paint
from mlxknife.cli.wire import Envelope, ErrorObject


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
    document = msgspec.to_builtins(envelope)
    try:
        text = json.dumps(document, indent=2, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), indent=2)
    sys.stdout.write(text + "\n")


def _finite(value: object) -> object:
    """Return a value with null for NaN and the infinities, which configs may hold and JSON may not."""
    if isinstance(value, dict):
        return {key: _finite(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(content) for content in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_line(line: Line, stream: TextIO) -> None:
    """Write one line of text, coloured where that is wanted."""
    stream.write(paint(line, colour=wants_colour(stream)) + "\n")


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose user did not ask for plain text."""
    plain_wanted = os.environ.get("NO_COLOR") or os.environ.get("CI") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain_wanted
