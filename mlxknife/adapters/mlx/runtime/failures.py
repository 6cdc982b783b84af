"""Errors of MLX, mlx-lm, transformers and tokenizers, turned into errors of the contract."""

from __future__ import annotations

import errno
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.filesystem_errors import filesystem_error
from mlxknife.domain.hints import Hint, HintCode

_RUST_PANIC = "pyo3_runtime"
"""The module of a panic in the tokenizers library, which is no Exception."""


_KERNEL_ERRORS = ("[Compile::eval_cpu]", "Could not load C++ shared library", "temp_directory_path")
"""How MLX names the failures of compiled kernels, which are files in the folder for temporary files."""
_PROBE = bytes(64 * 1024)
"""More than a kernel takes."""
_FIELD = re.compile(r"Field '(?P<name>\w+)' (?:(?P<types>expected \w+, got \w+)|with value)")
"""How transformers names a field of a config whose value has a wrong type."""
_PYTHON_ERRORS = (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, NameError, RecursionError)
_PYTHON_WORDS = re.compile(r"is not in list|invalid literal for|values to unpack|could not convert string")
_UNEXPECTED = "one of its files has a value that the library does not expect"
_MAX_REASON = 500
_SYSTEM_HINTS = {
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.EAGAIN), HintCode.PROCESS_LIMIT),
    errno.ENOMEM: HintCode.FREE_MEMORY,
}
"""What is the fault of the machine, whatever file was being opened."""


@contextmanager
def library_errors(what: str, hint: HintCode = HintCode.DEBUG_OR_VERIFY) -> Iterator[None]:
    """Raise the result of ``engine_error`` for every error of a library. Errors of the contract and interrupts pass."""
    try:
        yield
    except KnifeError:
        raise
    except BaseException as exc:
        if not isinstance(exc, (Exception, SystemExit)) and type(exc).__module__ != _RUST_PANIC:
            raise
        raise engine_error(what, exc, hint) from exc


def engine_error(what: str, exc: BaseException, hint: HintCode, *, is_running: bool = False) -> KnifeError:
    """Return the error of the contract for an error of a library: EngineError, or StorageError for a disk that failed.

    ``what`` is the sentence before the reason, ``hint`` helps where the machine is not at fault. While a loaded model
    runs, the values in its files are not suspected.
    """
    is_of_machine = isinstance(exc, (MemoryError, OSError))
    reason = _reason(exc) if is_of_machine or not is_running else str(exc) or type(exc).__name__
    if any(mark in reason for mark in _KERNEL_ERRORS):
        return _kernel_error(exc)
    if isinstance(exc, MemoryError):
        hint = HintCode.FREE_MEMORY
    elif isinstance(exc, OSError):
        hint = _SYSTEM_HINTS.get(exc.errno or 0, hint)
    return EngineError(f"{what}: {reason}", hint=hint)


def step_error(exc: BaseException) -> KnifeError:
    """Return the error of the contract for an error of MLX or mlx-lm while a loaded model runs."""
    error = engine_error("The model could not be run", exc, HintCode.DEBUG, is_running=True)
    error.__cause__ = exc
    return error


def _kernel_error(exc: BaseException) -> KnifeError:
    """Return why a kernel could not be compiled or loaded: the disk, if it takes no file, else what MLX says."""
    folder = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - where MLX puts kernels
    failure = f"MLX cannot compile kernels in its folder for temporary files: {folder}"
    error: KnifeError
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_PROBE)
    except OSError as failed:
        error = filesystem_error(failed, failure)
    else:
        error = EngineError(f"{failure}: {_reason(exc)}")
    error.hint = Hint(HintCode.KERNEL_FOLDER)
    return error


def _reason(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return "code of the library ended the process"
    if isinstance(exc, MemoryError):
        return "out of memory"
    if isinstance(exc, OSError) and exc.errno in _SYSTEM_HINTS:
        return os.strerror(exc.errno)
    if type(exc).__module__ == _RUST_PANIC:
        return f"the tokenizer crashed ({exc})"
    if isinstance(exc, KeyError):
        return f"its files lack {exc}"
    return _value_error(exc)


def _value_error(exc: BaseException) -> str:
    """Return the reason for a value in the files that code of a library did not expect, without the words of Python."""
    text = " ".join(str(exc).split())
    field = _FIELD.search(text)
    if field is not None:
        expected = f": {field['types']}" if field["types"] else ""
        return f"config.json has a wrong value for {field['name']}{expected}"
    is_pythons = isinstance(exc, _PYTHON_ERRORS) or _PYTHON_WORDS.search(text) is not None
    return _UNEXPECTED if is_pythons or not text else text[:_MAX_REASON]


class _Mute(logging.Filter):
    """Drops the log records of threads that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the thread decides alone
        return not getattr(self.state, "depth", 0)


_MUTE = _Mute()


@contextmanager
def muted_transformers() -> Iterator[None]:
    """Drop what transformers logs about model files in this thread; it must be imported before."""
    for handler in logging.getLogger("transformers").handlers:
        handler.addFilter(_MUTE)  # adding it twice changes nothing
    _MUTE.state.depth = getattr(_MUTE.state, "depth", 0) + 1
    try:
        yield
    finally:
        _MUTE.state.depth -= 1
