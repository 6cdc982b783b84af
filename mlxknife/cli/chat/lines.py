"""The lines of a chat: with editing and history on a terminal, and plainly from a pipe or a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from mlxknife.cli import prompt_input

_FENCE = '"""'


class Lines(Protocol):
    """A source of lines."""

    def read(self, prompt: str) -> str:
        """Return the next line. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""
        ...


class PlainLines:
    """Lines of a pipe or a file, without echo or prompt."""

    def read(self, prompt: str) -> str:
        """See ``Lines.read``. Raises EOFError, ValidationError for a line that is no text."""
        del prompt
        return prompt_input.read_stdin_line()


class EditedLines:
    """Lines of a terminal, with editing, history in a file, and Alt-Enter for a line break."""

    def __init__(self, history: str) -> None:
        """Take the file of the history; without one that can be written, the history ends with the chat."""
        from prompt_toolkit import PromptSession  # noqa: PLC0415 - a tenth of a second, only to chat
        from prompt_toolkit.history import FileHistory, InMemoryHistory  # noqa: PLC0415
        from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent  # noqa: PLC0415
        from prompt_toolkit.output import create_output  # noqa: PLC0415
        from prompt_toolkit.output.vt100 import Vt100_Output  # noqa: PLC0415

        keys = KeyBindings()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        try:
            os.makedirs(os.path.dirname(history), mode=0o700, exist_ok=True)
            with open(history, "ab"):
                os.chmod(history, 0o600)
            kept: Any = FileHistory(history)
        except OSError:
            kept = InMemoryHistory()
        shown = create_output(stdout=sys.stderr)  # stdout is only for answers
        if isinstance(shown, Vt100_Output):
            shown.enable_cpr = False  # not needed, and a terminal that does not answer causes a warning
        self._session: PromptSession[str] = PromptSession(history=kept, key_bindings=keys, output=shown)

    def read(self, prompt: str) -> str:
        """See ``Lines.read``."""
        return self._session.prompt(prompt)


def read_question(lines: Lines, prompt: str, more: str) -> str:
    """Return a question: one line, or several between three quotation marks and three more."""
    first = lines.read(prompt)
    if not first.lstrip().startswith(_FENCE):
        return first
    text = first.lstrip().removeprefix(_FENCE)
    return _until_fence(text, lambda: lines.read(more))


def _until_fence(first: str, further: Callable[[], str]) -> str:
    """Return the lines up to the closing quotation marks or the end of the input."""
    read = [first]
    while not read[-1].rstrip().endswith(_FENCE):
        try:
            read.append(further())
        except EOFError:
            break
    return "\n".join(read).rstrip().removesuffix(_FENCE).strip("\n")
