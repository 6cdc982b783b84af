"""Where the answer to one question goes: to stdout and into the file of ``--out``."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack

import attrs

from mlxknife.cli.output_file import OutputFile
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind
from mlxknife.domain.tools.values import ToolUse


@attrs.define
class AnswerOutput:
    """Prints an answer and writes it to a file. A failure keeps what was written."""

    printer: AnswerPrinter | None
    file: OutputFile | None
    show: Callable[[ToolUse], None]
    """Shows what came of a call."""
    is_wanted: Callable[[GenerationResult], bool] | None = None
    """Whether the whole answer is one that was asked for. Where this is set, the file gets no other."""
    holds_text: bool = False
    """Whether stdout gets the last answer only, when it is complete and wanted."""
    received: list[TextDelta] = attrs.field(factory=list, init=False)

    def collect(self, answer: Generator[TextDelta | ToolUse, None, GenerationResult]) -> GenerationResult:
        """Return the result of an answer, after it is printed and written. Raises what the answer raises."""
        with ExitStack() as stack:
            if self.file is not None:
                stack.enter_context(self.file)
            if self.printer is not None:
                stack.callback(self.printer.end)
            if self.printer is not None and self.holds_text:
                stack.callback(self.printer.drop)
            while True:
                try:
                    event = next(answer)
                except StopIteration as end:
                    result: GenerationResult = end.value
                    break
                self._add(event)
            self._end(result)
        return result

    def interrupt(self) -> None:
        """End the text so far, because a call follows. Raises StdoutError."""
        self.received.clear()
        if self.printer is None:
            return
        if self.holds_text:
            self.printer.drop()
        self.printer.end()

    def _add(self, event: TextDelta | ToolUse) -> None:
        if isinstance(event, ToolUse):
            self.interrupt()
            self.show(event)
            return
        self.received.append(event)
        if self.file is not None and self.is_wanted is None and event.kind is TextKind.ANSWER:
            self.file.write(event.text)
        if self.printer is not None:
            self.printer.write(event)

    def _end(self, result: GenerationResult) -> None:
        if self.is_wanted is not None and not self.is_wanted(result):
            return
        if self.file is not None:
            self.file.write("" if self.is_wanted is None else result.answer)
        if self.printer is not None:
            self.printer.end()
