"""Runs ``mlxk`` so that it is killed before a change of the disk, or that a disk call fails.

``python -m tests.e2e.sabotage`` imports the product once and forks for every command on its stdin. Each run is a
process of its own, and costs a tenth of a start.
"""

from __future__ import annotations

import builtins
import ctypes
import errno
import functools
import importlib
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

from tests.e2e.processes import Outcome

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
_NOBODY = 65534
_PR_SET_PTRACER = 0x59616D61
_NEEDED = (
    *(f"mlxknife.cli.commands.{name}" for name in "pull rm health list show".split()),
    "mlxknife.domain.removal.services",
    *(
        f"mlxknife.domain.{name}"
        for name in "catalog.services.catalog integrity.services.health transfer.services.puller".split()
    ),
    *(
        f"mlxknife.{name}"
        for name in "__main__ wiring.app cli.errors adapters.hub.hub adapters.hfcache.download_store".split()
    ),
    *"httpx2 shutil concurrent.futures.thread encodings.idna traceback".split(),
)
"""Modules that commands import late. An unprivileged user may not be able to read the installation."""

_CHANGES = frozenset(f"os.{name}" for name in "rename remove mkdir rmdir symlink link truncate chmod".split())
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_USES_SPACE = frozenset("open write fsync mkdir symlink link rename replace".split())
_FREES_SPACE = frozenset("unlink remove rmdir chmod ftruncate".split())
_LOOKS = frozenset("open read readv listdir scandir".split())


@attrs.frozen
class Refusal:
    """An error of the disk from some call on, counted from 0."""

    errno: int
    at: int
    once: bool = False
    """Whether only that call fails."""
    reads: bool = False
    """Whether reads fail instead of writes."""

    def affects(self, call: str) -> bool:
        if self.reads:
            return call in _LOOKS
        return call in _USES_SPACE or (call in _FREES_SPACE and self.errno not in (errno.ENOSPC, errno.EDQUOT))


@attrs.frozen
class Disturbed:
    """One command line, and how it is disturbed."""

    words: tuple[str, ...]
    killed_before: int | None = None
    """The first change of the disk that does not happen, counted from 0."""
    refusal: Refusal | None = None
    nobody: bool = False
    """Whether root drops its privileges."""
    largest_file: int | None = None
    stopped: bool = False
    """Whether it stops before its first line, so that a tracer can attach."""


@attrs.frozen
class Ran:
    """The outcome of a command, and the calls that failed, or that were made before the kill."""

    outcome: Outcome
    calls: tuple[str, ...] = ()

    @property
    def was_killed(self) -> bool:
        return self.outcome.code == -signal.SIGKILL


class Stage:
    """A fork server for commands of one machine; ``with Stage(environment, folder) as stage``."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        """Take the environment of all processes, and a folder for their output."""
        self._folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        command = [sys.executable, "-m", "tests.e2e.sabotage", str(folder)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, *words: str, **how: Any) -> Ran:  # noqa: ANN401 - as Disturbed takes them
        """Run a command to its end; the keywords are those of ``Disturbed``."""
        return self.end(self.begin(Disturbed(words, **how)))

    def begin(self, command_line: Disturbed) -> int:
        """Start a command and return its process id, which is not reused before ``end``."""
        return int(self._ask(json.dumps(attrs.asdict(command_line))))

    def end(self, _process_id: int) -> Ran:
        """Wait for the command."""
        code = int(self._ask("end"))
        out, err, calls = (self._folder / name for name in ("out", "err", "calls"))
        return Ran(Outcome(code, out.read_text(), err.read_text()), tuple(calls.read_text().splitlines()))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


def give_away(folder: Path) -> None:
    """Give a cache to an unprivileged user, if we are root."""
    for path in (folder, *folder.rglob("*")) if IS_ROOT else ():
        os.chown(path, _NOBODY, _NOBODY, follow_symlinks=False)


@contextmanager
def only(rights: int, *places: Path) -> Iterator[None]:
    """Change the permissions of these paths while the block runs."""
    before = [(place, place.stat().st_mode) for place in places]
    for place in places:
        place.chmod(rights)
    try:
        yield
    finally:
        for place, old in before:
            if place.exists():
                place.chmod(old)


def mount(*words: str) -> str | None:
    """Run ``mount``; return its error, or None."""
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    except OSError as exc:
        return str(exc)
    return done.stderr.strip() if done.returncode else None


@contextmanager
def filled(disk: Path, left: int) -> Iterator[None]:
    """Fill a disk except for so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while (free := shutil.disk_usage(disk).free) > left:
            file.write(bytes(min(1 << 20, free - left)))
    try:
        yield
    finally:
        filler.unlink()


def serve(folder: str) -> None:
    """Fork for every command. A child is waited for only on request, so that its process id is not reused."""
    for module in _NEEDED:
        importlib.import_module(module)
    while line := sys.stdin.readline():
        child = os.fork()
        if not child:
            _play(json.loads(line), folder)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()
        sys.stdin.readline()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


def _play(given: dict[str, Any], folder: str) -> None:
    """Run one command in this child process; does not return."""
    refusal = Refusal(**given.pop("refusal")) if given["refusal"] else given.pop("refusal")
    command_line = Disturbed(**given, refusal=refusal)
    for number, name in ((0, os.devnull), (1, f"{folder}/out"), (2, f"{folder}/err")):
        os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    with open(f"{folder}/calls", "w", buffering=1, encoding="utf-8") as report:
        cache = os.path.realpath(os.environ["HF_HUB_CACHE"])
        if command_line.nobody:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
        if command_line.largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (command_line.largest_file, command_line.largest_file))
        if command_line.killed_before is not None:
            _watch(command_line.killed_before, cache, report.write)
        if command_line.stopped:
            ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
        if command_line.refusal is not None:
            _Saboteur(command_line.refusal, cache, report.write).install()
        sys.argv[1:] = command_line.words
        code = 1
        try:
            code = importlib.import_module("mlxknife.__main__").main()
            sys.stdout.flush()
        finally:
            sys.stderr.flush()
            os._exit(code)


def _watch(killed_before: int, cache: str, tell: Callable[[str], object]) -> None:
    """Kill this process before a change of the cache, and report the changes made until then."""
    count = itertools.count()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(path, str) or not path.startswith(cache) or not flags & _WRITING:
                return
        elif event not in _CHANGES:
            return
        if next(count) == killed_before:
            os.kill(os.getpid(), signal.SIGKILL)
        tell(f"{event} {arguments[0]}\n")

    sys.addaudithook(watch)


class _Saboteur:
    """Replaces functions of ``os`` by ones that fail."""

    def __init__(self, refusal: Refusal, cache: str, tell: Callable[[str], object]) -> None:
        self._refusal = refusal
        self._cache = cache
        self._tell = tell
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._names: dict[int, str] = {}

    def install(self) -> None:
        for call in sorted(_USES_SPACE | _FREES_SPACE | _LOOKS):
            if self._refusal.affects(call):
                setattr(os, call, self._wrapped(call, getattr(os, call)))
        builtins.open = self._wrapped("open", builtins.open)

    def _wrapped(self, call: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def wrapped(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as the real ones
            place = self._place(call, arguments, named)
            if place is not None:
                self._refuse(call, place)
            result = real(*arguments, **named)
            if isinstance(result, int) and call == "open":
                self._names[result] = str(arguments[0])
            return result

        return wrapped

    def _place(self, call: str, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> str | None:
        """Return the path of a call, if it is one that can fail."""
        about = str(arguments[1 if call in ("symlink", "link") else 0])
        if isinstance(arguments[0], int):
            about = self._names.get(arguments[0], "")
        if named.get("dir_fd") is None and not about.startswith(self._cache):
            return None
        if call == "mkdir" and os.path.lexists(about):
            return None  # the error for an existing file comes first
        if call == "open":
            how = arguments[1] if len(arguments) > 1 else named.get("mode", "r")
            writes = bool(how & _WRITING) if isinstance(how, int) else not set(how).isdisjoint("wxa+")
            is_there = not isinstance(how, int) or how & os.O_CREAT or os.path.lexists(about)
            if writes is self._refusal.reads or not is_there:
                return None
        return about.removeprefix(self._cache).lstrip("/")

    def _refuse(self, call: str, place: str) -> None:
        with self._lock:
            number = next(self._count)
            if number < self._refusal.at or (self._refusal.once and number > self._refusal.at):
                return
            self._tell(f"{call} {place}\n")
        raise OSError(self._refusal.errno, os.strerror(self._refusal.errno), place)


if __name__ == "__main__":
    serve(sys.argv[1])
