"""What the library does when a tokenizer is not what it expects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlxknife.domain.errors import EngineError, KnifeError
from mlxknife.domain.hints import HintCode

_RUST = "pyo3_runtime"
"""Where a panic of the library comes from, which is no Exception."""


@contextmanager
def our_errors(done: str) -> Iterator[None]:
    """Turn whatever the library raises into an error of the contract; an interrupt stays one."""
    try:
        yield
    except KnifeError:
        raise
    except BaseException as exc:
        if not isinstance(exc, Exception) and type(exc).__module__ != _RUST:
            raise
        msg = f"The tokenizer of the model could not {done}: {str(exc) or type(exc).__name__}"
        raise EngineError(msg, hint=HintCode.DEBUG_OR_VERIFY) from exc
