"""What a shell finds as ``mlxk`` and its other names: it has the fork server run the command, and ends as that ends.

The process of the command is not this one. Signals are forwarded to it; if this process is killed, the server kills
the other.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from tests.fork_server import wire

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def main(servers: str) -> None:
    """Run the program of this name; ``servers`` is the folder with the sockets of the fork servers."""
    descriptors = [number for number in map(int, os.listdir("/proc/self/fd")) if _is_inherited(number)]
    words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
    script = os.path.join(os.path.dirname(sys.executable), words[0])
    environment = [name + b"=" + value for name, value in os.environb.items()]
    request: dict[str, object] = {
        "words": [script, *words[1:]],
        "script": script,
        "environment": environment,
        "descriptors": descriptors,
        **wire.inherited(),
    }
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.path.join(servers, wire.kind_for(words)))
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
    kept_back = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    wire.send(connection, request, [folder, *descriptors])
    pid = wire.receive_number(connection)
    if pid is None:
        sys.exit("The fork server did not start the command")
    for forwarded in _FORWARDED:
        if signal.getsignal(forwarded) is not signal.SIG_IGN:
            signal.signal(forwarded, lambda number, _: _forward(pid, number))
    signal.signal(signal.SIGTSTP, lambda *_: _pause(pid))
    signal.pthread_sigmask(signal.SIG_SETMASK, kept_back)
    for number in descriptors:
        os.close(number)
    _end(wire.receive_number(connection))


def _is_inherited(number: int) -> bool:
    try:
        return os.get_inheritable(number)
    except OSError:  # the one that the folder was listed with
        return False


def _forward(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _pause(pid: int) -> None:
    _forward(pid, signal.SIGTSTP)
    os.kill(os.getpid(), signal.SIGSTOP)
    _forward(pid, signal.SIGCONT)


def _end(status: int | None) -> None:
    if status is None:
        sys.exit("The fork server is gone")
    if os.WIFSIGNALED(status):
        signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.WEXITSTATUS(status))
