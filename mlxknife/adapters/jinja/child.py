"""The renderer process: it serves one template, job after job, and may be killed at any moment.

stdout is a socket for jobs and answers. stdin carries nothing: it closes when the parent ends, however that happens.
(Linux can signal the death of a parent, but it means the thread that started the child, which may end much earlier.)
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
from jinja2.sandbox import SandboxedEnvironment

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
"""The errors that a template can cause. Every other one, such as MemoryError, ends the process."""


class _Generation(Extension):
    """``{% generation %}`` marks the answer for training; here only its content counts."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return the content between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Renderer:
    """One template, compiled at its first job. No state is kept between jobs."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._source = ""
        self._template: Template | None = None

    def bind(self, source: str) -> None:
        """Take the template."""
        self._source, self._template = source, None

    def answer(self, job: str) -> tuple[bytes, str]:
        """Return the prompt or the error."""
        try:
            text = self._rendered(json.loads(job))
            if len(text) > wire.MAX_GROWTH + len(job):
                return wire.ERROR, "its output is too long"
        except _FAILURES as exc:
            return wire.ERROR, (str(exc) or type(exc).__name__)[:_MAX_ERROR]
        return wire.TEXT, text

    def _rendered(self, job: dict[str, Any]) -> str:
        if self._template is None:
            self._template = self._environment.from_string(self._source)
        variables = {"add_generation_prompt": True, "tools": None, "documents": None, **job["variables"]}
        return self._template.render(messages=job["messages"], **variables)


def main() -> None:
    """Serve jobs until the parent ends. The argument is the limit of a job in seconds."""
    seconds = float(sys.argv[1])
    _end_with_parent()
    _limit_memory()
    renderer = _Renderer()
    renderer.answer('{"messages": [], "variables": {}}')  # Jinja initialises itself before the first job
    with os.fdopen(os.dup(1), "rb") as jobs, os.fdopen(1, "wb", closefd=False) as answers:
        _serve(renderer, seconds, jobs, answers)


def _serve(renderer: _Renderer, seconds: float, jobs: BinaryIO, answers: BinaryIO) -> None:
    while header := jobs.read(wire.JOB.size):
        template, length = wire.JOB.unpack(header)
        if template:
            renderer.bind(wire.unpacked(jobs.read(template)))
        job = wire.unpacked(jobs.read(length))
        signal.setitimer(signal.ITIMER_REAL, seconds)
        kind, text = renderer.answer(job)
        signal.setitimer(signal.ITIMER_REAL, 0)
        data = wire.packed(text)
        answers.write(wire.ANSWER.pack(kind, len(data)) + data)
        answers.flush()


def _environment() -> SandboxedEnvironment:
    """Return an environment in which templates may change lists: each job has its own, and some templates do it."""
    environment = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _now
    return environment


def _limit_memory() -> None:
    for kind, limit in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # macOS cannot limit the address space
            resource.setrlimit(kind, (limit, limit))


def _end_with_parent() -> None:
    """Ask the kernel for SIGIO when stdin closes: without a handler, it ends even a template in an endless loop.

    The alarm of a job has no handler either. On a system without that SIGIO it ends the job, and then stdin is empty.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
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
    """Return JSON as models were trained on it: Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


if __name__ == "__main__":
    main()
