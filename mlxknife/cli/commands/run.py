"""``mlxk run``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Generator
from contextlib import ExitStack, closing

import attrs

from mlxknife.app import App
from mlxknife.cli import texts
from mlxknife.cli.answer import Answer
from mlxknife.cli.console import Console
from mlxknife.cli.render import speech
from mlxknife.cli.render.text import Span, Style
from mlxknife.cli.wire_work import RunData, TimingsObject, UsageObject
from mlxknife.domain.errors import FeatureDisabled, ValidationError
from mlxknife.domain.model.generation import CacheShape, Message, Outcome, Piece, PieceKind, Sampling, Wish
from mlxknife.domain.rules import memory, prompts, wishes
from mlxknife.domain.services.chat import Session

_STDIN = "-"


@attrs.frozen
class Options:
    """Which model, what it is asked, and how it is to answer."""

    model: str
    prompt: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    chat: bool = False
    system: str | None = None
    files: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    out: str | None = None
    separator: str = "\n\n"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = attrs.field(default=(), converter=tuple)
    no_stream: bool = False
    no_chat_template: bool = False
    reasoning: str = "auto"
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 0
    max_kv_size: int | None = None
    cpu_profile: str | None = None
    verbose: bool = False

    def wish(self) -> Wish:
        """Return what is wanted of the answer."""
        return Wish(
            sampling=Sampling(self.temperature, self.top_p, self.top_k, self.min_p, self.repetition_penalty, self.seed),
            cache=CacheShape(self.kv_bits, self.kv_group_size, self.quantized_kv_start, self.max_kv_size),
            max_tokens=self.max_tokens,
            stops=self.stop,
        )


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the model, the prompt and everything that shapes the answer."""
    parser.add_argument("model", metavar="MODEL", help="a model that is there, or a folder")
    parser.add_argument("prompt", metavar="PROMPT", nargs="*", help="what to ask; - reads it from stdin")
    parser.add_argument("-c", "--chat", action="store_true", help="talk to it (also without a prompt)")
    parser.add_argument("--system", metavar="TEXT", help="a system text; @FILE takes it from a file")
    parser.add_argument(
        "--in",
        dest="files",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="texts to put before the prompt",
    )
    parser.add_argument("--out", metavar="FILE", help="write the answer to a file, too")
    parser.add_argument(
        "--separator", metavar="S", default="\n\n", help="what stands between stdin and further words (a blank line)"
    )
    _add_generation(parser)
    parser.add_argument("--no-stream", action="store_true", help="show the answer when it is whole")
    parser.add_argument("--no-chat-template", action="store_true", help="give the model the prompt as it is")
    _add_reasoning(parser)
    parser.add_argument(
        "--cpu-profile", choices=memory.PROFILES, help="how a machine without GPU is used (the memory decides)"
    )
    parser.add_argument("--verbose", action="store_true", help="say what was decided, and how long it took")


def run(app: App, options: Options, console: Console) -> Answer:
    """Ask a model one question, or talk to it."""
    wish = options.wish()
    wishes.check(wish)
    if options.chat or not (options.prompt or options.files):
        return _talk(app, options, console, wish)
    messages = _messages(options, has_pipes=app.settings.has_pipes)
    with app.chat.open(options.model, profile=options.cpu_profile) as session:
        if options.verbose:
            for note in session.model.notes:
                console.say((Span(note, Style.FAINT),))
        pieces = session.answer(messages, wish, with_template=not options.no_chat_template)
        outcome = _heard(pieces, options, console)
        name = session.info.name
    if options.verbose:
        console.say((Span(speech.statistics(outcome), Style.FAINT),))
    return Answer(data=lambda: _data(name, outcome), lines=lambda _: ())


def _talk(app: App, options: Options, console: Console, wish: Wish) -> Answer:
    """Hold a conversation until the user leaves it."""
    if console.is_for_program or options.out is not None or options.no_chat_template:
        msg = "A chat has no --json, --out or --no-chat-template"
        raise ValidationError(msg, hint="Write a question behind the model")
    from mlxknife.cli.chat.lines import EditedLines, PlainLines  # noqa: PLC0415 - only to chat
    from mlxknife.cli.chat.loop import Loop  # noqa: PLC0415
    from mlxknife.cli.chat.state import Conversation  # noqa: PLC0415

    def open_session(spec: str) -> Session:
        return app.chat.open(spec, profile=options.cpu_profile)

    lines = EditedLines(app.settings.chat_history) if console.can_ask else PlainLines()
    session = open_session(options.model)
    if console.can_ask:
        console.say((f"{session.info.name} (/help tells more, Ctrl-D leaves)",))
    loop = Loop(open_session, session, Conversation(wish, _system_text(options)), lines, _kinds(options))
    with closing(loop):
        loop.run()
    return Answer(data=lambda: None, lines=lambda _: ())


def _system_text(options: Options) -> str | None:
    if options.system is not None and options.system.startswith("@"):
        return texts.from_file(options.system[1:])
    return options.system if options.system is None else texts.checked(options.system, "The system text")


def _messages(options: Options, *, has_pipes: bool) -> tuple[Message, ...]:
    """Put the conversation together from the words, stdin and files that were named."""
    words = [texts.checked(word, "The prompt") for word in options.prompt]
    if _STDIN in words[1:]:
        msg = "- must be the first word of the prompt"
        raise ValidationError(msg)
    question = " ".join(words)
    if words[:1] == [_STDIN]:
        if not has_pipes:
            msg = "Reading from stdin is switched off"
            raise FeatureDisabled(msg, hint="Unset MLXK2_ENABLE_PIPES, or set it to 1")
        further = " ".join(words[1:])
        separator = texts.unescaped(options.separator)
        question = texts.from_stdin().rstrip("\n") + (separator + further if further else "")
    context = [(name, texts.from_file(name)) for name in options.files]
    return prompts.assembled((question,), context, _system_text(options))


def _heard(pieces: Generator[Piece, None, Outcome], options: Options, console: Console) -> Outcome:
    """Show an answer as it comes, or when it is whole, and return it; what was shown stays when it fails."""
    shown = speech.Speech(sys.stdout, _kinds(options)) if not console.is_for_program else None
    kept: list[Piece] = []
    with ExitStack() as stack:
        out = stack.enter_context(open(options.out, "w", encoding="utf-8")) if options.out is not None else None
        if shown is not None:
            stack.callback(shown.end)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
            if out is not None and piece.kind is PieceKind.ANSWER:
                out.write(piece.text)
                out.flush()
            if options.no_stream:
                kept.append(piece)
            elif shown is not None:
                shown.hear(piece)
        if shown is not None:
            for piece in kept:
                shown.hear(piece)
    return outcome


def _kinds(options: Options) -> tuple[PieceKind, ...]:
    """Return what is shown: on a terminal also the reasoning, in a pipe only the answer, unless somebody said."""
    if options.reasoning == "only":
        return (PieceKind.REASONING,)
    is_wanted = options.reasoning == "show" or (options.reasoning == "auto" and sys.stdout.isatty())
    return (PieceKind.REASONING, PieceKind.ANSWER) if is_wanted else (PieceKind.ANSWER,)


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


def _add_generation(parser: ArgumentParser) -> None:
    group = parser.add_argument_group(
        "how it answers", "Without these the model's own settings hold, then the product's."
    )
    group.add_argument("--max-tokens", type=int, metavar="N", help=f"the longest answer (default: {wishes.MAX_TOKENS})")
    group.add_argument("--temperature", type=float, metavar="T", help="0 is always the likeliest token")
    group.add_argument("--top-p", type=float, metavar="P", help="only the likeliest tokens that make up this share")
    group.add_argument("--top-k", type=int, metavar="K", help="only so many of the likeliest tokens")
    group.add_argument("--min-p", type=float, metavar="P", help="only tokens this likely against the likeliest")
    group.add_argument(
        "--repetition-penalty", type=float, metavar="R", help="above 1: what was said becomes less likely"
    )
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same answer")
    group.add_argument("--stop", metavar="S", nargs="+", action="extend", default=[], help="end where this text begins")
    group.add_argument("--kv-bits", type=int, metavar="N", help="quantise what the model remembers")
    group.add_argument("--kv-group-size", type=int, metavar="N", default=64, help="in groups of this size (64)")
    group.add_argument("--quantized-kv-start", type=int, metavar="N", default=0, help="from this token on (0)")
    group.add_argument("--max-kv-size", type=int, metavar="N", help="remember so many tokens, then forget the oldest")


def _add_reasoning(parser: ArgumentParser) -> None:
    choices = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--show-reasoning", "show", "show what the model thinks, in a pipe too"),
        ("--hide-reasoning", "hide", "show only the answer, on a terminal too"),
        ("--think-only", "only", "show only what the model thinks"),
    ):
        choices.add_argument(flag, dest="reasoning", action="store_const", const=value, default="auto", help=text)
