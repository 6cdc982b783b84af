"""The fields that errors of the model process name: a body may have another name for them than the domain."""

from __future__ import annotations

import re

import attrs

from mlxknife.domain.errors import KnifeError

_CONSTRAINT = re.compile(r"^constraint\b")
_OF_FUNCTIONS = (
    (re.compile(r"^tools(\[\d+\])?(?:\.function\b)?"), r"functions\1"),
    (re.compile(r"^tool_choice\b"), "function_call"),
    (re.compile(r"^(messages\[\d+\])\.tool_calls\[\d+\]\.function\b"), r"\1.function_call"),
)


@attrs.frozen
class ParamNames:
    """How one body names the fields that its form has another name for."""

    constraint: str
    """The place of ``GenerationOptions.constraint``."""
    uses_functions: bool
    """Whether the tools are the deprecated ``functions``."""

    def rename(self, error: KnifeError) -> None:
        """Give an error the name that its field has in the body."""
        if error.param is None:
            return
        name = _CONSTRAINT.sub(self.constraint, error.param)
        for pattern, other in _OF_FUNCTIONS if self.uses_functions else ():
            name = pattern.sub(other, name)
        error.message = error.message.replace(error.param, name, 1)
        error.param = name
