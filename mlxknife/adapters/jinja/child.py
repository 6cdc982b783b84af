"""The side that renders: serves one template, job after job, and may be killed at any moment.

Jobs come and answers go through stdout, which is a socket. Nothing ever comes through stdin: that it closes says that
the one who asks is gone, whatever way. (Linux can tell a child that its parent died, but means the thread that started
it, which may end long before.)
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any, BinaryIO

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mlxknife.adapters.jinja import wire

_MEMORY = 1024 * 1024 * 1024
_MAX_ERROR = 500

_FAILURES = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    SyntaxError,
)
"""What a template can do wrong in Python's eyes. Anything else, such as no memory, ends the process."""


class _Generation(Extension):
    """``{% generation %}``, with which trainers mark what the model says; here it is only its content."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Renderer:
    """One template, compiled at its first job. Nothing of a rendering is left for the next."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._source = ""
        self._template: Template | None = None

    def bind(self, source: str) -> None:
        """Take the template."""
        self._source, self._template = source, None

    def answer(self, job: str) -> tuple[bytes, str]:
        """Return the prompt, or what is wrong."""
        try:
            text = self._rendered(json.loads(job))
            if len(text) > wire.MAX_GROWTH + len(job):
                return wire.ERROR, "it makes a text that is too long"
        except _FAILURES as exc:
            return wire.ERROR, (str(exc) or type(exc).__name__)[:_MAX_ERROR]
        return wire.TEXT, text

    def _rendered(self, job: dict[str, Any]) -> str:
        if self._template is None:
            self._template = self._environment.from_string(self._source)
        variables = {"add_generation_prompt": True, "tools": None, "documents": None, **job["variables"]}
        return self._template.render(messages=job["messages"], **variables)


def main() -> None:
    """Answer jobs until nobody asks any more. The argument is how many seconds one may take."""
    seconds = float(sys.argv[1])
    _end_with_the_other_side()
    _bound()
    renderer = _Renderer()
    renderer.answer('{"messages": [], "variables": {}}')  # what Jinja makes once is made before somebody waits
    with os.fdopen(os.dup(1), "rb") as asked, os.fdopen(1, "wb", closefd=False) as told:
        _serve(renderer, seconds, asked, told)


def _serve(renderer: _Renderer, seconds: float, asked: BinaryIO, told: BinaryIO) -> None:
    while header := asked.read(wire.JOB.size):
        template, length = wire.JOB.unpack(header)
        if template:
            renderer.bind(wire.unpacked(asked.read(template)))
        job = wire.unpacked(asked.read(length))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        kind, text = renderer.answer(job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        data = wire.packed(text)
        told.write(wire.ANSWER.pack(kind, len(data)) + data)
        told.flush()


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _now
    return environment


def _bound() -> None:
    for kind, limit in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS knows no bound of the address space
            resource.setrlimit(kind, (limit, limit))


def _end_with_the_other_side() -> None:
    """Have the kernel send SIGIO when stdin is closed: without a handler it ends what no loop of a template can keep.

    The alarm of a job has none either. Where a system sends no such signal, it ends the job, and then nothing comes.
    """
    for number in (signal.SIGIO, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _raise(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _to_json(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates give it so
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON as models were trained on it: not escaped for web pages, as Jinja's own filter does."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


if __name__ == "__main__":
    main()
