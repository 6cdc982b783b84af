"""``embed --batch`` reads a stream of any length in flat memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from tests.e2e.processes import Machine
from tests.e2e.wire import children, kilobytes
from tests.embedders import write_embedder
from tests.scorecard import Scorecard

MOST_GROWTH = 24 * 1024
"""Kilobytes: the allocators of two processes keep some of what they return."""


def write_lines(stdin: IO[bytes], count: int) -> None:
    with stdin:
        for number in range(count):
            stdin.write(f"{'a b c d e '[: 2 * (number % 6)]}{number}\n".encode())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the memory of processes from /proc")
@pytest.mark.parametrize("lines", [4_000, pytest.param(100_000, marks=pytest.mark.stress(part="embed-stream"))])
def test_the_memory_does_not_grow_with_the_stream(tmp_path: Path, scorecard: Scorecard, lines: int) -> None:
    machine, model = Machine(tmp_path), write_embedder(tmp_path / "model")
    command = [sys.executable, "-m", "mlxknife", "embed", str(model), "-", "--batch"]
    environment = {**os.environ, **machine.environment()}
    sizes = list[int]()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        threading.Thread(target=write_lines, args=(process.stdin, lines), daemon=True).start()
        seen = 0
        for line in process.stdout:
            if seen % 1000 == 0:
                sizes.append(sum(map(kilobytes, [process.pid, *children(process.pid)])))
                assert json.loads(line)["metadata"]["index"] == seen
            seen += 1
    growth = max(sizes[3:]) - sizes[2]
    scorecard.record(counts={"lines": seen}, figures={"growth in KB after 2,000 lines": growth})
    assert (seen, process.returncode) == (lines, 0)
    assert growth < MOST_GROWTH
