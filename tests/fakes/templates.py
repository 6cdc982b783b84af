"""Renders templates in the process of the test, without bounds: only for templates that a test wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache

import attrs
from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError as RenderingError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import SandboxedEnvironment

from mlxknife.domain.errors import TemplateError


class _Generation(Extension):
    """``{% generation %}`` marks the answer for training; only its content counts."""

    tags = {"generation"}  # noqa: RUF012 - Jinja declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        parser.stream.skip()
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@attrs.define
class FakeTemplates:
    """Fulfils ``ports.engines.templates.Templates``."""

    renderings: int = 0
    is_closed: bool = False

    def prepare(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True

    def render(self, template: str, messages: Sequence[Mapping[str, object]], variables: Mapping[str, object]) -> str:
        self.renderings += 1
        try:
            return _compiled(template).render(
                messages=messages, **{"add_generation_prompt": True, "tools": None, "documents": None, **variables}
            )
        except (RenderingError, TypeError, ValueError, ArithmeticError, LookupError, SyntaxError) as exc:
            msg = f"The template fails: {exc}"
            raise TemplateError(msg) from exc


@cache
def _compiled(template: str) -> Template:
    environment = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, **{"ensure_ascii": False} | options)
    environment.globals |= {"raise_exception": _raise, "strftime_now": datetime.now().astimezone().strftime}
    return environment.from_string(template)


def _raise(message: str) -> None:
    raise RenderingError(message)
