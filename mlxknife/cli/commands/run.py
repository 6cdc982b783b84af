"""``mlxk run``."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import closing
from functools import partial

from mlxknife.app import App
from mlxknife.cli.answer_form import AnswerForm, named_by_option
from mlxknife.cli.answer_output import AnswerOutput
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.commands import question
from mlxknife.cli.commands.run_arguments import add_arguments
from mlxknife.cli.commands.run_chat import chat, check_chat
from mlxknife.cli.commands.run_options import RunOptions
from mlxknife.cli.console import Console
from mlxknife.cli.keyboard import answering, drop_typed
from mlxknife.cli.output_file import OutputFile
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.render.answer import AnswerPrinter, cut_note, statistics
from mlxknife.cli.render.answer_json import interrupted_data, run_data
from mlxknife.cli.render.hits import source_lines, source_objects
from mlxknife.cli.render.text import Span, Style
from mlxknife.cli.result import CommandFailed, CommandInterrupted, CommandResult
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.cli.tool_calls import AnswerSettings, OfferedTools, call_line, prepared, result_line, tool_choice
from mlxknife.cli.tool_files import read_tools
from mlxknife.domain.checks import check_range
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.services.tool_loop import MOST_ROUNDS
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind
from mlxknife.domain.generation.values.request import GenerationOptions, Message
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.retrieval.rules import context
from mlxknife.domain.retrieval.values import Hit
from mlxknife.domain.tools.values import ToolCall, ToolMode, ToolUse

__all__ = ["OPTIONS", "RunOptions", "add_arguments", "run"]

OPTIONS = RunOptions


def run(app: App, options: RunOptions, console: Console) -> CommandResult:
    """Answer one prompt, or start a chat."""
    try:
        return _run(app, options, console)
    except KeyboardInterrupt:
        console.note_stopped()
        raise


def _run(app: App, options: RunOptions, console: Console) -> CommandResult:
    form = options.form()
    generation = options.generation(form)
    with named_by_option(form):
        rules.check(generation, has_draft=options.draft_model is not None)
    if options.chat or not (options.words or options.files):
        if options.context is not None:
            msg = "--context needs a question"
            raise UsageError(msg, hint="Write the question after the model; a chat cannot use an index")
        check_chat(options, console)
        open_model, new_printer = partial(_opened, app, options, console), partial(_printer, options, form)
        settings = AnswerSettings(generation, form, _tools(app, options, console))
        return chat(app, options, console, settings, open_model, new_printer)
    with named_by_option(form):
        return _answer(app, options, console, generation, form)


def _answer(
    app: App, options: RunOptions, console: Console, generation: GenerationOptions, form: AnswerForm | None
) -> CommandResult:
    """Answer one prompt."""
    file = OutputFile(options.out) if options.out is not None else None
    if file is not None:
        file.check()
    asked = question.read(options, pipes_off_by=app.settings.pipes_off_by)
    asked.messages()  # an empty question is refused before anything is loaded
    settings = AnswerSettings(generation, form, _tools(app, options, console))
    output = _output(options, console, settings, file)
    found = _passages(app, options, console, asked.text)
    with _opened(app, options, console, options.model) as session:
        name = session.info.name
        hits = context.fitting(found, session.info.traits.context_length)
        messages = asked.messages(hits)
        try:
            with propagate_interrupts():
                result = _collected(session, messages, settings, options, console, output)
        except KeyboardInterrupt as exc:
            raise CommandInterrupted(interrupted_data(name, output.received)) from exc
    note = cut_note(result, session.info.traits.context_length, "--max-tokens")
    is_complete = form is None or form.is_complete(result)
    for source in source_lines(hits):
        console.note(source)
    for line in (note if is_complete else None, statistics(result) if options.verbose else None):
        if line is not None:
            console.note((Span(line, Style.FAINT),))
    has_tools = bool(settings.tools.functions)
    parsed = None if form is None else form.document(result)
    sources = None if options.context is None else source_objects(hits)
    data = partial(run_data, name, messages[-1].content, result, parsed, has_tools=has_tools, sources=sources)
    if form is not None and not is_complete:
        raise CommandFailed(form.incomplete(note), data())
    return CommandResult(data=data, lines=lambda _: ())


def _passages(app: App, options: RunOptions, console: Console, asked: str) -> tuple[Hit, ...]:
    """Return what the index of ``--context`` has for a question. Raises what ``index_search.passages`` raises."""
    if options.context is None:
        return ()
    from mlxknife.cli import index_search  # noqa: PLC0415 - most questions need no index

    return index_search.passages(app, options.context, console, asked, pull=options.pull)


def _output(options: RunOptions, console: Console, settings: AnswerSettings, file: OutputFile | None) -> AnswerOutput:
    """Return where the answer goes. A pipe and a file get no answer that lacks its form, and no text before calls."""
    form, has_tools = settings.form, bool(settings.tools.functions)
    is_wanted = form.is_complete if form is not None else (lambda _: True) if has_tools else None
    holds_text = is_wanted is not None and not sys.stdout.isatty()
    printer = None if console.is_json else _printer(options, form, holds_text=holds_text)
    return AnswerOutput(printer, file, lambda use: console.note(result_line(use)), is_wanted, holds_text)


def _collected(
    session: Session,
    messages: tuple[Message, ...],
    settings: AnswerSettings,
    options: RunOptions,
    console: Console,
    output: AnswerOutput,
) -> GenerationResult:
    """Generate an answer, with the calls on the way to it, and print it."""
    parts = () if output.printer is None else (output.printer,)
    tools, terminal = settings.tools, None if output.printer is None else sys.stdout
    with answering(session.client, *parts, terminal=terminal) as asking:

        def approve(call: ToolCall) -> bool:
            output.interrupt()
            if tools.is_approved or console.can_prompt:
                console.note(call_line(call))
            with asking():
                return tools.approve(call, partial(_confirmed, console))

        answer: Generator[TextDelta | ToolUse, None, GenerationResult]
        if tools.functions:
            loop = session.with_tools(tools.functions, approve=approve, max_tool_rounds=tools.max_rounds)
            answer = loop.answer(messages, settings.options, tools.choice)
        else:
            answer = session.answer(messages, settings.options, use_chat_template=not options.no_chat_template)
        with closing(answer):
            return output.collect(answer)


def _confirmed(console: Console, question: str) -> bool | None:
    """Return the answer of the user to a question that was not answered before it was asked."""
    if not console.can_prompt:
        return None
    drop_typed(sys.stdin)
    return console.confirm((), question)


def _tools(app: App, options: RunOptions, console: Console) -> OfferedTools:
    """Return the functions of the file of ``--tools``. Raises what ``read_tools`` raises."""
    if options.tools is None:
        if options.tool_choice != ToolMode.AUTO.value:
            msg = "--tool-choice needs --tools"
            raise UsageError(msg)
        if options.yes:
            msg = "--yes needs --tools"
            raise UsageError(msg)
        return OfferedTools()
    if options.no_chat_template:
        msg = "--tools needs the chat template: it tells the model about them"
        raise UsageError(msg, hint="Leave out --no-chat-template")
    check_range("--max-tool-rounds", options.max_tool_rounds, 1, MOST_ROUNDS)

    def warn_of_skipped(name: str) -> None:
        console.warn(f"the function '{name}' is not offered: it has a parameter without a type hint")

    functions = read_tools(options.tools, app.settings, warn_of_skipped)
    names = [app.sessions.functions.tool(function).name for function in functions]
    choice = tool_choice(options.tool_choice, names)
    return OfferedTools(tuple(map(prepared, functions)), choice, options.max_tool_rounds, is_approved=options.yes)


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


def _printer(options: RunOptions, form: AnswerForm | None, *, holds_text: bool = False) -> AnswerPrinter:
    is_streaming, is_plain = options.stream and not holds_text, options.plain or form is not None
    return AnswerPrinter(sys.stdout, _kinds(options), is_streaming=is_streaming, is_plain=is_plain)


def _kinds(options: RunOptions) -> tuple[TextKind, ...]:
    """Return the kinds of text to print: by default reasoning only on a terminal, the answer everywhere."""
    if options.reasoning == "only":
        return (TextKind.REASONING,)
    has_reasoning = options.reasoning == "show" or (options.reasoning == "auto" and sys.stdout.isatty())
    return (TextKind.REASONING, TextKind.ANSWER) if has_reasoning else (TextKind.ANSWER,)
