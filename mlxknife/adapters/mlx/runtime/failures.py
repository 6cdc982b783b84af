"""Errors of MLX, mlx-lm, transformers and tokenizers, turned into errors of the contract."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.hints import HintCode

_RUST_PANIC = "pyo3_runtime"
"""The module of a panic in the tokenizers library, which is no Exception."""


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Raise EngineError for every error of a library; ``what`` is the sentence before the reason.

    Errors of the contract and interrupts pass through.
    """
    try:
        yield
    except KnifeError:
        raise
    except BaseException as exc:
        if not isinstance(exc, (Exception, SystemExit)) and type(exc).__module__ != _RUST_PANIC:
            raise
        msg = f"{what}: {_reason(exc)}"
        raise EngineError(msg, hint=HintCode.DEBUG_OR_VERIFY) from exc


def _reason(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return "mlx-lm gave up"
    if isinstance(exc, MemoryError):
        return "out of memory"
    if type(exc).__module__ == _RUST_PANIC:
        return f"the tokenizer crashed ({exc})"
    if isinstance(exc, KeyError):
        return f"its files lack {exc}"
    return str(exc) or type(exc).__name__


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
