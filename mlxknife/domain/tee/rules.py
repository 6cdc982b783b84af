"""mlx-tee: parsing command lines, and the order in which their output is shown."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputBegins, TeeCommand

NOT_FOUND = 127
NOT_STARTED = 126
KILLED = 128
"""A shell adds this to the number of the signal that killed a command."""

_MAX_COMMANDS = 100
_HOST = re.compile(r"(\w[\w.-]*@)?\w[\w.-]*", re.ASCII)
"""A host name, perhaps with a user, that cannot be an option."""
_OPERATORS = "|&;<>"
_RUN = "run"
_PROGRAMS = ("mlxk", "mlxk2", "mlxk-json")
_RUN_PROGRAM = "mlx-run"
_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_MODULE = ("-m", "mlxknife")


def parse_commands(texts: Sequence[str], *, may_ssh: bool) -> tuple[TeeCommand, ...]:
    """Return several command lines, parsed. Raises ValidationError for none, too many, or the first invalid one."""
    if not texts:
        msg = "No command was given"
        raise ValidationError(msg, hint=HintCode.QUOTE_COMMANDS)
    if len(texts) > _MAX_COMMANDS:
        msg = f"{len(texts)} commands are too many: {_MAX_COMMANDS} can run at once"
        raise ValidationError(msg)
    return tuple(parse_command(text, may_ssh=may_ssh) for text in texts)


def parse_command(text: str, *, may_ssh: bool) -> TeeCommand:
    """Return one command line, parsed; ``@HOST:`` before it runs it on another machine.

    Raises ValidationError for an invalid command line, one that needs a shell, and for ssh that is not allowed.
    """
    command, host = text.strip(), None
    if command.startswith("@"):
        host, command = _split_host(command)
        if not may_ssh:
            msg = f"'@{host}:' would run a command on another machine"
            raise ValidationError(msg, hint=HintCode.ALLOW_SSH)
    operator = _operator(command)
    if operator is not None:
        msg = f"No shell runs '{command}': its {operator} would have no effect"
        raise ValidationError(msg, hint=Hint(HintCode.QUOTE_OPERATOR, operator=operator))
    try:
        argv = tuple(shlex.split(command))
    except ValueError as exc:
        msg = f"'{command}' ends inside a quotation or after a backslash"
        raise ValidationError(msg) from exc
    if not argv or argv[0].startswith("-") or not argv[0]:
        msg = f"'{text}' is not a command"
        raise ValidationError(msg, hint=HintCode.QUOTE_COMMANDS)
    return TeeCommand(command, argv, host)


def arguments(command: TeeCommand) -> tuple[str, ...]:
    """Return the arguments that start a command: its own words, or those of ssh."""
    if command.host is None:
        return command.argv
    return ("ssh", command.host, "--", shlex.join(command.argv))  # the remote shell splits it again


def own_arguments(argv: Sequence[str]) -> tuple[str, ...] | None:
    """Return the arguments after ``mlxk``, under any of its names; None for another program."""
    program, rest = argv[0].rpartition("/")[2], tuple(argv[1:])
    if program in _PROGRAMS:
        return rest
    if program == _RUN_PROGRAM:
        return (_RUN, *rest)
    if _PYTHON.fullmatch(program):
        for place, word in enumerate(rest):
            if rest[place : place + 2] == _MODULE:
                return rest[place + 2 :]
            if not word.startswith("-"):
                break
    return None


def worst(statuses: Sequence[int]) -> int:
    """Return the exit code of several commands: the highest of theirs."""
    return max(statuses, default=0)


def _split_host(text: str) -> tuple[str, str]:
    host, colon, command = text[1:].partition(":")
    if not colon or not _HOST.fullmatch(host):
        msg = f"'{text}' does not name a machine"
        raise ValidationError(msg, hint=HintCode.SSH_FORMS)
    return host, command.strip()


def _operator(command: str) -> str | None:
    """Return the first unquoted operator of a shell, if any."""
    quote = ""
    chars = iter(command)
    for char in chars:
        if char == "\\" and quote != "'":
            next(chars, None)
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in _OPERATORS:
            return char
    return None


class OrderedOutput:
    """Puts the events of commands that run at the same time into the order of the commands.

    The events of the current command pass at once; those of later commands are buffered until their turn.
    """

    def __init__(self, count: int) -> None:
        """Create it for a number of commands."""
        self._buffers: list[list[CommandEvent]] = [[] for _ in range(count)]
        self._current = -1

    def start(self) -> Iterator[OutputBegins | CommandEvent]:
        """Yield the beginning of the first command."""
        yield from self._next()

    def add(self, event: CommandEvent) -> Iterator[OutputBegins | CommandEvent]:
        """Take the next event of any command; yield the events that can be shown now."""
        if event.number != self._current:
            self._buffers[event.number].append(event)
            return
        yield event
        if isinstance(event, CommandExited):
            yield from self._next()

    def _next(self) -> Iterator[OutputBegins | CommandEvent]:
        self._current += 1
        while self._current < len(self._buffers):
            yield OutputBegins(self._current)
            buffered, self._buffers[self._current] = self._buffers[self._current], []
            yield from buffered
            if not (buffered and isinstance(buffered[-1], CommandExited)):
                return
            self._current += 1
