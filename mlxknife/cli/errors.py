"""Errors: from the error tree to an exit code, a JSON error, a sentence on stderr."""

from __future__ import annotations

import sys
import traceback

from msgspec import UNSET

from mlxknife.cli.answer import Failed
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.hints import hint_text
from mlxknife.cli.interrupts import Interrupted
from mlxknife.cli.output import print_error
from mlxknife.cli.process import INTERRUPTED
from mlxknife.cli.render.text import Span, Style, print_line
from mlxknife.cli.wire import ErrorObject
from mlxknife.domain.errors import AccessDenied, InternalError, KnifeError, StorageError, ValidationError
from mlxknife.domain.hints import HintCode

GENERAL = 1
EXIT_CODES = {
    "access_denied": 2,
    "auth_error": 2,
    "download_failed": 2,
    "NetworkError": 2,
    "FilesystemError": 3,
    "PermissionError": 3,
}
"""The exit code of every error type that does not end with the general one."""


def report(exc: Exception, *, command: str | None, as_json: bool, debug: bool) -> int:
    """Tell the user about an error and return the exit code of the process."""
    cause = exc.error if isinstance(exc, Failed) else exc
    error = _known(cause)
    hint = cause.hint if isinstance(cause, UsageError) else hint_text(error.hint)
    if debug:
        traceback.print_exception(exc, file=sys.stderr)
    if as_json:
        data = exc.data if isinstance(exc, Failed) else None
        print_error(_error_object(error, hint), command=command, data=data)
    else:
        _print_sentences(error, hint)
    return EXIT_CODES.get(error.code, GENERAL)


def report_interrupt(exc: KeyboardInterrupt, *, command: str | None) -> int:
    """Tell a program that waits for a document about a Ctrl-C, and return the exit code of the process."""
    error = ErrorObject(type="interrupted", message="Ctrl-C ended it")
    print_error(error, command=command, data=exc.data if isinstance(exc, Interrupted) else None)
    return INTERRUPTED


def _known(exc: Exception) -> KnifeError:
    if isinstance(exc, KnifeError):
        return exc
    if isinstance(exc, UsageError):
        return ValidationError(exc.message)
    if isinstance(exc, OSError):
        kind = AccessDenied if isinstance(exc, PermissionError) else StorageError
        return kind(f"{exc.strerror or exc}" + (f": {exc.filename}" if exc.filename else ""))
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


def _print_sentences(error: KnifeError, hint: str | None) -> None:
    print_line((Span("error: ", Style.BAD), error.message), sys.stderr)
    for choice in error.matches or error.available_hashes or error.lock_files or ():
        print_line(("  ", choice), sys.stderr)
    if hint:
        print_line((Span("hint: ", Style.FAINT), hint), sys.stderr)
