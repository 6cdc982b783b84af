"""One question of a chat: its answer, the calls on the way to it, and the conversation after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing

import attrs

from mlxknife.cli.answer_form import named_by_option
from mlxknife.cli.chat.lines import Lines
from mlxknife.cli.chat.state import Conversation
from mlxknife.cli.keyboard import answering
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.cli.render.text import Line, print_line
from mlxknife.cli.signals import deferred_interrupts
from mlxknife.cli.tool_calls import call_line, result_line
from mlxknife.domain.generation.services.session import AnswerProgress, Session
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind
from mlxknife.domain.tools.values import ToolCall, ToolUse


@attrs.define(eq=False)
class Turn:
    """A question to a model. ``run`` answers it; Ctrl-C stops the answer, and what came of it stays."""

    session: Session
    conversation: Conversation
    lines: Lines
    """Where the user is asked for each call."""
    printer: AnswerPrinter
    progress: AnswerProgress = attrs.field(factory=AnswerProgress, init=False)
    result: GenerationResult | None = attrs.field(default=None, init=False)
    """None if the answer was stopped."""
    _text: str = attrs.field(default="", init=False)
    """The text since the last call."""

    def run(self, question: str) -> Conversation:
        """Print the answer; return the conversation with the question, the calls and the answer.

        Raises what the answer raises; ConfirmationRequired for a call where there is no terminal.
        """
        asked = self.conversation.asked(question)
        with (
            named_by_option(self.conversation.form),
            deferred_interrupts() as is_interrupted,
            answering(self.session.client, self.printer, terminal=sys.stdin, drops_keys=True) as asking,
        ):
            loop = self.session.with_tools(
                self.conversation.tools.functions,
                approve=lambda call: self._approve(call, asking),
                max_tool_rounds=self.conversation.tools.max_rounds,
                progress=self.progress,
            )
            try:
                with closing(loop.answer(asked, self.conversation.options, self.conversation.tools.choice)) as events:
                    self._print(events, is_interrupted)
            finally:
                self.printer.end()
        return self.conversation.extended(loop.messages or asked, self._text)

    def _print(
        self, events: Generator[TextDelta | ToolUse, None, GenerationResult], is_interrupted: Callable[[], bool]
    ) -> None:
        try:
            while not is_interrupted():
                self._add(next(events))
        except StopIteration as end:
            self.result = end.value
        except KeyboardInterrupt:  # at a question, while a tool runs, or the second one
            return

    def _add(self, event: TextDelta | ToolUse) -> None:
        if isinstance(event, ToolUse):
            self._text = ""
            self.printer.end()
            self._show(result_line(event))
            return
        if event.kind is TextKind.ANSWER:
            self._text += event.text
        self.printer.write(event)

    def _approve(self, call: ToolCall, asking: Callable[[], AbstractContextManager[None]]) -> bool:
        self.printer.end()
        self._show(call_line(call))
        with asking():
            return self.conversation.tools.approve(call, self.lines.confirm)

    @staticmethod
    def _show(line: Line) -> None:
        print_line(line, sys.stderr)
