"""A program that is run anew when the code changes; here the code is a folder of the test's own."""

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

pytestmark = pytest.mark.timeout(120)

_MUST_COME = 30
_SUPERVISOR = """
import sys
from pathlib import Path
from mlxknife.adapters.process import reloading

reloading._CODE = Path(sys.argv[1])
sys.exit(reloading.serve_anew([sys.executable, sys.argv[1] + "/program.py", sys.argv[2]], {}))
"""
_PROGRAM = """
import signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
with open(sys.argv[1], "a") as said:
    said.write("{word}\\n")
{then}
"""


def _write(folder: Path, word: str, then: str = "time.sleep(600)") -> None:
    program = folder / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM).format(word=word, then=then))
    os.utime(program, ns=(0, time.time_ns()))


def _until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _MUST_COME
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def _said(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def test_a_change_starts_it_anew_and_a_signal_ends_it(tmp_path: Path) -> None:
    code, said = tmp_path / "code", tmp_path / "said"
    code.mkdir()
    _write(code, "one")
    command = [sys.executable, "-c", _SUPERVISOR, str(code), str(said)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as supervisor:
        _until(lambda: _said(said) == ["one"])
        _write(code, "two", then="sys.exit(3)")
        _until(lambda: _said(said) == ["one", "two"])
        assert supervisor.stderr is not None
        while "waiting for a change" not in supervisor.stderr.readline():
            continue
        _write(code, "three")
        _until(lambda: _said(said) == ["one", "two", "three"])
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(_MUST_COME) == 7
