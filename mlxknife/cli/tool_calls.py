"""The calls of a model on a terminal: which tools it is offered, how a call is shown, and who allows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps

import attrs

from mlxknife.cli.answer_form import AnswerForm
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.cli.signals import immediate_interrupts
from mlxknife.cli.streams import stdout_to_stderr
from mlxknife.domain.errors import ConfirmationRequired, ValidationError
from mlxknife.domain.generation.services.tool_loop import MAX_ROUNDS
from mlxknife.domain.generation.values.request import GenerationOptions
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.tools.values import ToolCall, ToolChoice, ToolMode, ToolUse
from mlxknife.ports.system.tool_functions import ToolFunction

_SHOWN = 200
"""The characters of a result that are shown."""


@attrs.frozen
class OfferedTools:
    """The functions that a model may call, and how."""

    functions: tuple[ToolFunction, ...] = ()
    choice: ToolChoice = attrs.field(factory=ToolChoice)
    max_rounds: int = MAX_ROUNDS
    is_approved: bool = False
    """Whether the user allowed every call beforehand."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the functions."""
        return tuple(function.__name__ for function in self.functions)

    def approve(self, call: ToolCall, confirm: Callable[[str], bool | None]) -> bool:
        """Return whether a call may be made, which the user has seen.

        ``confirm`` asks the user, and returns None where there is no terminal. Raises ConfirmationRequired then.
        """
        is_allowed = self.is_approved or confirm("Call it?")
        if is_allowed is None:
            msg = f"A call of {call.name} needs a confirmation: its arguments are {call.arguments}"
            raise ConfirmationRequired(msg, hint=HintCode.ALLOW_CALLS)
        return is_allowed


@attrs.frozen
class AnswerSettings:
    """What the answers of one command are generated with."""

    options: GenerationOptions
    form: AnswerForm | None = None
    tools: OfferedTools = attrs.field(factory=OfferedTools)


def tool_choice(word: str, names: Sequence[str]) -> ToolChoice:
    """Return the choice for the value of ``--tool-choice``: ``auto``, ``required``, or the name of a function.

    Raises ValidationError for another word.
    """
    if word in names:
        return ToolChoice(ToolMode.REQUIRED, word)
    words = (ToolMode.AUTO.value, ToolMode.REQUIRED.value)
    if word not in words:
        msg = f"--tool-choice names no tool: '{word}'"
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join((*words, *names))))
    return ToolChoice(ToolMode(word))


def prepared(function: ToolFunction) -> ToolFunction:
    """Return a function that prints to stderr, where it prints, and that a Ctrl-C interrupts at once."""

    @wraps(function)
    def called(*args: object, **values: object) -> object:
        with stdout_to_stderr(), immediate_interrupts():
            return function(*args, **values)

    return called


def call_line(call: ToolCall) -> Line:
    """Return a call as it is shown: its name and the arguments that the model wrote."""
    return (Span("call: ", Style.WEAK), f"{call.name} {call.arguments}")


def result_line(use: ToolUse) -> Line:
    """Return the beginning of what came of a call."""
    text = use.result if len(use.result) <= _SHOWN else f"{use.result[:_SHOWN]}..."
    return (Span(f"  -> {text}", Style.FAINT),)
