"""Lines that a person types: with editing and history on a terminal, plainly from anywhere else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Protocol

from mlxknife.cli import prompt_input

_FENCE = '"""'


class Lines(Protocol):
    """Where the questions come from."""

    def read(self, prompt: str) -> str:
        """Return the next line. Raises EOFError at the end, KeyboardInterrupt for Ctrl-C."""
        ...


class PlainLines:
    """Lines of a pipe or a file; nothing is echoed and nothing asked."""

    def read(self, prompt: str) -> str:
        """See ``Lines.read``. Raises ValidationError for what is no text."""
        del prompt
        return prompt_input.read_stdin_line()


class EditedLines:
    """Lines of a terminal, with editing, history in a file, and Alt-Enter for a line break."""

    def __init__(self, history: str) -> None:
        """Take the file that the history is kept in."""
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
        shown = create_output(stdout=sys.stderr)  # stdout is for answers, wherever it goes
        if isinstance(shown, Vt100_Output):
            shown.enable_cpr = False  # not needed for lines, and prompt_toolkit warns on terminals without it
        self._session: PromptSession[str] = PromptSession(history=kept, key_bindings=keys, output=shown)

    def read(self, prompt: str) -> str:
        """See ``Lines.read``."""
        return self._session.prompt(prompt)


def read_question(lines: Lines, prompt: str, more: str) -> str:
    """Return a question of one line, or of all between two lines that begin and end with three quotation marks."""
    first = lines.read(prompt)
    if not first.lstrip().startswith(_FENCE):
        return first
    text = first.lstrip().removeprefix(_FENCE)
    return _until_fence(text, lambda: lines.read(more))


def _until_fence(first: str, further: Callable[[], str]) -> str:
    """Return what was begun until it is ended; the end of all lines ends it too."""
    said = [first]
    while not said[-1].rstrip().endswith(_FENCE):
        try:
            said.append(further())
        except EOFError:
            break
    return "\n".join(said).rstrip().removesuffix(_FENCE).strip("\n")
