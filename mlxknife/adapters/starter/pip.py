"""Downloading a wheel with the user's pip. Nothing is installed, and no code of the package runs.

pip applies the user's own settings for index, proxy and certificates. It runs in a process of its own, because this
Python need not have it: without pip, uv can run one.
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

_PIP = (sys.executable, "-I", "-m", "pip")  # isolated: a module in the current folder cannot stand in for pip
_UV = ("tool", "run", "--quiet", "pip")
_OPTIONS = (
    "download", "--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--no-input",
    "--progress-bar=off", "--quiet",
)  # fmt: skip
_SETTINGS = {"PIP_REQUIRE_VIRTUALENV": "0"}  # this setting protects installs; a download needs no virtual environment
_NO_PIP = "No module named pip"
_DISK_FULL = "No space left on device"
_NO_NETWORK = re.compile(
    r"Retrying \(|NewConnectionError|Connection(?:Refused|Reset|Timeout)?Error|Connection broken|Name or service"
    r"|Temporary failure in name|getaddrinfo|timed out|Network is unreachable|error sending request|dns error",
    re.IGNORECASE,
)
_POLL_SECONDS = 0.1
_TIMEOUT_SECONDS = 3600.0
_MAX_REASON = 300


class PipDownloader:
    """Runs ``pip download`` with the first command that has a pip."""

    def __init__(self, commands: Sequence[Sequence[str]] | None = None, timeout: float = _TIMEOUT_SECONDS) -> None:
        """Take the commands that run pip and the seconds that one may take. Default: pip of this Python, then uv."""
        self._commands = _default_commands() if commands is None else commands
        self._timeout = timeout

    def download(self, requirement: str, folder: str, on_bytes: Callable[[int], None]) -> str:
        """Download the wheel of a requirement into an empty folder and return its path.

        ``on_bytes`` is called with the number of bytes in the folder, several times. Raises NetworkError,
        DownloadFailed, StorageError, OSError.
        """
        for command in self._commands:
            output = self._failure_output([*command, *_OPTIONS, f"--dest={folder}", requirement], folder, on_bytes)
            if output is None:
                return _only_wheel(folder)
            if _NO_PIP not in output:
                raise _download_error(output, requirement)
        msg = f"Neither pip nor uv is installed to download {requirement}"
        raise DownloadFailed(msg)

    def _failure_output(self, command: Sequence[str], folder: str, on_bytes: Callable[[int], None]) -> str | None:
        """Run a command and return its output when it failed, or None when it succeeded."""
        with open(os.path.join(folder, "output"), "w+b") as output:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell, and we build every argument
                    command,
                    cwd=folder,
                    env={**os.environ, **_SETTINGS, "TMPDIR": folder},  # partial downloads go away with the folder
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            except OSError:
                return _NO_PIP
            self._wait(process, folder, on_bytes)
            output.seek(0)
            return None if process.returncode == 0 else output.read().decode(errors="replace")

    def _wait(self, process: subprocess.Popen[bytes], folder: str, on_bytes: Callable[[int], None]) -> None:
        """Wait for a command and report its progress. Kill it and its children on a timeout or any exception."""
        end = time.monotonic() + self._timeout
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    msg = f"The download of the package took longer than {self._timeout:.0f} seconds"
                    raise NetworkError(msg)
                on_bytes(_bytes_below(folder))
                time.sleep(_POLL_SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _default_commands() -> tuple[tuple[str, ...], ...]:
    uv = shutil.which("uv")
    return (_PIP,) if uv is None else (_PIP, (uv, *_UV))


def _bytes_below(folder: str) -> int:
    """Return the bytes of all files below a folder, while pip writes and removes some."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _only_wheel(folder: str) -> str:
    wheels = [name for name in os.listdir(folder) if name.endswith(".whl")]
    if len(wheels) != 1:
        msg = f"pip reported success and wrote {len(wheels)} wheels instead of one"
        raise DownloadFailed(msg)
    return os.path.join(folder, wheels[0])


def _download_error(output: str, requirement: str) -> DownloadFailed | StorageError:
    """Return the error that the output of a failed pip stands for."""
    if _DISK_FULL in output:
        msg = f"{requirement} could not be stored: {_DISK_FULL}"
        return StorageError(msg, hint=HintCode.FREE_DISK_SPACE)
    lines = [line for line in output.splitlines() if line.strip()]
    reason = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else "pip gave no reason")
    plain = "".join(char for char in reason if char.isprintable())[:_MAX_REASON]
    if _NO_NETWORK.search(output):
        return NetworkError(f"The package index does not answer ({plain})")
    return DownloadFailed(f"{requirement} could not be downloaded ({plain})")
