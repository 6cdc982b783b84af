"""The side that asks: one short-lived process for each template, with bounds on its time, memory and answer.

Jinja's sandbox keeps a template from the machine's files and from Python's inside; it does not keep it from looping for
ever or from making a text of gigabytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence

import attrs

from mlxknife.domain.errors import TemplateError
from mlxknife.domain.model.generation import Message

_SECONDS = 10.0


class JinjaTemplates:
    """Renders the templates of models."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        """Take how long a template may work."""
        self._seconds = seconds

    def render(self, template: str, messages: Sequence[Message], variables: Mapping[str, object]) -> str:
        """See ``Templates.render``."""
        turns = [attrs.asdict(message) for message in messages]
        job = json.dumps({"template": template, "messages": turns, "variables": dict(variables)})
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "mlxknife.adapters.jinja.child"],
                input=job.encode("utf-8", "surrogatepass"),
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            msg = f"The chat template of the model did not end within {self._seconds:g} seconds"
            raise TemplateError(msg, hint="Try --no-chat-template") from exc
        try:
            answer = json.loads(done.stdout)
        except ValueError as exc:
            msg = f"The chat template of the model took too much memory or time (status {done.returncode})"
            raise TemplateError(msg, hint="Try --no-chat-template") from exc
        if "error" in answer:
            msg = f"The chat template of the model refuses the conversation: {answer['error']}"
            raise TemplateError(msg)
        text: str = answer["text"]
        return text
