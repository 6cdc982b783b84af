"""``mlxk run``."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing, redirect_stdout
from functools import partial
from itertools import chain

import attrs

from mlxknife.app import App
from mlxknife.cli import text_io
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.commands.run_arguments import add_arguments
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import InterruptedRunData, RunData, TimingsObject, UsageObject
from mlxknife.cli.render.answer import AnswerPrinter, statistics
from mlxknife.cli.render.text import Span, Style
from mlxknife.cli.result import CommandInterrupted, CommandResult
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.cli.text_io import OutputFile
from mlxknife.domain.errors import FeatureDisabled, StorageError, ValidationError
from mlxknife.domain.generation.rules import options as wishes
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.values.generation import CacheShape, Message, Outcome, Piece, PieceKind, Sampling, Wish
from mlxknife.domain.hints import HintCode

__all__ = ["OPTIONS", "RunOptions", "add_arguments", "run"]

_STDIN = "-"


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _groups(values: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in values)


@attrs.frozen
class RunOptions:
    """Which model, what it is asked, and how it is to answer."""

    model: str
    prompt: tuple[str, ...] = attrs.field(default=(), converter=_words)
    chat: bool = False
    system: str | None = None
    files: tuple[str, ...] = attrs.field(default=(), converter=_words)
    out: str | None = None
    separator: str = "\n\n"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[tuple[str, ...], ...] = attrs.field(default=(), converter=_groups)
    """What each ``--stop`` took."""
    no_stream: bool = False
    no_chat_template: bool = False
    reasoning: str = "auto"
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 0
    max_kv_size: int | None = None
    draft_model: str | None = None
    cpu_profile: str | None = None
    verbose: bool = False

    def wish(self) -> Wish:
        """Return what is wanted of the answer."""
        return Wish(
            sampling=Sampling(self.temperature, self.top_p, self.top_k, self.min_p, self.repetition_penalty, self.seed),
            cache=CacheShape(self.kv_bits, self.kv_group_size, self.quantized_kv_start, self.max_kv_size),
            max_tokens=self.max_tokens,
            stops=tuple(chain.from_iterable(self.stop)),
        )


OPTIONS = RunOptions


def run(app: App, options: RunOptions, console: Console) -> CommandResult:
    """Ask a model one question, or talk to it."""
    try:
        return _run(app, options, console)
    except KeyboardInterrupt:
        console.note_stopped()
        raise


def _run(app: App, options: RunOptions, console: Console) -> CommandResult:
    wish = options.wish()
    wishes.check(wish, has_draft=options.draft_model is not None)
    if options.chat or not (options.prompt or options.files):
        return _talk(app, options, console, wish)
    file = OutputFile(options.out) if options.out is not None else None
    if file is not None:
        file.check()
    messages = _messages(options, has_pipes=app.settings.has_pipes)
    with _opened(app, options, console, options.model) as session:
        name, said = session.info.name, list[Piece]()
        try:
            with propagate_interrupts():
                pieces = session.answer(messages, wish, with_template=not options.no_chat_template)
                outcome = _heard(pieces, said, None if console.is_json else _speech(options), file)
        except KeyboardInterrupt as exc:
            raise CommandInterrupted(_said(name, said)) from exc
    if options.verbose:
        console.note((Span(statistics(outcome), Style.FAINT),))
    return CommandResult(data=lambda: _data(name, outcome), lines=lambda _: ())


def _opened(app: App, options: RunOptions, console: Console, spec: str) -> Session:
    """Load a model, the draft model only with the one that it was named for; say how, if that is wanted."""
    draft = options.draft_model if spec == options.model else None
    waiting = console.status(f"loading {spec}")
    with propagate_interrupts(), waiting, redirect_stdout(sys.stderr):  # mlx-lm prints warnings
        session = app.chat.open(spec, profile=options.cpu_profile, draft=draft, window=options.max_kv_size)
    if options.verbose:
        guesses = () if session.draft is None else (f"guesses ahead: {session.draft.name}",)
        for note in (*session.model.notes, *guesses):
            console.note((Span(note, Style.FAINT),))
    return session


def _talk(app: App, options: RunOptions, console: Console, wish: Wish) -> CommandResult:
    """Hold a conversation until the user leaves it."""
    _check_talk(options, console)
    from mlxknife.cli.chat.lines import EditedLines, PlainLines  # noqa: PLC0415 - only to chat
    from mlxknife.cli.chat.loop import Loop, Models  # noqa: PLC0415
    from mlxknife.cli.chat.state import Conversation  # noqa: PLC0415

    first = None
    if options.prompt or options.files:
        first = _messages(options, has_pipes=app.settings.has_pipes)[-1].content
    conversation = Conversation(wish, _system_text(options))
    models = Models(app.chat.check, partial(_opened, app, options, console), options.model)
    lines = EditedLines(app.settings.chat_history) if console.can_prompt else PlainLines()
    with closing(Loop(models, conversation, lines, partial(_speech, options), says_statistics=options.verbose)) as loop:
        if console.can_prompt:
            console.note((f"{loop.model} (/help tells more, Ctrl-D leaves)",))
        loop.run(first)
    return CommandResult(data=lambda: None, lines=lambda _: ())


def _check_talk(options: RunOptions, console: Console) -> None:
    if console.is_json or options.out is not None or options.no_chat_template:
        msg = "A chat has no --json, --out or --no-chat-template"
        raise UsageError(msg, hint="Write a question after the model")
    if not options.chat and any(len(stops) > 1 for stops in options.stop[-1:]):
        msg = f"Nothing is asked: --stop took all of {', '.join(map(repr, options.stop[-1]))}"
        raise UsageError(msg, hint="Write the prompt before it, or after a --; -c starts a chat")


def _system_text(options: RunOptions) -> str | None:
    if options.system is not None and options.system.startswith("@"):
        return text_io.read_file(options.system[1:])
    return options.system if options.system is None else text_io.checked_utf8(options.system, "The system text")


def _messages(options: RunOptions, *, has_pipes: bool) -> tuple[Message, ...]:
    """Put the conversation together from the words, stdin and files that were named."""
    words = [text_io.checked_utf8(word, "The prompt") for word in options.prompt]
    if _STDIN in words[1:]:
        msg = "- must be the first word of the prompt"
        raise ValidationError(msg)
    context = [(name, _context(name, has_prompt=bool(words))) for name in options.files]
    system = _system_text(options)
    question = " ".join(words)
    if words[:1] == [_STDIN]:
        if not has_pipes:
            msg = "Reading from stdin is switched off"
            raise FeatureDisabled(msg, hint=HintCode.ENABLE_PIPES)
        further = " ".join(words[1:])
        separator = text_io.unescape(options.separator)
        question = text_io.read_stdin().rstrip("\n") + (separator + further if further else "")
    return prompts.assembled((question,), context, system)


def _context(name: str, *, has_prompt: bool) -> str:
    try:
        return text_io.read_file(name)
    except FileNotFoundError as exc:
        msg = f"{exc.strerror}: {name}"
        raise StorageError(msg, hint=None if has_prompt else HintCode.IN_TAKES_EVERY_WORD) from exc


def _heard(
    pieces: Generator[Piece, None, Outcome],
    said: list[Piece],
    shown: AnswerPrinter | None,
    file: OutputFile | None,
) -> Outcome:
    """Note, show and write an answer to a file as it comes; what was noted and written stays when it fails."""
    with ExitStack() as stack:
        if file is not None:
            stack.enter_context(file)
        if shown is not None:
            stack.callback(shown.end)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
            said.append(piece)
            if file is not None and piece.kind is PieceKind.ANSWER:
                file.write(piece.text)
            if shown is not None:
                shown.write(piece)
        if file is not None:
            file.write("")
    return outcome


def _speech(options: RunOptions) -> AnswerPrinter:
    return AnswerPrinter(sys.stdout, _kinds(options), is_streaming=not options.no_stream)


def _kinds(options: RunOptions) -> tuple[PieceKind, ...]:
    """Return what is shown: on a terminal also the reasoning, in a pipe only the answer, unless somebody said."""
    if options.reasoning == "only":
        return (PieceKind.REASONING,)
    is_wanted = options.reasoning == "show" or (options.reasoning == "auto" and sys.stdout.isatty())
    return (PieceKind.REASONING, PieceKind.ANSWER) if is_wanted else (PieceKind.ANSWER,)


def _said(name: str, pieces: Sequence[Piece]) -> InterruptedRunData:
    thought, answer = (
        "".join(piece.text for piece in pieces if piece.kind is kind)
        for kind in (PieceKind.REASONING, PieceKind.ANSWER)
    )
    return InterruptedRunData(model=name, response=answer, reasoning=thought or None)


def _data(name: str, outcome: Outcome) -> RunData:
    return RunData(
        model=name,
        response=outcome.answer,
        reasoning=outcome.reasoning or None,
        finish_reason=outcome.finish_reason.value,
        usage=UsageObject(
            prompt_tokens=outcome.usage.prompt_tokens,
            completion_tokens=outcome.usage.completion_tokens,
            total_tokens=outcome.usage.total_tokens,
        ),
        timings=TimingsObject(**attrs.asdict(outcome.timings)),
    )
