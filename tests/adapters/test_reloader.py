"""--reload restarts a program after a change of its code, here of a folder of the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mlxknife
from mlxknife.adapters.process import reloader

pytestmark = pytest.mark.timeout(120)

_TIMEOUT = 30
_SUPERVISOR = """
import sys
from pathlib import Path
from mlxknife.adapters.process import reloader

reloader._PACKAGE = Path(sys.argv[1])
sys.exit(reloader.run_with_reload([sys.executable, sys.argv[1] + "/program.py", sys.argv[2]], {}))
"""
_PROGRAM = """
import signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
with open(sys.argv[1], "a") as log:
    log.write("{word}\\n")
{then}
"""


def _write(folder: Path, word: str, then: str = "time.sleep(600)") -> None:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM).format(word=word, then=then))
    os.utime(program, ns=(0, time.time_ns()))


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _logged(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_the_whole_package_is_watched() -> None:
    assert Path(mlxknife.__file__).parent == reloader._PACKAGE  # noqa: SLF001 - the other test replaces it


def test_a_change_restarts_the_program_and_a_signal_ends_it(tmp_path: Path) -> None:
    code, log = tmp_path / "code", tmp_path / "log"
    code.mkdir()
    _write(code, "one")
    command = [sys.executable, "-c", _SUPERVISOR, str(code), str(log)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as supervisor:
        _wait_until(lambda: _logged(log) == ["one"])
        _write(code, "two", then="sys.exit(3)")
        _wait_until(lambda: _logged(log) == ["one", "two"])
        assert supervisor.stderr is not None
        while "waiting for a change" not in supervisor.stderr.readline():
            continue
        _write(code, "three")
        _wait_until(lambda: _logged(log) == ["one", "two", "three"])
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(_TIMEOUT) == 7
