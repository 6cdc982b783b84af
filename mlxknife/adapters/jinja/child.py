"""The side that renders: reads one job from stdin, writes one answer to stdout, and may be killed at any moment."""

from __future__ import annotations

import json
import resource
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MEMORY = 1024 * 1024 * 1024
_CPU_SECONDS = 10
_MAX_ERROR = 500
_MAX_GROWTH = 16 * 1024 * 1024
"""How much longer than the conversation a prompt may be."""

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
"""What a template can do wrong in Python's eyes."""


class _Generation(Extension):
    """``{% generation %}``, with which trainers mark what the model says; here it is only its content."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def main() -> None:
    """Render one job."""
    job = json.loads(sys.stdin.buffer.read())
    _bound()
    try:
        answer = {"text": _rendered(job)}
    except _FAILURES as exc:
        answer = {"error": (str(exc) or type(exc).__name__)[:_MAX_ERROR]}
    sys.stdout.write(json.dumps(answer))


def _rendered(job: dict[str, Any]) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = _now
    template = environment.from_string(job["template"])
    variables = {"add_generation_prompt": True, "tools": None, "documents": None, **job["variables"]}
    text: str = template.render(messages=job["messages"], **variables)
    if len(text) > _MAX_GROWTH + sum(len(message["content"]) for message in job["messages"]):
        msg = "it makes a text that is too long"
        raise ValueError(msg)
    return text


def _bound() -> None:
    for kind, limit in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _CPU_SECONDS)):
        with suppress(ValueError, OSError):  # macOS knows no bound of the address space
            resource.setrlimit(kind, (limit, limit))


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
