"""Downloading a wheel with what the user installs packages with: nothing is installed, and none of it is run.

The user's own settings of the index, the proxy and the certificates hold, because it is their pip that asks. It runs in
a process of its own, since nothing says that it can be imported here; where there is none, uv can bring one.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from mlxknife.domain.errors import DownloadFailed, NetworkError, StorageError
from mlxknife.domain.hints import HintCode

_PIP = (sys.executable, "-I", "-m", "pip")  # isolated: no module of the current folder is taken for pip
_UV = ("tool", "run", "--quiet", "pip")
_OPTIONS = (
    "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input",
    "--progress-bar=off", "--quiet",
)  # fmt: skip
_SETTINGS = {"PIP_REQUIRE_VIRTUALENV": "0"}  # a guard for those who install
_NO_PIP = "No module named pip"
_FULL = "No space left on device"
_NO_NETWORK = re.compile(
    r"Retrying \(|NewConnectionError|Connection(?:Refused|Reset|Timeout)?Error|Connection broken|Name or service"
    r"|Temporary failure in name|getaddrinfo|timed out|Network is unreachable|error sending request|dns error",
    re.IGNORECASE,
)
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 3600.0
_MAX_SAID = 300


class Installers:
    """The commands that can download a wheel, best first."""

    def __init__(self, commands: Sequence[Sequence[str]] | None = None, patience: float = _PATIENCE_SECONDS) -> None:
        """Take the commands, by default the pip of this Python and that of uv, and how long one may take."""
        self._commands = _installed() if commands is None else commands
        self._patience = patience

    def download(self, requirement: str, folder: str, on_bytes: Callable[[int], None]) -> str:
        """Put one wheel into an empty folder and return its path; ``on_bytes`` hears how much of it is there.

        Raises NetworkError, DownloadFailed, StorageError, OSError.
        """
        for command in self._commands:
            said = self._run([*command, *_OPTIONS, f"--dest={folder}", requirement], folder, on_bytes)
            if said is None:
                return _only_wheel(folder)
            if _NO_PIP not in said:
                raise _refusal(said, requirement)
        msg = f"There is neither pip nor uv to download {requirement} with"
        raise DownloadFailed(msg)

    def _run(self, command: Sequence[str], folder: str, on_bytes: Callable[[int], None]) -> str | None:
        """Run one command and return what it said when it failed, or None when it did not."""
        with open(os.path.join(folder, "said"), "w+b") as said:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell, and every word of it is ours
                    command,
                    cwd=folder,
                    env={**os.environ, **_SETTINGS, "TMPDIR": folder},  # what is half there goes with the folder
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            except OSError:
                return _NO_PIP
            self._await(process, folder, on_bytes)
            said.seek(0)
            return None if process.returncode == 0 else said.read().decode(errors="replace")

    def _await(self, process: subprocess.Popen[bytes], folder: str, on_bytes: Callable[[int], None]) -> None:
        """Wait for a command, telling how far it is; neither it nor what it started outlives this call."""
        end = time.monotonic() + self._patience
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    msg = f"The package did not come within {self._patience:.0f} seconds"
                    raise NetworkError(msg)
                on_bytes(_bytes_below(folder))
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _installed() -> tuple[tuple[str, ...], ...]:
    uv = shutil.which("uv")
    return (_PIP,) if uv is None else (_PIP, (uv, *_UV))


def _bytes_below(folder: str) -> int:
    """Return the bytes of all files below a folder, which others write and remove meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _only_wheel(folder: str) -> str:
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if len(wheels) != 1:
        msg = "The installer says that it downloaded the wheel, and there is none"
        raise DownloadFailed(msg)
    return os.path.join(folder, wheels[0])


def _refusal(said: str, requirement: str) -> DownloadFailed | StorageError:
    """Return the error that an installer's words mean."""
    if _FULL in said:
        msg = f"{requirement} could not be stored: {_FULL}"
        return StorageError(msg, hint=HintCode.FREE_DISK_SPACE)
    lines = [line for line in said.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "it did not say why")
    plain = "".join(char for char in reason if char.isprintable())[:_MAX_SAID]
    if _NO_NETWORK.search(said):
        return NetworkError(f"The package index does not answer ({plain})")
    return DownloadFailed(f"{requirement} could not be downloaded ({plain})")
