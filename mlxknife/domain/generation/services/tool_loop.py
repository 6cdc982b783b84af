"""The tool loop: runs the functions that a model calls, and asks it again with their results."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Protocol

import attrs

from mlxknife.domain.checks import check_range
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, Timings, Usage
from mlxknife.domain.generation.values.request import GenerationOptions, Message
from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode, ToolUse
from mlxknife.ports.system.tool_functions import ToolFunction, ToolFunctions

MAX_ROUNDS = 8
"""The answers with calls that one question may lead to."""
MOST_ROUNDS = 1000
_DECLINED = "The user declined this call."


class Answering(Protocol):
    """Gives one answer to a conversation, as ``Session.answer`` does."""

    def __call__(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None,
        *,
        tools: Sequence[Tool],
        tool_choice: ToolChoice,
    ) -> Generator[TextDelta, None, GenerationResult]:
        """Yield the answer, and return the whole result."""
        ...


def approve_all(call: ToolCall) -> bool:
    """Allow every call."""
    del call
    return True


@attrs.define
class ToolLoop:
    """Answers questions with the help of functions."""

    answering: Answering
    functions: ToolFunctions
    tools: Mapping[str, tuple[Tool, ToolFunction]]
    approve: Callable[[ToolCall], bool]
    """Decides on each call before it is made."""
    max_rounds: int
    messages: list[Message] = attrs.field(factory=list, init=False)
    """The conversation of the last question so far, its calls and their results included.

    The calls of an answer join it together, when all of them have a result.
    """

    @classmethod
    def of(
        cls,
        answering: Answering,
        functions: ToolFunctions,
        tools: Sequence[ToolFunction],
        approve: Callable[[ToolCall], bool],
        max_rounds: int,
    ) -> ToolLoop:
        """Return a loop over some functions.

        Raises ValidationError for a function that cannot be a tool, and for a number of rounds below 1.
        """
        check_range("max_tool_rounds", max_rounds, 1, MOST_ROUNDS)
        described = [(functions.tool(function), function) for function in tools]
        found = {tool.name: (tool, function) for tool, function in described}
        if len(found) < len(described):
            msg = "Two tools have the same name"
            raise ValidationError(msg, param="tools")
        return cls(answering, functions, found, approve, max_rounds)

    def answer(
        self,
        messages: Sequence[Message],
        options: GenerationOptions | None = None,
        tool_choice: ToolChoice | None = None,
    ) -> Generator[TextDelta | ToolUse, None, GenerationResult]:
        """Yield the answer and each call with its result, and return the result of the last answer.

        A forced tool is forced once. After ``max_rounds`` answers with calls, the model must answer without a tool.
        Raises what ``Session.answer`` and ``approve`` raise.
        """
        self.messages = list(messages)
        tools, choice = [tool for tool, _ in self.tools.values()], tool_choice or ToolChoice()
        uses, results = list[ToolUse](), list[GenerationResult]()
        ask = partial(self.answering, tools=tools)
        while True:
            result = yield from ask(self.messages, options, tool_choice=choice)
            results.append(result)
            if not result.tool_calls or choice.mode is ToolMode.NONE:
                return _summed(results, uses)
            made = list[ToolUse]()
            for call in result.tool_calls:
                made.append(ToolUse(call, self._result(call)))
                yield made[-1]
            self.messages += [_message(result), *map(_answered, made)]
            uses += made
            choice = ToolChoice(ToolMode.AUTO if len(results) < self.max_rounds else ToolMode.NONE)

    def _result(self, call: ToolCall) -> str:
        if call.name not in self.tools:
            return f"Error: there is no tool '{call.name}'"
        if not self.approve(call):
            return _DECLINED
        return self.functions.call(self.tools[call.name][1], call.arguments)


def _message(result: GenerationResult) -> Message:
    reasoning = result.reasoning or None
    return Message("assistant", result.answer, reasoning_content=reasoning, tool_calls=result.tool_calls)


def _answered(use: ToolUse) -> Message:
    return Message("tool", use.result, name=use.call.name, tool_call_id=use.call.id)


def _summed(results: Sequence[GenerationResult], uses: Sequence[ToolUse]) -> GenerationResult:
    """Return the last result with the calls, tokens and seconds of all."""
    first, last = results[0], results[-1]
    usage = Usage(
        sum(one.usage.prompt_tokens for one in results),
        sum(one.usage.completion_tokens for one in results),
        sum(one.usage.cached_tokens for one in results),
    )
    total = sum(one.timings.total for one in results)
    timings = Timings(first.timings.load, first.timings.first_token, total)
    return attrs.evolve(last, usage=usage, timings=timings, tool_uses=tuple(uses))
