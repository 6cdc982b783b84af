"""Command lines that a user hands over in one piece: which words they are, where they run, whether they are ours."""

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
"""What a shell adds to the number of the signal that killed a command."""

_MOST = 100
_HOST = re.compile(r"(\w[\w.-]*@)?\w[\w.-]*", re.ASCII)
"""A name, perhaps with a user, that no program could take for an option."""
_OPERATORS = "|&;<>"
_RUN = "run"
_PROGRAMS = ("mlxk", "mlxk2", "mlxk-json")
_RUN_PROGRAM = "mlx-run"
_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_MODULE = ("-m", "mlxknife")


def jobs(texts: Sequence[str], *, may_ssh: bool) -> tuple[TeeCommand, ...]:
    """Return what several command lines ask for. Raises ValidationError for the first that nobody could run."""
    if not texts:
        msg = "No command was given"
        raise ValidationError(msg, hint=HintCode.QUOTE_COMMANDS)
    if len(texts) > _MOST:
        msg = f"{len(texts)} commands are too many: {_MOST} can run at once"
        raise ValidationError(msg)
    return tuple(job(text, may_ssh=may_ssh) for text in texts)


def job(text: str, *, may_ssh: bool) -> TeeCommand:
    """Return what one command line asks for; ``@HOST:`` in front sends it to another machine.

    Raises ValidationError for what is no command line, or needs a shell, or ssh where that was not allowed.
    """
    command, host = text.strip(), None
    if command.startswith("@"):
        host, command = _sent(command)
        if not may_ssh:
            msg = f"'@{host}:' would run a command on another machine"
            raise ValidationError(msg, hint=HintCode.ALLOW_SSH)
    operator = _operator(command)
    if operator is not None:
        msg = f"No shell runs '{command}': its {operator} would mean nothing"
        raise ValidationError(msg, hint=Hint(HintCode.QUOTE_OPERATOR, operator=operator))
    try:
        words = tuple(shlex.split(command))
    except ValueError as exc:
        msg = f"'{command}' ends inside a quotation or behind a backslash"
        raise ValidationError(msg) from exc
    if not words or words[0].startswith("-") or not words[0]:
        msg = f"'{text}' is no command"
        raise ValidationError(msg, hint=HintCode.QUOTE_COMMANDS)
    return TeeCommand(command, words, host)


def arguments(wanted: TeeCommand) -> tuple[str, ...]:
    """Return the words that start a job: its own, or those of ssh."""
    if wanted.host is None:
        return wanted.words
    return ("ssh", wanted.host, "--", shlex.join(wanted.words))  # a shell over there takes it apart again


def own_arguments(words: Sequence[str]) -> tuple[str, ...] | None:
    """Return what a command hands to ``mlxk``, however that is called; None for another program."""
    program, rest = words[0].rpartition("/")[2], tuple(words[1:])
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
    """Return how several commands ended together."""
    return max(statuses, default=0)


def _sent(text: str) -> tuple[str, str]:
    host, colon, command = text[1:].partition(":")
    if not colon or not _HOST.fullmatch(host):
        msg = f"'{text}' names no machine"
        raise ValidationError(msg, hint=HintCode.SSH_FORMS)
    return host, command.strip()


def _operator(command: str) -> str | None:
    """Return the first character that would steer a shell, if it is not quoted."""
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
    """Puts what is heard of jobs into the order of the jobs.

    Whoever's turn it is is heard as it speaks; what others say in the meantime is kept until it is theirs.
    """

    def __init__(self, count: int) -> None:
        """Take the number of jobs."""
        self._kept: list[list[CommandEvent]] = [[] for _ in range(count)]
        self._now = -1

    def begin(self) -> Iterator[OutputBegins | CommandEvent]:
        """Yield whose turn is the first."""
        yield from self._next()

    def hear(self, heard: CommandEvent) -> Iterator[OutputBegins | CommandEvent]:
        """Take one thing more; yield what can be told now."""
        if heard.number != self._now:
            self._kept[heard.number].append(heard)
            return
        yield heard
        if isinstance(heard, CommandExited):
            yield from self._next()

    def _next(self) -> Iterator[OutputBegins | CommandEvent]:
        self._now += 1
        while self._now < len(self._kept):
            yield OutputBegins(self._now)
            kept, self._kept[self._now] = self._kept[self._now], []
            yield from kept
            if not (kept and isinstance(kept[-1], CommandExited)):
                return
            self._now += 1
