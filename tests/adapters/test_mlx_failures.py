"""Errors of MLX and the libraries around it: what the machine lacks is not blamed on the files of the model."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlxknife.adapters.mlx.runtime.failures import engine_error, library_errors
from mlxknife.domain.errors import EngineError, KnifeError, StorageError
from mlxknife.domain.hints import Hint, HintCode

UNEXPECTED = "one of its files has a value that the library does not expect"
KERNEL = RuntimeError("[Compile::eval_cpu] Failed to compile function f with error code 256")


def error_of(exc: BaseException) -> tuple[type[KnifeError], str, Hint | None]:
    error = engine_error("It failed", exc, HintCode.DEBUG_OR_VERIFY)
    return type(error), error.message, error.hint


@pytest.mark.parametrize(
    ("exc", "reason", "hint"),
    [
        (OSError(errno.EMFILE, "..."), os.strerror(errno.EMFILE), HintCode.PROCESS_LIMIT),
        (OSError(errno.ENFILE, "..."), os.strerror(errno.ENFILE), HintCode.PROCESS_LIMIT),
        (BlockingIOError(errno.EAGAIN, "..."), os.strerror(errno.EAGAIN), HintCode.PROCESS_LIMIT),
        (OSError(errno.ENOMEM, "..."), os.strerror(errno.ENOMEM), HintCode.FREE_MEMORY),
        (MemoryError("std::bad_alloc"), "out of memory", HintCode.FREE_MEMORY),
        (TypeError("'int' object is not iterable"), UNEXPECTED, HintCode.DEBUG_OR_VERIFY),
        (ValueError("'x' is not in list"), UNEXPECTED, HintCode.DEBUG_OR_VERIFY),
        (AssertionError(), UNEXPECTED, HintCode.DEBUG_OR_VERIFY),
        (UnboundLocalError("cannot access local variable 'x'"), UNEXPECTED, HintCode.DEBUG_OR_VERIFY),
        (KeyError("group_size"), "its files lack 'group_size'", HintCode.DEBUG_OR_VERIFY),
        (
            ValueError(
                "Validation error for field 'n':\n    TypeError: Field 'n' expected int, got str (value: 'two')"
            ),
            "config.json has a wrong value for n: expected int, got str",
            HintCode.DEBUG_OR_VERIFY,
        ),
        (
            ValueError("Field 'rope' with value 'x' doesn't match any type in (<class 'dict'>,)"),
            "config.json has a wrong value for rope",
            HintCode.DEBUG_OR_VERIFY,
        ),
        (RuntimeError("[rope]  a reason\nof two lines"), "[rope] a reason of two lines", HintCode.DEBUG_OR_VERIFY),
        (ValueError("a bad layer"), "a bad layer", HintCode.DEBUG_OR_VERIFY),
        (OSError("a bad file"), "a bad file", HintCode.DEBUG_OR_VERIFY),
        (SystemExit(1), "code of the library ended the process", HintCode.DEBUG_OR_VERIFY),
    ],
)
def test_the_hint_tells_the_machine_from_the_model(exc: BaseException, reason: str, hint: HintCode) -> None:
    assert error_of(exc) == (EngineError, f"It failed: {reason}", Hint(hint))


def test_kernels_that_cannot_be_written_are_a_storage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    kind, message, hint = error_of(KERNEL)
    assert (kind, hint) == (StorageError, Hint(HintCode.KERNEL_FOLDER))
    assert message.endswith(f"{tmp_path}/gone: No such file or directory")


def test_kernels_that_cannot_be_compiled_on_a_good_disk_are_what_mlx_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kind, message, hint = error_of(KERNEL)
    assert (kind, hint) == (EngineError, Hint(HintCode.KERNEL_FOLDER))
    assert message.endswith(f"{tmp_path}: {KERNEL}")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_contract_and_interrupts_pass() -> None:
    for exc in (StorageError("full"), KeyboardInterrupt()):
        with pytest.raises(type(exc)) as caught, library_errors("It failed"):
            raise exc
        assert caught.value is exc
