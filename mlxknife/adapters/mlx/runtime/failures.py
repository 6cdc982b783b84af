"""What MLX, mlx-lm and the tokenizers under it do when a model is not what they expect."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.hints import HintCode

_RUST = "pyo3_runtime"
"""Where a panic of the tokenizers comes from, which is no Exception."""


@contextmanager
def our_errors(done: str) -> Iterator[None]:
    """Turn whatever the libraries raise into an error of the contract; an interrupt stays one."""
    try:
        yield
    except KnifeError:
        raise
    except BaseException as exc:
        if not isinstance(exc, (Exception, SystemExit)) and type(exc).__module__ != _RUST:
            raise
        msg = f"The model could not be {done}: {_reason(exc)}"
        raise EngineError(msg, hint=HintCode.DEBUG_OR_VERIFY) from exc


def _reason(exc: BaseException) -> str:
    if isinstance(exc, SystemExit):
        return "mlx-lm gave up"
    if isinstance(exc, MemoryError):
        return "there is not enough memory"
    if type(exc).__module__ == _RUST:
        return f"its tokenizer broke down ({exc})"
    if isinstance(exc, KeyError):
        return f"what its files say lacks {exc}"
    return str(exc) or type(exc).__name__


class _Hush(logging.Filter):
    """Drops what is logged by a thread that wants none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - nothing of a record matters
        return not getattr(self.wanted, "depth", 0)


_HUSH = _Hush()


@contextmanager
def hushed() -> Iterator[None]:
    """Keep transformers from printing what it finds in the files of strangers; it is to be imported by now."""
    for handler in logging.getLogger("transformers").handlers:
        handler.addFilter(_HUSH)  # once is enough, and it knows so
    _HUSH.wanted.depth = getattr(_HUSH.wanted, "depth", 0) + 1
    try:
        yield
    finally:
        _HUSH.wanted.depth -= 1
