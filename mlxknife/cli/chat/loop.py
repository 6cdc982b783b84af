"""The loop of a chat: it reads a line, runs a command or answers, until the user leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable

import attrs

from mlxknife.cli.arguments import closest
from mlxknife.cli.chat import commands, state
from mlxknife.cli.chat.lines import Lines, read_question
from mlxknife.cli.chat.state import Conversation
from mlxknife.cli.chat.turn import Turn
from mlxknife.cli.errors import print_text
from mlxknife.cli.hints import hint_text
from mlxknife.cli.render.answer import AnswerPrinter, answer_statistics, cut_note, tokens_per_second
from mlxknife.cli.render.help import help_width, wrap_rows
from mlxknife.cli.render.terminal import line_width
from mlxknife.cli.render.text import Span, Style, print_line
from mlxknife.domain.errors import ConfirmationRequired, KnifeError, ValidationError, WorkerLost
from mlxknife.domain.generation.services.session import AnswerProgress, Session
from mlxknife.domain.generation.values.answer import GenerationResult
from mlxknife.domain.hints import Hint, HintCode

_PROMPT, _MORE = ">>> ", "... "


class _Exit(Exception):
    """The user leaves the chat."""


@attrs.frozen
class ChatModels:
    """How models are loaded, and the first one."""

    check: Callable[[str], object]
    """Raises KnifeError for a model that cannot be run; loads nothing."""
    open: Callable[[str], Session]
    first: str


class ChatLoop:
    """One conversation, over one model at a time."""

    def __init__(
        self,
        models: ChatModels,
        conversation: Conversation,
        lines: Lines,
        new_printer: Callable[[], AnswerPrinter],
        *,
        prints_statistics: bool = False,
        prints_rate: bool = False,
    ) -> None:
        """Load the first model. Raises KnifeError.

        ``lines`` gives the questions, ``new_printer`` makes the printer of each answer. ``prints_rate``: print the
        tokens per second after each answer.
        """
        self._models = models
        self._spec = models.first
        self._session = models.open(models.first)
        self._conversation = conversation
        self._lines = lines
        self._new_printer = new_printer
        self._prints_statistics = prints_statistics
        self._prints_rate = prints_rate
        self._last: str | None = None
        """The statistics of the last answer."""
        self._is_lost = False
        """Whether no model is loaded, as after a crash; then the next question loads it again."""
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
        """The name of the loaded model."""
        return self._session.info.name

    def run(self, first: str | None = None) -> None:
        """Chat until the user leaves; ``first`` is answered before a question is read."""
        if first is not None:
            self._guarded(lambda: self._answer(first))
        while True:
            try:
                text = read_question(self._lines, _PROMPT, _MORE)
            except EOFError:
                return
            except KeyboardInterrupt:
                self._say("Ctrl-D or /exit leaves")
                continue
            try:
                self._guarded(lambda: self._handle(text))  # noqa: B023 - it is called at once
            except _Exit:
                return

    def close(self) -> None:
        """End the model process."""
        self._session.close()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do something; after an error or Ctrl-C the chat goes on."""
        try:
            work()
        except (KnifeError, OSError) as error:
            self._print_error(error)
        except KeyboardInterrupt:
            self._say("stopped")

    def _handle(self, text: str) -> None:
        word, _, rest = text.strip().partition(" ")
        if not word:
            return
        if not word.startswith("/"):
            self._answer(text)
            return
        command = self._commands.get(word[1:])
        if command is None:
            close = closest(word[1:], commands.NAMES)
            msg = f"Unknown command {word}"
            raise ValidationError(
                msg, hint=Hint(HintCode.DID_YOU_MEAN, name=f"/{close}") if close else HintCode.CHAT_COMMANDS
            )
        command(rest.strip())

    def _answer(self, question: str) -> None:
        if self._is_lost:
            self._open(self._spec)
        turn = Turn(self._session, self._conversation, self._lines, self._new_printer())
        try:
            self._conversation = turn.run(question)
        except WorkerLost:
            self._close_session()
            raise
        self._report(turn.progress, turn.result)

    def _report(self, progress: AnswerProgress, result: GenerationResult | None) -> None:
        """Say how an answer ended; without a result it was stopped, and the chat goes on."""
        ending = "stopped" if result is None else result.finish_reason.value
        self._last = answer_statistics(progress.usage, progress.timings, ending)
        if result is None:
            self._say(ending)
            return
        note = cut_note(result, self._session.info.traits.context_length, "/set max_tokens")
        if note is not None:
            self._say(note)
        if self._prints_statistics:
            self._say_wrapped(self._last)
        elif self._prints_rate and result.usage.completion_tokens > 1:
            self._say(f"{tokens_per_second(result.usage, result.timings):.1f} tokens/s")

    def _help(self, rest: str) -> None:
        del rest
        width = max(len(usage) for usage, _ in commands.HELP)
        rows = [f"{usage:{width}}  {meaning}" for usage, meaning in commands.HELP]
        for line in wrap_rows((*rows, commands.HINTS), help_width(sys.stderr)):
            self._say(line)

    def _system(self, text: str) -> None:
        self._conversation = attrs.evolve(self._conversation, system=text or None)
        self._say("system prompt set" if text else "system prompt removed")

    def _set(self, rest: str) -> None:
        if not rest:
            for line in state.describe_settings(self._conversation, self._session.defaults):
                self._say(line)
            return
        name, _, value = rest.partition(" ")
        self._conversation = self._conversation.set(name, value.strip())
        self._say(f"{name}: {value.strip() or 'the default'}")

    def _show(self, rest: str) -> None:
        del rest
        self._say(f"model: {self.model}")
        self._say(f"system: {self._conversation.system or '-'}")
        for name, value in self._conversation.settings().items():
            self._say(f"{name}: {value}")
        for message in self._conversation.messages:
            calls = [f"[call] {call.name} {call.arguments}" for call in message.tool_calls]
            for line in (*([f"[{message.role}] {message.content}"] if message.content or not calls else []), *calls):
                self._say(line)

    def _save(self, path: str) -> None:
        if state.exists(_needed(path, "/save FILE")):
            try:
                is_confirmed = self._lines.confirm(f"{path} exists. Overwrite it?")
            except KeyboardInterrupt:
                is_confirmed = False
            if is_confirmed is None:
                msg = f"Nothing saved, confirmation required: {path} exists"
                raise ConfirmationRequired(msg, hint=HintCode.FREE_FILE_NAME)
            if not is_confirmed:
                self._say("not saved")
                return
        state.save(path, self.model, self._conversation)
        self._say(f"saved in {path}")

    def _load(self, path: str) -> None:
        self._conversation = state.load(_needed(path, "/load FILE"), self._conversation)
        count = len(self._conversation.messages)
        self._say(f"loaded {count} {'message' if count == 1 else 'messages'}")

    def _clear(self, rest: str) -> None:
        del rest
        self._conversation = attrs.evolve(self._conversation, messages=())
        self._say("messages removed")

    def _model(self, name: str) -> None:
        """Switch to another model. The old one is unloaded first, because the memory is seldom enough for both."""
        spec = _needed(name, "/model NAME")
        self._models.check(spec)
        self._close_session()
        try:
            self._open(spec)
        except BaseException:  # also Ctrl-C
            self._say(f"going back to {self.model}")
            self._open(self._spec)
            raise
        self._spec = spec
        self._say(f"now talking to {self.model}")

    def _open(self, spec: str) -> None:
        self._session = self._models.open(spec)
        self._is_lost = False

    def _close_session(self) -> None:
        self._is_lost = True
        self._session.close()

    def _stats(self, rest: str) -> None:
        del rest
        self._say_wrapped(self._last or "Nothing was answered yet")

    def _exit(self, rest: str) -> None:
        del rest
        raise _Exit

    def _say_wrapped(self, text: str) -> None:
        for line in wrap_rows((text,), line_width(sys.stderr) or len(text)):
            self._say(line)

    def _say(self, text: str) -> None:
        for line in text.split("\n"):
            print_line((Span(line, Style.FAINT),), sys.stderr)

    def _print_error(self, error: KnifeError | OSError) -> None:
        if isinstance(error, KnifeError):
            print_text(error, hint_text(error.hint))
        else:
            print_line((Span("error: ", Style.BAD), f"{error.strerror}: {error.filename}"), sys.stderr)


def _needed(text: str, usage: str) -> str:
    if not text:
        name, _, argument = usage.partition(" ")
        msg = f"{name} needs a {argument}"
        raise ValidationError(msg, hint=Hint(HintCode.WRITE, text=usage))
    return text
