"""Maps each error to an exit code, and prints it: as the JSON document of the command, or as text on stderr."""

from __future__ import annotations

import os
import sys
import traceback

from msgspec import UNSET

from mlxknife.cli.arguments import UsageError
from mlxknife.cli.envelope import print_error
from mlxknife.cli.hints import hint_text, names_starter
from mlxknife.cli.json_documents import ErrorObject
from mlxknife.cli.render.text import Span, Style, print_line
from mlxknife.cli.result import CommandFailed, CommandInterrupted
from mlxknife.cli.streams import INTERRUPTED
from mlxknife.domain.errors import (
    DownloadFailed,
    InternalError,
    KnifeError,
    NotEnoughMemory,
    RepoNotFound,
    ValidationError,
)
from mlxknife.domain.filesystem_errors import filesystem_error
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.rules import starters

GENERAL = 1
EXIT_CODES = {
    "access_denied": 2,
    "auth_error": 2,
    "download_failed": 2,
    "NetworkError": 2,
    "FilesystemError": 3,
    "PermissionError": 3,
}
"""The exit code for each error code. All others exit with GENERAL."""

_FALSE = ("", "0", "false", "no", "off")


def report_error(exc: Exception, *, command: str | None, as_json: bool, debug: bool) -> int:
    """Print an error and return the exit code of the process; with ``debug``, print its traceback first."""
    cause = exc.error if isinstance(exc, CommandFailed) else exc
    error = _as_knife_error(cause)
    hint = cause.hint if isinstance(cause, UsageError) else hint_text(error.hint)
    if debug:
        traceback.print_exception(exc, file=sys.stderr)
    if as_json:
        data = exc.data if isinstance(exc, CommandFailed) else None
        print_error(_error_object(error, hint), command=command, data=data)
    else:
        print_text(error, hint)
    return EXIT_CODES.get(error.code, GENERAL)


def report_interrupt(exc: KeyboardInterrupt, *, command: str | None) -> int:
    """Print the JSON document of a command that Ctrl-C ended, and return the exit code of the process."""
    error = ErrorObject(type="interrupted", message="Interrupted by Ctrl-C")
    print_error(error, command=command, data=exc.data if isinstance(exc, CommandInterrupted) else None)
    return INTERRUPTED


def is_debug_enabled() -> bool:
    """Return whether ``MLXK_DEBUG`` is set. Errors in the settings are reported too, so no settings are read here."""
    value = os.environ.get("MLXK_DEBUG") or os.environ.get("MLXK2_DEBUG") or ""
    return value.lower() not in _FALSE


def _as_knife_error(exc: Exception) -> KnifeError:
    if isinstance(exc, KnifeError):
        return exc
    if isinstance(exc, UsageError):
        return ValidationError(exc.message)
    if isinstance(exc, OSError):
        return filesystem_error(exc, f"{exc.filename}" if exc.filename else "A file operation failed")
    if isinstance(exc, MemoryError):
        return NotEnoughMemory("Out of memory", hint=HintCode.FREE_MEMORY)
    return InternalError(f"{type(exc).__name__}: {exc}", hint=HintCode.REPORT_DEFECT)


def _error_object(error: KnifeError, hint: str | None) -> ErrorObject:
    return ErrorObject(
        type=error.code,
        message=error.message,
        matches=UNSET if error.matches is None else error.matches,
        available_hashes=UNSET if error.available_hashes is None else error.available_hashes,
        suggestions=UNSET if error.suggestions is None else error.suggestions,
        hint=UNSET if hint is None else hint,
    )


def _offers_starter(error: KnifeError) -> bool:
    """Return whether a text ends with the command that pulls the starter model."""
    is_suggested = starters.DEFAULT in (error.suggestions or ())
    return names_starter(error.hint) or (isinstance(error, DownloadFailed) and is_suggested)


def print_text(error: KnifeError, hint: str | None) -> None:
    """Print an error for people to stderr, with what it lists and its hint."""
    print_line((Span("error: ", Style.BAD), error.message), sys.stderr)
    for choice in error.matches or error.available_hashes or error.lock_files or ():
        print_line(("  ", choice), sys.stderr)
    similar = [name for name in error.suggestions or () if name != starters.DEFAULT]
    if similar and isinstance(error, RepoNotFound):
        print_line((Span("The Hub has similar models:", Style.FAINT),), sys.stderr)
        for name in similar:
            print_line(("  ", name), sys.stderr)
    hints = [hint] if hint else []
    if _offers_starter(error):
        hints.append(f"A small model that needs no Hub: mlxk pull {starters.DEFAULT}")
    for text in hints:
        print_line((Span("hint: ", Style.FAINT), text), sys.stderr)
