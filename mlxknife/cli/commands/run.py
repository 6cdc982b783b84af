"""``mlxk run``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain

import attrs

from mlxknife.app import App
from mlxknife.cli import prompt_input
from mlxknife.cli.arguments import STDIN, UsageError
from mlxknife.cli.commands.run_arguments import add_arguments
from mlxknife.cli.console import Console
from mlxknife.cli.keyboard import answering
from mlxknife.cli.output_file import OutputFile
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.render.answer import AnswerPrinter, cut_note, statistics
from mlxknife.cli.render.answer_json import interrupted_data, run_data
from mlxknife.cli.render.text import Span, Style
from mlxknife.cli.result import CommandInterrupted, CommandResult
from mlxknife.cli.signals import exit_on_signals, propagate_interrupts
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import FeatureDisabled, StorageError
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.rules import prompts
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind
from mlxknife.domain.generation.values.request import GenerationOptions, KVCacheOptions, Message, SamplingParameters
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.info import Capability, ModelInfo

__all__ = ["OPTIONS", "RunOptions", "add_arguments", "run"]


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _groups(values: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in values)


@attrs.frozen
class RunOptions:
    """The model, the prompt, and the generation options."""

    model: str
    prompt: tuple[str, ...] = attrs.field(default=(), converter=_words)
    prompt_text: str | None = None
    """The text of ``--prompt``."""
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
    """The values of each ``--stop``."""
    stream: bool = True
    plain: bool = False
    history: bool = True
    loop_guard: bool = True
    pull: bool | None = None
    """Whether to pull a model that is not here; None asks on a terminal."""
    no_chat_template: bool = False
    reasoning: str = "auto"
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 0
    max_kv_size: int | None = None
    draft_model: str | None = None
    cpu_profile: str | None = None
    allow_remote_code: bool = False
    verbose: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the prompt; ``-`` among them is stdin."""
        return self.prompt if self.prompt_text is None else (*self.prompt, self.prompt_text)

    def generation(self) -> GenerationOptions:
        """Return the generation options."""
        return GenerationOptions(
            sampling=SamplingParameters(
                self.temperature, self.top_p, self.top_k, self.min_p, self.repetition_penalty, self.seed
            ),
            kv_cache=KVCacheOptions(self.kv_bits, self.kv_group_size, self.quantized_kv_start, self.max_kv_size),
            max_tokens=self.max_tokens,
            stop=tuple(chain.from_iterable(self.stop)),
            has_loop_guard=self.loop_guard,
        )


OPTIONS = RunOptions


def run(app: App, options: RunOptions, console: Console) -> CommandResult:
    """Answer one prompt, or start a chat."""
    try:
        return _run(app, options, console)
    except KeyboardInterrupt:
        console.note_stopped()
        raise


def _run(app: App, options: RunOptions, console: Console) -> CommandResult:
    generation = options.generation()
    rules.check(generation, has_draft=options.draft_model is not None)
    if options.chat or not (options.words or options.files):
        return _chat(app, options, console, generation)
    file = OutputFile(options.out) if options.out is not None else None
    if file is not None:
        file.check()
    messages = _messages(options, pipes_off_by=app.settings.pipes_off_by)
    with _opened(app, options, console, options.model) as session:
        name, received = session.info.name, list[TextDelta]()
        answer = session.answer(messages, generation, use_chat_template=not options.no_chat_template)
        printer = None if console.is_json else _printer(options)
        parts, terminal = ((), None) if printer is None else ((printer,), sys.stdout)
        try:
            with propagate_interrupts(), answering(session.client, *parts, terminal=terminal), closing(answer):
                result = _printed(answer, received, printer, file)
        except KeyboardInterrupt as exc:
            raise CommandInterrupted(interrupted_data(name, received)) from exc
    note = cut_note(result, session.info.traits.context_length, "--max-tokens")
    for line in (note, statistics(result) if options.verbose else None):
        if line is not None:
            console.note((Span(line, Style.FAINT),))
    return CommandResult(data=lambda: run_data(name, messages[-1].content, result), lines=lambda _: ())


def _opened(app: App, options: RunOptions, console: Console, spec: str) -> Session:
    """Load a model; the draft model only with the model that it was named for."""
    draft = options.draft_model if spec == options.model else None

    def loaded() -> Session:
        with propagate_interrupts(), console.status(f"loading {spec}"):
            return app.sessions.open(
                spec,
                profile=options.cpu_profile,
                draft=draft,
                max_kv_size=options.max_kv_size,
                allow_remote_code=options.allow_remote_code,
                on_remote_code=partial(_warn_of_code, console),
            )

    offer = PullOffer(app, console, options.pull)
    session = offer.with_models(loaded, spec) if draft is None else offer.with_models(loaded, spec, draft)
    if options.verbose:
        drafts = () if session.draft is None else (f"draft model: {session.draft.name}",)
        for note in (*session.notes, *drafts):
            console.note((Span(note, Style.FAINT),))
    return session


def _warn_of_code(console: Console, info: ModelInfo, code: RemoteCode) -> None:
    console.warn(f"code of the repo of {info.name} runs with your rights: {code.file} ({code.key})")


def _chat(app: App, options: RunOptions, console: Console, generation: GenerationOptions) -> CommandResult:
    """Hold a conversation until the user leaves it."""
    _check_chat(options, console)
    from mlxknife.cli.chat.completion import Completions  # noqa: PLC0415 - only for a chat
    from mlxknife.cli.chat.lines import EditedLines, PlainLines  # noqa: PLC0415
    from mlxknife.cli.chat.loop import ChatLoop, ChatModels  # noqa: PLC0415
    from mlxknife.cli.chat.state import Conversation  # noqa: PLC0415

    first = None
    if options.words or options.files:
        first = _messages(options, pipes_off_by=app.settings.pipes_off_by)[-1].content
    conversation = Conversation(generation, _system_text(options))

    def check(spec: str) -> ModelInfo:
        return PullOffer(app, console, options.pull).with_models(
            lambda: app.sessions.check(spec, allow_remote_code=options.allow_remote_code), spec
        )

    models = ChatModels(check, partial(_opened, app, options, console), options.model)
    if console.can_prompt:
        exit_on_signals(signal.SIGTERM)  # so that the terminal is restored
    history = app.settings.chat_history if options.history else None
    names = partial(_runnable_names, app)
    loop = ChatLoop(
        models,
        conversation,
        EditedLines(history, Completions(names)) if console.can_prompt else PlainLines(),
        partial(_printer, options),
        prints_statistics=options.verbose,
        prints_rate=console.can_prompt,
    )
    with closing(loop):
        if console.can_prompt:
            console.note((f"{loop.model} (/help lists the commands, Ctrl-D leaves)",))
        loop.run(first)
    return CommandResult(data=lambda: None, lines=lambda _: ())


def _runnable_names(app: App) -> list[str]:
    return [
        model.name
        for model in app.catalog.list()
        if model.runtime_compatible and Capability.TEXT_GENERATION in model.traits.capabilities
    ]


def _check_chat(options: RunOptions, console: Console) -> None:
    if console.is_json or options.out is not None or options.no_chat_template:
        msg = "A chat has no --json, --out or --no-chat-template"
        raise UsageError(msg, hint="Write a question after the model")
    if not options.chat and any(len(stops) > 1 for stops in options.stop[-1:]):
        msg = f"No prompt: --stop took all of {', '.join(map(repr, options.stop[-1]))}"
        raise UsageError(msg, hint="Write the prompt before it, or after a --; -c starts a chat")


def _system_text(options: RunOptions) -> str | None:
    if options.system is not None and options.system.startswith("@"):
        return prompt_input.read_file(options.system[1:])
    return options.system if options.system is None else prompt_input.checked_utf8(options.system, "The system prompt")


def _messages(options: RunOptions, *, pipes_off_by: str | None) -> tuple[Message, ...]:
    """Assemble the conversation from the words, stdin and files."""
    words = [prompt_input.checked_utf8(word, "The prompt") for word in options.words]
    context = [(name, _context(name, has_prompt=bool(words))) for name in options.files]
    system = _system_text(options)
    question = " ".join(word for word in words if word != STDIN)
    if STDIN in words:
        if pipes_off_by is not None:
            msg = f"{pipes_off_by} turns off reading from stdin"
            value = "1" if pipes_off_by.isupper() else "true"
            raise FeatureDisabled(msg, hint=Hint(HintCode.TURN_ON, name=pipes_off_by, value=value))
        separator = prompt_input.unescape(options.separator)
        question = prompt_input.read_stdin().rstrip("\n") + (separator + question if question else "")
    return prompts.assembled((question,), context, system)


def _context(name: str, *, has_prompt: bool) -> str:
    try:
        return prompt_input.read_file(name)
    except FileNotFoundError as exc:
        msg = f"{exc.strerror}: {name}"
        raise StorageError(msg, hint=None if has_prompt else HintCode.IN_TAKES_EVERY_WORD) from exc


def _printed(
    answer: Generator[TextDelta, None, GenerationResult],
    received: list[TextDelta],
    printer: AnswerPrinter | None,
    file: OutputFile | None,
) -> GenerationResult:
    """Collect an answer, print it and write it to a file while it is generated. A failure keeps what was written."""
    with ExitStack() as stack:
        if file is not None:
            stack.enter_context(file)
        if printer is not None:
            stack.callback(printer.end)
        while True:
            try:
                delta = next(answer)
            except StopIteration as end:
                result: GenerationResult = end.value
                break
            received.append(delta)
            if file is not None and delta.kind is TextKind.ANSWER:
                file.write(delta.text)
            if printer is not None:
                printer.write(delta)
        if file is not None:
            file.write("")
    return result


def _printer(options: RunOptions) -> AnswerPrinter:
    return AnswerPrinter(sys.stdout, _kinds(options), is_streaming=options.stream, is_plain=options.plain)


def _kinds(options: RunOptions) -> tuple[TextKind, ...]:
    """Return the kinds of text to print: by default reasoning only on a terminal, the answer everywhere."""
    if options.reasoning == "only":
        return (TextKind.REASONING,)
    has_reasoning = options.reasoning == "show" or (options.reasoning == "auto" and sys.stdout.isatty())
    return (TextKind.REASONING, TextKind.ANSWER) if has_reasoning else (TextKind.ANSWER,)
