"""Python functions that a model may call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from mlxknife.domain.tools.values import Tool

ToolFunction: TypeAlias = Callable[..., object]


class ToolFunctions(Protocol):
    """Describes functions to a model, and calls them with the arguments that it writes."""

    def tool(self, function: ToolFunction) -> Tool:
        """Return a function as a tool: its name, its docstring, and the JSON schema of its parameters.

        Raises ValidationError for what is no function with a name, for an asynchronous one, for parameters that cannot
        be passed by name, and for type hints that have no JSON form.
        """
        ...

    def call(self, function: ToolFunction, arguments: str) -> str:
        """Call a function with a JSON object of arguments, and return the text of the tool message.

        Arguments that do not fit and exceptions of the function become such a text too, so that the model can mend its
        call. Raises nothing but what ends a program, such as KeyboardInterrupt.
        """
        ...
