"""Renders chat templates: a process for each template, with limits on time, memory and output.

Jinja's sandbox protects files and Python's internals. It stops neither an endless loop nor gigabytes of output.
A process serves one template, so that a hostile template can harm only its own requests.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Mapping, Sequence

from mlxknife.adapters.jinja.renderer import BrokenRendererError, SlowRendererError
from mlxknife.adapters.jinja.renderer_pool import RendererPool
from mlxknife.domain.errors import TemplateError
from mlxknife.domain.hints import HintCode

_SECONDS = 10.0
_MAX_PROCESSES = 8


class JinjaTemplates:
    """See ``Templates``. The processes end with it."""

    def __init__(self, seconds: float = _SECONDS, max_processes: int = _MAX_PROCESSES) -> None:
        """Take the time limit of a rendering, and the largest number of processes."""
        self._seconds = seconds
        self._pool = RendererPool(seconds, max_processes)
        self._end = weakref.finalize(self, self._pool.close)

    def prepare(self) -> None:
        """See ``Templates.prepare``."""
        self._pool.prepare()

    def render(self, template: str, messages: Sequence[Mapping[str, object]], variables: Mapping[str, object]) -> str:
        """See ``Templates.render``."""
        job = _job(messages, variables)
        try:
            with self._pool.borrowed(template) as renderer:
                is_text, text = renderer.render(template, job)
        except SlowRendererError as exc:
            msg = f"The chat template of the model took longer than {self._seconds:g} seconds"
            raise TemplateError(msg, hint=HintCode.SKIP_TEMPLATE) from exc
        except BrokenRendererError as exc:
            msg = f"The chat template of the model took too much memory or time (status {exc.status})"
            raise TemplateError(msg, hint=HintCode.SKIP_TEMPLATE) from exc
        if not is_text:
            msg = f"The chat template of the model rejects the conversation: {text}"
            raise TemplateError(msg)
        return text

    def close(self) -> None:
        """See ``Templates.close``. A running rendering fails, and so does every later one."""
        self._end()


def _job(messages: Sequence[Mapping[str, object]], variables: Mapping[str, object]) -> str:
    try:
        return json.dumps({"messages": messages, "variables": dict(variables)}, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as exc:
        msg = f"The conversation cannot be passed to a chat template: {exc}"
        raise TemplateError(msg) from exc
