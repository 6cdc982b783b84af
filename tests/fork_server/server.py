"""The warm process: it imports our modules once, and forks for every request.

``python server.py KIND LISTENING PADDING``: KIND says what is imported, LISTENING is the number of a socket, and the
padding makes space for the command lines of the children. The process ends when its stdin does.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import importlib
import os
import pkgutil
import platform
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from types import ModuleType

sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.fork_server import child, wire  # noqa: E402 - the repo is on the path only now

_NEVER = ("mlxknife.adapters.mlx", "mlxknife.adapters.hub", "mlxknife.adapters.jinja.child", "mlxknife.__main__")
"""What is not imported before a fork: MLX, what reads the environment when it is imported, and main programs."""
_NOT_LIGHT = ("mlxknife.http", "mlxknife.adapters.gguf", "mlxknife.adapters.worker", "mlxknife.adapters.jinja")
_COMMON = ("concurrent.futures.thread", "encodings.idna", "traceback", "shutil", "json", "prompt_toolkit", "httpx2")
_MODELS = ("tokenizers", "transformers.models.auto.tokenization_auto", "transformers.tokenization_utils_fast")
"""What mlx-lm imports before it runs a model, as far as it is no MLX."""
_IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGTERM)
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT = 0x8000
_PR_SET_PDEATHSIG = 1
_HIGH = 100
"""The number of a descriptor of ours in a program, which finds the low ones free."""

_IMPORTED = dict[str, ModuleType]()

Forked = tuple[child.Request, Sequence[int]]
"""What a forked child has to do, and the descriptors for it."""


def main() -> None:
    kind, listening = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    del sys.path[0]
    _prepare(kind)
    request, descriptors = _next_child(listening)
    child.enter_group(request)
    kept = -1
    if kind == "models" and "--worker-fd" not in request.words:
        kept, server = _companion()
        if server is not None:
            request, descriptors = _next_sibling(server)
            child.enter_group(request)
    if "run" not in request.words and "--worker-fd" not in request.words:  # it has read the environment
        child.drop("huggingface_hub")
    child.run(request, descriptors, kept)


def _prepare(kind: str) -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    atexit.register(_spare_modules)  # before all others, so that it comes last
    package = importlib.import_module("mlxknife")
    ours = [module.name for module in pkgutil.walk_packages(package.__path__, "mlxknife.")]
    for name in (*ours, *_COMMON, *(_MODELS if kind == "models" else ())):
        if not name.startswith(_NEVER if kind == "models" else _NEVER + _NOT_LIGHT):
            importlib.import_module(name)
    _IMPORTED.update(sys.modules)
    if "mlx" in sys.modules:
        msg = "MLX must not be imported before a fork"
        raise RuntimeError(msg)
    gc.collect()
    gc.freeze()


def _spare_modules() -> None:
    """Keep the interpreter, at its end, from taking modules apart that the server imported: it would copy their pages.

    What the program itself imported is taken apart as always.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_IMPORTED))
    for name, module in _IMPORTED.items():
        if name not in ("sys", "builtins") and sys.modules.get(name) is module:
            del sys.modules[name]


def _next_child(listening: socket.socket) -> Forked:
    """Fork for everything that connects. Returns in the children; this process itself ends here."""
    while True:
        ready, _, _ = select.select([listening.fileno(), 0], [], [])
        _reap()
        if 0 in ready:
            os._exit(0)
        connection, _ = listening.accept()
        received = _received(connection)
        if received is None:
            continue
        peer, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if peer == os.getppid():
            pid = _fork_sibling()
        else:
            pid = os.fork()
            if not pid:
                _keep(connection)  # returns in a child of its own
        if not pid:
            listening.detach()  # child.run closes the descriptors themselves
            connection.detach()
            return received
        if peer == os.getppid():
            wire.send_number(connection, pid)
        for descriptor in received[1]:
            os.close(descriptor)
        connection.close()


def _next_sibling(connection: socket.socket) -> Forked:
    """Fork for every request of the parent; the children are the parent's own. Returns in the children."""
    while received := _received(connection):
        pid = _fork_sibling()
        if not pid:
            connection.detach()
            return received
        wire.send_number(connection, pid)
        for descriptor in received[1]:
            os.close(descriptor)
    os._exit(0)


def _keep(connection: socket.socket) -> None:
    """Fork, wait for the child, and say how it ended; kill it where the other end goes away. Returns in the child."""
    pid = os.fork()
    if not pid:
        return
    _close_all_but(connection.fileno())
    wire.send_number(connection, pid)
    process = os.pidfd_open(pid)
    ready, _, _ = select.select([connection.fileno(), process], [], [])
    if process not in ready:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if process in ready:
        wire.send_number(connection, status)
    os._exit(0)


def _received(connection: socket.socket) -> Forked | None:
    received = wire.receive(connection)
    return None if received is None else (child.Request(**received[0]), received[1])  # type: ignore[arg-type]


def _reap() -> None:
    """Wait for the children that have ended, so that their times are counted as this process's."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def _companion() -> tuple[int, socket.socket | None]:
    """Fork a server for the model processes that this process will start, whose parent it will be.

    Returns the descriptor to keep in this process, and in the other one the connection to serve.
    """
    ours, theirs = socket.socketpair()
    if not os.fork():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _close_all_but(theirs.fileno())
        ours.detach()
        return -1, theirs
    theirs.close()
    number = fcntl.fcntl(ours.detach(), fcntl.F_DUPFD_CLOEXEC, _HIGH)
    from tests.fork_server.install import install_in_program  # noqa: PLC0415 - only such a process needs it

    install_in_program(number)
    return number, None


def _close_all_but(kept: int) -> None:
    for number in map(int, os.listdir("/proc/self/fd")):
        if number != kept:
            try:
                os.close(number)
            except OSError:  # the one that the folder was listed with
                continue


def _fork_sibling() -> int:
    """Fork, and make the child one of our parent's, who can wait for it. Raises OSError."""
    python = ctypes.PyDLL(None, use_errno=True)
    python.PyOS_BeforeFork()
    flags = ctypes.c_long(_CLONE_PARENT | signal.SIGCHLD)
    nothing = ctypes.c_void_p()
    pid: int = python.syscall(ctypes.c_long(_CLONE[platform.machine()]), flags, nothing, nothing, nothing, nothing)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    return pid


if __name__ == "__main__":
    main()
