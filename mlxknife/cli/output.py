"""Printing: one JSON document, or text for people."""

from __future__ import annotations

import json
import re
import sys

import msgspec

from mlxknife.cli.answer import Answer
from mlxknife.cli.render.text import print_line, room_on
from mlxknife.cli.wire import Envelope, ErrorObject

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def print_answer(answer: Answer, *, command: str, as_json: bool) -> int:
    """Print what a command answered and return the exit code of the process."""
    if answer.is_told:
        return answer.exit_code
    if as_json:
        print_document(Envelope(status="success", command=command, data=answer.data(), error=None))
    else:
        for line in answer.lines(room_on(sys.stdout)):
            print_line(line, sys.stdout)
    sys.stdout.flush()
    return answer.exit_code


def print_error(error: ErrorObject, *, command: str | None, data: object) -> None:
    """Print an error as the JSON document of a command, with what is known all the same."""
    print_document(Envelope(status="error", command=command, data=data, error=error))


def print_document(envelope: Envelope) -> None:
    """Write one JSON document to stdout, in ASCII, so that no name in it can steer a terminal."""
    try:
        document = msgspec.json.format(msgspec.json.encode(envelope), indent=2).decode()
    except UnicodeEncodeError:  # a file name that is no text
        document = json.dumps(msgspec.to_builtins(envelope), indent=2)
    sys.stdout.write(_NOT_ASCII.sub(_escaped, document) + "\n")


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
