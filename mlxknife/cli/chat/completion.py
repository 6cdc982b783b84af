"""What Tab completes in a chat: commands, settings, files, and names of models."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from mlxknife.cli.chat.commands import NAMES, WITH_ARGUMENT
from mlxknife.cli.chat.state import SETTINGS
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.text.rules.display import is_unprintable

_FILE_COMMANDS = ("load", "save")


@attrs.frozen
class Completions:
    """What can be completed."""

    models: Callable[[], Sequence[str]]
    """Returns the names of the models that can be run. Raises KnifeError."""

    def of(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield what may follow a text: the end of it that is replaced, and what replaces it."""
        if not text.startswith("/") or "\n" in text:
            return
        word, space, argument = text[1:].partition(" ")
        if not space:
            for name in _beginning_with(word, NAMES):
                yield text, f"/{name} " if name in WITH_ARGUMENT else f"/{name}"
        elif word == "set" and " " not in argument:
            yield from ((argument, f"{name} ") for name in _beginning_with(argument, SETTINGS))
        elif word in _FILE_COMMANDS:
            yield from _files(argument)
        elif word == "model":
            yield from ((argument, name) for name in _beginning_with(argument, self._models()))

    def _models(self) -> Sequence[str]:
        try:
            return self.models()
        except KnifeError:  # the command itself says what is wrong
            return ()


class ChatCompleter(Completer):
    """Completions for prompt_toolkit."""

    def __init__(self, completions: Completions) -> None:
        """Take what can be completed."""
        self._completions = completions

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield the completions at the cursor, without those that a terminal cannot show."""
        del complete_event
        for replaced, text in self._completions.of(document.text_before_cursor):
            if not any(map(is_unprintable, text)):
                yield Completion(text, start_position=-len(replaced))


def _beginning_with(start: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(start)]


def _files(start: str) -> Iterator[tuple[str, str]]:
    """Yield the files and folders whose path begins with a text. Hidden ones need their dot."""
    folder, name = os.path.split(start)
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found)
    except (OSError, ValueError):  # no such folder, or no name at all
        return
    for entry, is_folder in entries:
        if entry.startswith(name) and (name or not entry.startswith(".")):
            yield name, f"{entry}{'/' if is_folder else ''}"
