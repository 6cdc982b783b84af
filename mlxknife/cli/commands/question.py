"""The question of ``run``: put together from words, stdin and files."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.cli import prompt_input
from mlxknife.cli.arguments import STDIN
from mlxknife.cli.commands.run_options import RunOptions
from mlxknife.domain.errors import FeatureDisabled, StorageError
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.values.request import Message
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.retrieval.rules import context
from mlxknife.domain.retrieval.values import Hit


def system_text(options: RunOptions) -> str | None:
    """Return the system prompt, read from its file if it names one. Raises OSError, ValidationError."""
    if options.system is not None and options.system.startswith("@"):
        return prompt_input.read_file(options.system[1:])
    return options.system if options.system is None else prompt_input.checked_utf8(options.system, "The system prompt")


@attrs.frozen
class Question:
    """The parts of a conversation with one question."""

    text: str
    """The words of the user and the text of stdin."""
    files: tuple[tuple[str, str], ...] = ()
    system: str | None = None

    def messages(self, hits: Sequence[Hit] = ()) -> tuple[Message, ...]:
        """Return the conversation, with passages of an index. Raises ValidationError if it is empty."""
        text = context.prompt(self.text, hits) if hits else self.text
        return prompts.assembled((text,), self.files, self.system)


def read(options: RunOptions, *, pipes_off_by: str | None) -> Question:
    """Read the words, stdin and the files.

    ``pipes_off_by`` names the setting that turns off stdin. Raises ValidationError, FeatureDisabled, StorageError and
    OSError.
    """
    words = [prompt_input.checked_utf8(word, "The prompt") for word in options.words]
    files = tuple((name, _context(name, has_prompt=bool(words))) for name in options.files)
    system = system_text(options)
    question = " ".join(word for word in words if word != STDIN)
    if STDIN in words:
        if pipes_off_by is not None:
            msg = f"{pipes_off_by} turns off reading from stdin"
            value = "1" if pipes_off_by.isupper() else "true"
            raise FeatureDisabled(msg, hint=Hint(HintCode.TURN_ON, name=pipes_off_by, value=value))
        separator = prompt_input.unescape(options.separator)
        question = prompt_input.read_stdin().rstrip("\n") + (separator + question if question else "")
    return Question(question, files, system)


def _context(name: str, *, has_prompt: bool) -> str:
    try:
        return prompt_input.read_file(name)
    except FileNotFoundError as exc:
        msg = f"{exc.strerror}: {name}"
        raise StorageError(msg, hint=None if has_prompt else HintCode.IN_TAKES_EVERY_WORD) from exc
