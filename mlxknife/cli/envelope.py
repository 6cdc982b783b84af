"""The envelope of a result or an error, printed as one JSON document; or a result as lines of text."""

from __future__ import annotations

import json
import re
import sys

import msgspec

from mlxknife.cli.json_documents import Envelope, ErrorObject
from mlxknife.cli.render.terminal import line_width
from mlxknife.cli.render.text import print_line
from mlxknife.cli.result import CommandResult

_NOT_ASCII = re.compile(r"[^\x00-\x7e]+")


def print_result(result: CommandResult, *, command: str, as_json: bool) -> int:
    """Print the result of a command to stdout and return the exit code of the process."""
    if result.is_printed:
        return result.exit_code
    if as_json:
        print_document(Envelope(status="success", command=command, data=result.data(), error=None))
    else:
        for line in result.lines(line_width(sys.stdout)):
            print_line(line, sys.stdout)
    sys.stdout.flush()
    return result.exit_code


def print_error(error: ErrorObject, *, command: str | None, data: object) -> None:
    """Print the JSON document of a command that failed. ``data`` may be None."""
    print_document(Envelope(status="error", command=command, data=data, error=error))


def print_document(envelope: Envelope) -> None:
    """Write one JSON document to stdout, in ASCII, so that no name in it can control a terminal."""
    try:
        document = msgspec.json.format(msgspec.json.encode(envelope), indent=2).decode()
    except UnicodeEncodeError:  # a file name with bytes that are not UTF-8
        document = json.dumps(msgspec.to_builtins(envelope, enc_hook=_decoded), indent=2)
    sys.stdout.write(_NOT_ASCII.sub(_escaped, document) + "\n")


def _decoded(part: object) -> object:
    """Return the values of a part that is JSON text already."""
    return json.loads(bytes(part)) if isinstance(part, msgspec.Raw) else part


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
