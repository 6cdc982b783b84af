"""The loop of a conversation: read, obey or answer, until the user leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing

import attrs

from mlxknife.cli.chat import state
from mlxknife.cli.chat.lines import Lines, read_question
from mlxknife.cli.chat.state import Conversation
from mlxknife.cli.chat.stopping import noted_interrupts
from mlxknife.cli.hints import hint_text
from mlxknife.cli.render.answer import AnswerPrinter, statistics
from mlxknife.cli.render.help import help_width, wrap_rows
from mlxknife.cli.render.text import Span, Style, print_line
from mlxknife.domain.errors import KnifeError, ValidationError
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.values.generation import Outcome, PieceKind
from mlxknife.domain.hints import HintCode

_PROMPT, _MORE = ">>> ", "... "
_HELP = (
    ("/help", "this"),
    ("/system [TEXT]", "set or take away the system text"),
    ("/set NAME [VALUE]", f"set, or leave to the model: {', '.join(state.SETTINGS)}"),
    ("/show", "the model, the system text, what is set, what was said"),
    ("/save FILE", "keep the conversation in a file"),
    ("/load FILE", "go on with a conversation that was kept"),
    ("/clear", "forget what was said"),
    ("/model NAME", "go on with another model"),
    ("/stats", "how long the last answer took"),
    ("/exit", "leave (also Ctrl-D)"),
)
_HINTS = 'Ctrl-C stops an answer. Several lines: Alt-Enter for a break, or begin with """ and end with """.'


class _Leave(Exception):
    """The user wants to go."""


@attrs.frozen
class Models:
    """How models are loaded, and the one to begin with."""

    check: Callable[[str], object]
    """Raises KnifeError for what cannot be run at all, without loading it."""
    open: Callable[[str], Session]
    first: str


class Loop:
    """One conversation, over one model at a time."""

    def __init__(
        self,
        models: Models,
        conversation: Conversation,
        lines: Lines,
        speech_of: Callable[[], AnswerPrinter],
        *,
        says_statistics: bool = False,
    ) -> None:
        """Load the first model; take how the conversation begins, whence questions come and how answers are shown.

        Raises KnifeError.
        """
        self._models = models
        self._spec = models.first
        self._session = models.open(models.first)
        self._conversation = conversation
        self._lines = lines
        self._speech_of = speech_of
        self._says_statistics = says_statistics
        self._last: Outcome | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "system": self._system,
            "set": self._set,
            "show": self._show,
            "save": self._save,
            "load": self._load,
            "clear": self._clear,
            "model": self._model,
            "stats": self._stats,
            "exit": self._exit,
            "quit": self._exit,
            "bye": self._exit,
        }

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._session.info.name

    def run(self, first: str | None = None) -> None:
        """Talk until the user leaves; a first question is answered before one is read."""
        if first is not None:
            self._obey(lambda: self._answer(first))
        while True:
            try:
                text = read_question(self._lines, _PROMPT, _MORE)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._say("Ctrl-D or /exit leaves")
                continue
            try:
                self._obey(lambda: self._take(text))  # noqa: B023 - it is called at once
            except _Leave:
                return

    def close(self) -> None:
        """Free the model."""
        self._session.close()

    def _obey(self, work: Callable[[], None]) -> None:
        """Do something; whatever goes wrong, or is stopped, the conversation goes on."""
        try:
            work()
        except (KnifeError, OSError) as error:
            self._complain(error)
        except KeyboardInterrupt:
            self._say("stopped")

    def _take(self, text: str) -> None:
        word, _, rest = text.strip().partition(" ")
        if not word:
            return
        if not word.startswith("/"):
            self._answer(text)
            return
        command = self._commands.get(word[1:])
        if command is None:
            msg = f"There is no command {word}"
            raise ValidationError(msg, hint=HintCode.CHAT_COMMANDS)
        command(rest.strip())

    def _answer(self, question: str) -> None:
        shown = self._speech_of()
        answer, is_whole = "", False
        turns = self._conversation.asked(question)
        with noted_interrupts() as is_stopped, closing(self._session.answer(turns, self._conversation.wish)) as pieces:
            try:
                while not is_stopped():
                    piece = next(pieces)
                    if piece.kind is PieceKind.ANSWER:
                        answer += piece.text
                    shown.write(piece)
            except StopIteration as end:
                self._last, is_whole = end.value, True
            except KeyboardInterrupt:  # pressed again: not even the next piece is waited for
                is_whole = False
            finally:
                shown.end()
        if not is_whole:  # the answer ends here, the conversation does not
            self._say("stopped")
        self._conversation = self._conversation.answered(question, answer)
        if is_whole and self._says_statistics:
            self._stats("")

    def _help(self, rest: str) -> None:
        del rest
        width = max(len(usage) for usage, _ in _HELP)
        rows = [f"{usage:{width}}  {meaning}" for usage, meaning in _HELP]
        for line in wrap_rows((*rows, _HINTS), help_width(sys.stderr)):
            self._say(line)

    def _system(self, text: str) -> None:
        self._conversation = attrs.evolve(self._conversation, system=text or None)
        self._say("system text set" if text else "no system text")

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        self._conversation = self._conversation.set(name, value.strip())
        self._say(f"{name}: {value.strip() or 'as the model wants it'}")

    def _show(self, rest: str) -> None:
        del rest
        self._say(f"model: {self.model}")
        self._say(f"system: {self._conversation.system or '-'}")
        for name, value in self._conversation.settings().items():
            self._say(f"{name}: {value}")
        for message in self._conversation.messages:
            self._say(f"[{message.role}] {message.content}")

    def _save(self, path: str) -> None:
        state.save(_needed(path, "/save FILE"), self.model, self._conversation)
        self._say(f"saved in {path}")

    def _load(self, path: str) -> None:
        self._conversation = state.load(_needed(path, "/load FILE"), self._conversation)
        self._say(f"{len(self._conversation.messages)} messages")

    def _clear(self, rest: str) -> None:
        del rest
        self._conversation = attrs.evolve(self._conversation, messages=())
        self._say("forgotten")

    def _model(self, name: str) -> None:
        """Go on with another model. The memory seldom has room for both, so the old one goes first, and comes back."""
        spec = _needed(name, "/model NAME")
        self._models.check(spec)
        self._session.close()
        try:
            self._session = self._models.open(spec)
        except BaseException:  # also Ctrl-C
            self._say(f"going back to {self.model}")
            self._session = self._models.open(self._spec)
            raise
        self._spec = spec
        self._say(f"now talking to {self.model}")

    def _stats(self, rest: str) -> None:
        del rest
        self._say(statistics(self._last) if self._last is not None else "Nothing was answered yet")

    def _exit(self, rest: str) -> None:
        del rest
        raise _Leave

    def _say(self, text: str) -> None:
        for line in text.split("\n"):
            print_line((Span(line, Style.FAINT),), sys.stderr)

    def _complain(self, error: KnifeError | OSError) -> None:
        text = error.message if isinstance(error, KnifeError) else f"{error.strerror}: {error.filename}"
        print_line((Span("error: ", Style.BAD), text), sys.stderr)
        hint = hint_text(error.hint) if isinstance(error, KnifeError) else None
        if hint:
            print_line((Span("hint: ", Style.FAINT), hint), sys.stderr)


def _needed(text: str, usage: str) -> str:
    if not text:
        msg = f"Something is missing: {usage}"
        raise ValidationError(msg)
    return text
