"""A user at a terminal, who answers what a command asks."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.processes import BIN, MUST_END

CTRL_C = "\x03"


def typed(
    words: Sequence[str], environment: Mapping[str, str], folder: Path, keys: Sequence[tuple[str, str]] = ()
) -> tuple[int, str]:
    """Run ``mlxk`` on a terminal, and press keys after each of several texts.

    Return the exit code and what was shown.
    """
    mine, theirs = pty.openpty()
    with subprocess.Popen(
        [str(BIN / "mlxk"), *words],
        env=environment,
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        left, data, seen = list(keys), "", 0
        while select.select([mine], [], [], MUST_END)[0]:
            try:
                data += os.read(mine, 65536).decode()
            except OSError:  # Linux reports the closed terminal as EIO
                break
            while left and left[0][0] in data[seen:]:
                text, answer = left.pop(0)
                seen = data.index(text, seen) + len(text)
                if answer == CTRL_C:  # the terminal is not the one that controls the process
                    time.sleep(0.2)  # a signal just before a read does not interrupt it
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(mine, answer.encode())
        process.kill()
        code = process.wait()
    os.close(mine)
    return code, data.replace("\r\n", "\n")
