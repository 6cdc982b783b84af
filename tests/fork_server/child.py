"""Turning a forked copy of the server into the process that a test asked for, as if it had been executed."""

from __future__ import annotations

import ctypes
import fcntl
import io
import os
import resource
import runpy
import signal
import sys
import tempfile
import termios
import time
import types
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

_ARG_START, _ARG_END, _ENV_START, _ENV_END = 45, 46, 47, 48
"""Where /proc/self/stat has the memory of the command line and the environment, counted behind the name."""
_ALWAYS_IGNORED = tuple(getattr(signal, name) for name in ("SIGPIPE", "SIGXFSZ") if hasattr(signal, name))
"""What Python ignores in every process."""
_SURROGATES = ("", "C", "POSIX", "C.UTF-8", "C.utf8")
"""Locales in which Python lets bytes that are no text through stdin and stdout."""


class Request(NamedTuple):
    """A command, and what its process inherits."""

    words: list[str]
    """The command line; the first word is the program as the caller named it."""
    environment: list[bytes]
    descriptors: list[int]
    """The numbers that the descriptors sent along get, but for the first one sent: the folder of the caller."""
    umask: int
    limits: list[tuple[int, int, int]]
    ignored: list[int]
    """Signals."""
    blocked: list[int]
    """Signals."""
    script: str = ""
    """The script to run; empty where it is a module."""
    module: str = ""
    """What stands behind ``-m``."""
    is_safe_path: bool = False
    """Whether ``-P`` was given."""
    folder: str | None = None
    """The working directory, seen from that of the caller."""
    error_pipe: int = -1
    """The descriptor on which ``subprocess`` reads why a command could not be executed; -1 for none."""
    starts_session: bool = False
    process_group: int = -1
    """What ``os.setpgid`` is given; -1 for the group of the caller."""
    terminal: int = -1
    """The descriptor that becomes the controlling terminal; -1 for none."""


def run(request: Request, descriptors: Sequence[int], kept: int = -1) -> None:
    """Run the program of a request to its end; only the interpreter's shutdown follows. ``enter_group`` came before.

    ``kept`` is the one other descriptor that stays open.
    """
    _set_signals(request)
    os.umask(request.umask)
    os.fchdir(descriptors[0])
    _place(dict(zip(request.descriptors, descriptors[1:], strict=True)), kept)
    if request.terminal >= 0:
        fcntl.ioctl(request.terminal, termios.TIOCSCTTY, 0)
    _set_environment(request.environment)
    _show(request)
    _enter(request)
    for number, soft, hard in request.limits:
        if resource.getrlimit(number) != (soft, hard):
            resource.setrlimit(number, (soft, hard))
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    _open_streams()
    _run_program(request)


def enter_group(request: Request) -> None:
    """Enter the session and the process group of a request."""
    if request.starts_session:
        os.setsid()
    if request.process_group >= 0:
        os.setpgid(0, request.process_group)


def drop(*packages: str) -> None:
    """Forget packages, so that the program imports them itself."""
    for name in tuple(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]


def _set_signals(request: Request) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        is_ignored = number in request.ignored or number in _ALWAYS_IGNORED
        action = signal.SIG_IGN if is_ignored else signal.SIG_DFL
        if signal.getsignal(number) is not action:
            signal.signal(number, action)
    if signal.SIGINT not in request.ignored:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)


def _place(wanted: dict[int, int], kept: int) -> None:
    """Give each descriptor the number that it is to have, and close everything else."""
    above = max([*wanted, kept, 2]) + 1
    sources = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above) for target, source in wanted.items()}
    for target, source in sources.items():
        os.dup2(source, target, inheritable=True)
    for number in map(int, os.listdir("/proc/self/fd")):
        if number not in wanted and number != kept:
            with suppress(OSError):  # the one that the folder was listed with
                os.close(number)


def _set_environment(environment: Sequence[bytes]) -> None:
    os.environb.clear()
    for entry in environment:
        name, _, value = entry.partition(b"=")
        os.environb[name] = value
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    time.tzset()
    tempfile.tempdir = None


def _show(request: Request) -> None:
    """Write the command line and the environment where other processes read them, as far as there is space."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stat:
        fields = stat.read().rpartition(")")[2].split()
    for start, end, entries in (
        (_ARG_START, _ARG_END, [os.fsencode(word) for word in request.words]),
        (_ENV_START, _ENV_END, request.environment),
    ):
        size = int(fields[end]) - int(fields[start])
        shown = b"".join(entry + b"\0" for entry in entries)[: size - 1]
        ctypes.memmove(int(fields[start]), shown.ljust(size, b"\0"), size)


def _enter(request: Request) -> None:
    """Go to the working directory; tell ``subprocess`` where that fails, in its own format."""
    try:
        if request.folder is not None:
            os.chdir(request.folder)
    except OSError as exc:
        os.write(request.error_pipe, f"OSError:{exc.errno:x}:noexec".encode())
        os._exit(255)
    if request.error_pipe >= 0:
        os.close(request.error_pipe)


def _open_streams() -> None:
    """Make the standard streams of what stands behind 0, 1 and 2 now, as Python does at its start."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _stream(number) if _is_open(number) else None
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _stream(number: int) -> io.TextIOWrapper:
    mode = "r" if number == 0 else "w"
    is_unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    buffer: Any = open(number, f"{mode}b", 0 if is_unbuffered and number else -1, closefd=False)  # noqa: SIM115 - it stays
    getattr(buffer, "raw", buffer).name = ("<stdin>", "<stdout>", "<stderr>")[number]
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    errors = "backslashreplace" if number == 2 else "surrogateescape" if locale in _SURROGATES else "strict"
    is_line_buffered = not is_unbuffered and (number == 2 or os.isatty(number))
    stream = io.TextIOWrapper(
        buffer, "utf-8", errors, "\n", line_buffering=is_line_buffered, write_through=is_unbuffered
    )
    stream.mode = mode  # type: ignore[misc]
    return stream


def _run_program(request: Request) -> None:
    folders = os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.environ.get("PYTHONPATH") else []
    first = [] if request.is_safe_path else [os.path.dirname(request.script) if request.script else os.getcwd()]
    sys.path[:] = [*first, *dict.fromkeys([*folders, *sys.path])]
    sys.orig_argv = request.words
    behind = request.words.index(request.module) + 1 if request.module else 1
    sys.argv = [request.script, *request.words[behind:]]
    sys.modules.pop("mlxknife.__main__", None)
    if request.module:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    main.__file__ = request.script
    sys.modules["__main__"] = main
    with open(request.script, "rb") as file:
        code = compile(file.read(), request.script, "exec")
    exec(code, main.__dict__)
