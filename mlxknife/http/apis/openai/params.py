"""The fields that errors of the model process name: it knows the names of the domain, a client those of the body."""

from __future__ import annotations

import re

import attrs

from mlxknife.domain.errors import KnifeError

_OF_TOOL = re.compile(r"(tools\[\d+\])\.(?!function\b)")
_OF_CALL = re.compile(r"(messages\[\d+\])\.tool_calls\[(\d+)\]\.(?=name\b|arguments\b)")


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
        name = self._name(error.param)
        error.message = error.message.replace(error.param, name, 1)
        error.param = name

    def _name(self, param: str) -> str:
        first = re.split(r"[.\[]", param, maxsplit=1)[0]
        rest = param[len(first) :]
        if first == "constraint":
            return self.constraint + rest
        if self.uses_functions and first in ("tools", "tool_choice"):
            return {"tools": "functions", "tool_choice": "function_call"}[first] + rest
        return _OF_CALL.sub(r"\1.tool_calls[\2].function.", _OF_TOOL.sub(r"\1.function.", param))
