"""The side that asks: a process for each template, with bounds on its time, memory and answer.

Jinja's sandbox keeps a template from the machine's files and from Python's inside; it does not keep it from looping for
ever or from making a text of gigabytes. A process serves one template, so that a hostile one spoils only its own.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from mlxknife.adapters.jinja.crew import Crew
from mlxknife.adapters.jinja.renderer import BrokenRendererError, SlowRendererError
from mlxknife.domain.errors import TemplateError
from mlxknife.domain.generation.values.generation import Message
from mlxknife.domain.hints import HintCode

_SECONDS = 10.0
_MOST = 8


class JinjaTemplates:
    """Renders the templates of models. It may be used by several threads, and its processes end with it."""

    def __init__(self, seconds: float = _SECONDS, most: int = _MOST) -> None:
        """Take how long a template may work, and how many processes may be kept."""
        self._seconds = seconds
        self._crew = Crew(seconds, most)
        self._end = weakref.finalize(self, self._crew.close)

    def prepare(self) -> None:
        """See ``Templates.prepare``."""
        self._crew.prepare()

    def render(self, template: str, messages: Sequence[Message], variables: Mapping[str, object]) -> str:
        """See ``Templates.render``."""
        job = _job(messages, variables)
        try:
            with self._crew.lent(template) as renderer:
                is_text, text = renderer.ask(template, job)
        except SlowRendererError as exc:
            msg = f"The chat template of the model did not end within {self._seconds:g} seconds"
            raise TemplateError(msg, hint=HintCode.SKIP_TEMPLATE) from exc
        except BrokenRendererError as exc:
            msg = f"The chat template of the model took too much memory or time (status {exc.status})"
            raise TemplateError(msg, hint=HintCode.SKIP_TEMPLATE) from exc
        if not is_text:
            msg = f"The chat template of the model refuses the conversation: {text}"
            raise TemplateError(msg)
        return text

    def close(self) -> None:
        """End the processes; a rendering under way fails, and so does every later one."""
        self._end()


def _job(messages: Sequence[Message], variables: Mapping[str, object]) -> str:
    """Return a job. What a message does not have is not there: templates ask whether it is defined."""
    turns = [attrs.asdict(message, filter=_is_there) for message in messages]
    try:
        return json.dumps({"messages": turns, "variables": dict(variables)}, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as exc:
        msg = f"The conversation is nothing that a chat template can be given: {exc}"
        raise TemplateError(msg) from exc


def _is_there(_: attrs.Attribute[Any], value: object) -> bool:
    return value is not None
