"""The lines of a chat: with editing and history on a terminal, and plainly from a pipe or a file."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from mlxknife.cli import prompt_input
from mlxknife.cli.signals import KILLED

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.application import Application
    from prompt_toolkit.output import Output

    from mlxknife.cli.chat.completion import Completions

_FENCE = '"""'


class Lines(Protocol):
    """A source of lines."""

    def read(self, prompt: str, more: str) -> str:
        """Return the next line, or several lines that belong together; ``more`` is the prompt of the others.

        Raises EOFError at the end, KeyboardInterrupt for Ctrl-C.
        """
        ...

    def confirm(self, question: str) -> bool | None:
        """Ask a question; return True only for a yes, and None where there is no terminal to ask on.

        Raises KeyboardInterrupt for Ctrl-C.
        """
        ...


class PlainLines:
    """Lines of a pipe or a file, without echo or prompt."""

    def read(self, prompt: str, more: str) -> str:
        """See ``Lines.read``. Raises EOFError, ValidationError for a line that is no text."""
        del prompt, more
        return prompt_input.read_stdin_line()

    def confirm(self, question: str) -> None:
        """See ``Lines.confirm``."""
        del question


class EditedLines:
    """Lines of a terminal, with editing, completion, history, and Alt-Enter for a line break."""

    def __init__(self, history: str | None, completions: Completions) -> None:
        """Take the file of the history; without one that can be written, the history ends with the chat."""
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - a tenth of a second, only to chat
        from prompt_toolkit.filters import Condition  # noqa: PLC0415
        from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent  # noqa: PLC0415
        from prompt_toolkit.shortcuts import CompleteStyle  # noqa: PLC0415

        from mlxknife.cli.chat.completion import ChatCompleter  # noqa: PLC0415

        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        self._output = _terminal_output()
        self._session: PromptSession[str] = PromptSession(
            history=_history(history),
            key_bindings=keys,
            output=self._output,
            multiline=Condition(lambda: is_open_block(self._session.default_buffer.text)),
            completer=ChatCompleter(completions),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
        )

    def read(self, prompt: str, more: str) -> str:
        """See ``Lines.read``."""
        with _signals_end(self._session.app) as pre_run:
            return self._session.prompt(prompt, prompt_continuation=continuation(more), pre_run=pre_run)

    def confirm(self, question: str) -> bool:
        """See ``Lines.confirm``. The answer is not kept in the history."""
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - only for a question

        session: PromptSession[str] = PromptSession(output=self._output)
        try:
            return session.prompt(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            return False


def read_question(lines: Lines, prompt: str, more: str) -> str:
    """Return a question: one line, or several between three quotation marks and three more."""
    first = lines.read(prompt, more)
    if not first.lstrip().startswith(_FENCE):
        return first
    text = first.lstrip().removeprefix(_FENCE)
    return _until_fence(text, lambda: lines.read(more, more))


def continuation(more: str) -> Callable[[int, int, int], str]:
    """Return what begins further rows: ``more`` for a line of its own, blanks where the terminal wraps a long line."""
    return lambda _width, _line, wraps: " " * len(more) if wraps else more


def is_open_block(text: str) -> bool:
    """Return whether a text begins with three quotation marks, and has no others at its end."""
    start = text.lstrip()
    return start.startswith(_FENCE) and not start.removeprefix(_FENCE).rstrip().endswith(_FENCE)


def _until_fence(first: str, further: Callable[[], str]) -> str:
    """Return the lines up to the closing quotation marks or the end of the input."""
    read = [first]
    while not read[-1].rstrip().endswith(_FENCE):
        try:
            read.append(further())
        except EOFError:
            break
    return "\n".join(read).rstrip().removesuffix(_FENCE).strip("\n")


@contextmanager
def _signals_end(app: Application[str]) -> Iterator[Callable[[], None]]:
    """Give what lets SIGTERM and SIGHUP end a prompt when it runs.

    Their own handlers raise SystemExit, which prompt_toolkit logs with a traceback if a task of its own is running.
    """
    import asyncio  # noqa: PLC0415 - prompt_toolkit has imported it by now

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    handlers = {number: handler for number, handler in handlers.items() if callable(handler)}

    def end(number: int) -> None:
        if app.future is not None and not app.future.done():
            app.exit(exception=SystemExit(KILLED + number))

    def install() -> None:
        for number in handlers:
            asyncio.get_running_loop().add_signal_handler(number, end, number)

    try:
        yield install
    finally:  # the loop of the prompt leaves the default action behind
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _history(path: str | None) -> Any:  # noqa: ANN401 - prompt_toolkit is imported for a chat only
    """Return the history in a file that only the user can read; one in memory where there can be none."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415

    if path is None:
        return InMemoryHistory()
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "ab", opener=_open_private) as file:
            os.fchmod(file.fileno(), 0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(path)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _terminal_output() -> Output:
    """Return stderr for prompts: stdout is only for answers."""
    from prompt_toolkit.output import create_output  # noqa: PLC0415
    from prompt_toolkit.output.vt100 import Vt100_Output  # noqa: PLC0415

    output = create_output(stdout=sys.stderr)
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False  # not needed, and a terminal that does not answer causes a warning
    return output
