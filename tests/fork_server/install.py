"""Sending commands of ``subprocess`` to a fork server instead of executing them."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import attrs

from tests.fork_server import wire

BIN = os.path.dirname(sys.executable)
OWN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""For ``python -c``: makes stdin the terminal whose Ctrl-C reaches the program behind it, and executes that."""
SCRIPTS = ("mlxk", "mlxk2", "mlxk-json", "mlx-run", "mlx-tee", "mlxk-tee")
_KNOWN = {b"PYTHONPATH", b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE"}
"""Variables for Python itself that a forked program heeds as well."""
_FOLDER = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(_FOLDER))
_SPACE = 16384
"""Bytes for the command line and for the environment of a program, where other processes read them."""
_Socket = socket.socket
"""As it is before pytest-socket replaces it."""
_execute: Callable[..., int] = subprocess._fork_exec  # type: ignore[attr-defined] # noqa: SLF001


@attrs.define(eq=False)
class ForkServers:
    """The fork servers of a test process. Each starts when it is first needed."""

    folder: str = attrs.field(factory=partial(tempfile.mkdtemp, prefix="mlxk-fork-"))
    is_suspended: bool = False
    _processes: dict[str, subprocess.Popen[bytes]] = attrs.field(factory=dict)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _owner: int = attrs.field(factory=os.getpid)

    def start(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> int | None:
        """Have a command started, and return its process id; None where it must be executed."""
        if self.is_suspended or os.getpid() != self._owner:
            return None
        kind = wire.kind_for(request["words"])
        self.run(kind)
        with _Socket(socket.AF_UNIX) as connection:
            connection.connect(os.path.join(self.folder, kind))
            return _started(connection, request, descriptors)

    def programs(self) -> str:
        """Return a folder where shells find our programs."""
        programs = os.path.join(self.folder, "bin")
        if not os.path.isdir(programs):
            os.mkdir(programs)
            for name in SCRIPTS:
                path = os.path.join(programs, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f"#!{sys.executable} -IS\nimport sys\nsys.path.append({_ROOT!r})\n")
                    file.write(f"from tests.fork_server import shell_command\nshell_command.main({self.folder!r})\n")
                os.chmod(path, 0o755)
        for kind in wire.KINDS:
            self.run(kind)
        return programs

    def run(self, kind: str) -> None:
        """Start a server where it does not run."""
        with self._lock:
            if kind in self._processes:
                return
            with _Socket(socket.AF_UNIX) as listening, open(os.path.join(self.folder, f"{kind}.log"), "wb") as log:
                listening.bind(os.path.join(self.folder, kind))
                listening.listen(64)
                number = listening.fileno()
                script = os.path.join(_FOLDER, "server.py")
                settings = {"LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "PATH": os.environ.get("PATH", "")}
                self._processes[kind] = subprocess.Popen(
                    [sys.executable, script, kind, str(number), "-" * _SPACE],
                    env=settings | {"MLXK_TEST_SPACE": "-" * _SPACE},
                    cwd=self.folder,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(number,),
                )

    def close(self) -> None:
        """End the servers."""
        if os.getpid() == self._owner:
            for process in self._processes.values():
                process.communicate()
            shutil.rmtree(self.folder)


_servers: ForkServers | None = None


def can_fork() -> bool:
    """Return whether programs may be forked here: the system can, and MLXK_TEST_COLD_STARTS is not set."""
    is_possible = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
    return is_possible and not os.environ.get("MLXK_TEST_COLD_STARTS")


def install() -> None:
    """Let ``subprocess`` fork our programs from now on, where the system can."""
    global _servers  # noqa: PLW0603 - as there is one subprocess module
    if can_fork():
        _servers = ForkServers()
        _replace(_servers.start)


def uninstall() -> None:
    """Let ``subprocess`` execute every command again, and end the servers."""
    global _servers  # noqa: PLW0603
    _replace(None)
    if _servers is not None:
        _servers.close()
        _servers = None


@contextmanager
def cold_starts() -> Iterator[None]:
    """Execute every command while the block runs."""
    servers = _servers
    if servers is None:
        yield
        return
    servers.is_suspended = True
    try:
        yield
    finally:
        servers.is_suspended = False


def programs_folder() -> str:
    """Return where a shell is to look for our programs first."""
    return BIN if _servers is None or _servers.is_suspended else _servers.programs()


def install_in_program(number: int) -> None:
    """Let a forked program fork its model processes: ``number`` is its connection to a server of its own."""
    connection, lock, owner = _Socket(fileno=number), threading.Lock(), os.getpid()

    def start(request: Mapping[str, Any], descriptors: Sequence[int]) -> int | None:
        if os.getpid() != owner or "--worker-fd" not in request["words"]:
            return None
        with lock:
            return _started(connection, request, descriptors)

    _replace(start)


def _started(connection: socket.socket, request: Mapping[str, Any], descriptors: Sequence[int]) -> int:
    wire.send(connection, dict(request), list(descriptors))
    pid = wire.receive_number(connection)
    if pid is None:
        msg = f"The fork server did not start {request['words']}"
        raise RuntimeError(msg)
    return pid


def _replace(start: Callable[[Mapping[str, Any], Sequence[int]], int | None] | None) -> None:
    """Put a function in the place of the one with which ``subprocess`` executes commands."""

    def fork_or_execute(*arguments: Any) -> int:  # noqa: ANN401 - as subprocess has them
        found = _request(Execution(*arguments[: len(Execution._fields)]))
        if start is None or found is None:
            return _execute(*arguments)
        folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            pid = start(found[0], [folder, *found[1]])
        finally:
            os.close(folder)
        return _execute(*arguments) if pid is None else pid

    subprocess._fork_exec = fork_or_execute if start is not None else _execute  # type: ignore[attr-defined] # noqa: SLF001


class Execution(NamedTuple):
    """What ``subprocess`` hands to the function that executes a command; a number is -1 where there is none."""

    arguments: Sequence[Any]
    executables: Sequence[bytes]
    closes_descriptors: bool
    kept: Sequence[int]
    folder: Any
    environment: list[bytes] | None
    stdin: int
    stdin_of_caller: int
    stdout_of_caller: int
    stdout: int
    stderr_of_caller: int
    stderr: int
    error_pipe_of_caller: int
    error_pipe: int
    restores_signals: bool
    starts_session: bool
    process_group: int
    gid: object
    gids: object
    uid: object
    umask: int
    hook: object


def _request(asked: Execution) -> tuple[dict[str, Any], list[int]] | None:
    """Return the request for a command and its descriptors; None where it must be executed."""
    if not asked.closes_descriptors or not (asked.gid is asked.gids is asked.uid is asked.hook is None):
        return None
    variables = asked.environment
    environment = [b"=".join(pair) for pair in os.environb.items()] if variables is None else variables
    words = [os.fsdecode(word) for word in asked.arguments]
    program = _program(words, next((path for path in asked.executables if os.access(path, os.X_OK)), b""))
    if program is None or not _is_plain(environment) or ("terminal" in program and not asked.starts_session):
        return None
    streams = enumerate((asked.stdin, asked.stdout, asked.stderr))
    placed = {number: number if given < 0 else given for number, given in streams}
    placed = {number: given for number, given in placed.items() if _is_open(given)} | {
        kept: kept for kept in asked.kept
    }
    request = {
        "words": words,
        "environment": environment,
        "folder": None if asked.folder is None else os.fsdecode(asked.folder),
        "descriptors": [*placed],
        "error_pipe": asked.error_pipe,
        "starts_session": bool(asked.starts_session),
        "process_group": asked.process_group,
        **wire.inherited(),
        **({"umask": asked.umask} if asked.umask >= 0 else {}),
        **program,
    }
    return request, [*placed.values()]


def _program(words: list[str], executable: bytes) -> dict[str, Any] | None:
    """Return what is to run as fields of a request; None for what is none of our programs."""
    path = os.fsdecode(executable)
    if os.path.dirname(path) == BIN and os.path.basename(path) in SCRIPTS:
        return {"script": path}
    if path != sys.executable:
        return None
    if words[1:3] == ["-c", OWN_TERMINAL] and os.path.basename(words[3]) in SCRIPTS:
        return {"script": words[3], "words": words[3:], "terminal": 0}
    is_safe = words[1:2] == ["-P"]
    option, module = words[1 + is_safe : 3 + is_safe] if len(words) > 2 + is_safe else ("", "")
    is_ours = module == "mlxknife" or module.startswith("tests.")
    return {"module": module, "is_safe_path": is_safe} if option == "-m" and is_ours else None


def _is_plain(environment: Sequence[bytes]) -> bool:
    """Tell whether an environment has no setting that Python or the C library read only at their start."""
    values = dict(entry.split(b"=", 1) for entry in environment)
    locale = (values.get(b"LC_ALL") or values.get(b"LC_CTYPE") or values.get(b"LANG") or b"C.UTF-8").upper()
    heeded = {name for name in values if name.startswith((b"PYTHON", b"LD_", b"MALLOC_", b"GLIBC_"))}
    return locale.replace(b"-", b"").endswith(b"UTF8") and heeded <= _KNOWN


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
