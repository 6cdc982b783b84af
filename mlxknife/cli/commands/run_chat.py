"""``mlxk run`` without a prompt, and ``mlxk chat``: the options of a chat, and its parts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import closing
from functools import partial

from mlxknife.app import App
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.commands import question
from mlxknife.cli.commands.run_options import RunOptions
from mlxknife.cli.console import Console
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.render.answer import AnswerPrinter
from mlxknife.cli.render.text import Span, Style
from mlxknife.cli.result import CommandResult
from mlxknife.cli.signals import exit_on_signals
from mlxknife.cli.tool_calls import AnswerSettings
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.models.values.info import Capability, ModelInfo


def check_chat(options: RunOptions, console: Console) -> None:
    """Raise UsageError for options that a chat does not have."""
    if console.is_json or options.out is not None or options.no_chat_template:
        msg = "A chat has no --json, --out or --no-chat-template"
        raise UsageError(msg, hint="Write a question after the model")
    if not options.chat and any(len(stops) > 1 for stops in options.stop[-1:]):
        msg = f"No prompt: --stop took all of {', '.join(map(repr, options.stop[-1]))}"
        raise UsageError(msg, hint="Write the prompt before it, or after a --; -c starts a chat")


def chat(
    app: App,
    options: RunOptions,
    console: Console,
    settings: AnswerSettings,
    open_model: Callable[[str], Session],
    new_printer: Callable[[], AnswerPrinter],
) -> CommandResult:
    """Hold a conversation until the user leaves it."""
    from mlxknife.cli.chat.completion import Completions  # noqa: PLC0415 - only for a chat
    from mlxknife.cli.chat.lines import EditedLines, PlainLines  # noqa: PLC0415
    from mlxknife.cli.chat.loop import ChatLoop, ChatModels  # noqa: PLC0415
    from mlxknife.cli.chat.state import Conversation  # noqa: PLC0415

    first = None
    if options.words or options.files:
        first = question.read(options, pipes_off_by=app.settings.pipes_off_by).messages()[-1].content
    system = question.system_text(options)
    conversation = Conversation(settings.options, system, form=settings.form, tools=settings.tools)

    def check(spec: str) -> ModelInfo:
        return PullOffer(app, console, options.pull).with_models(
            lambda: app.sessions.check(spec, allow_remote_code=options.allow_remote_code), spec
        )

    models = ChatModels(check, open_model, options.model)
    if console.can_prompt:
        exit_on_signals(signal.SIGTERM)  # so that the terminal is restored
    history = app.settings.chat_history if options.history else None
    names = partial(_runnable_names, app)
    loop = ChatLoop(
        models,
        conversation,
        EditedLines(history, Completions(names)) if console.can_prompt else PlainLines(),
        new_printer,
        prints_statistics=options.verbose,
        prints_rate=console.can_prompt,
    )
    with closing(loop):
        if console.can_prompt:
            console.note((f"{loop.model} (/help lists the commands, Ctrl-D leaves)",))
            if settings.tools.functions:
                console.note((Span(f"tools: {', '.join(settings.tools.names)}", Style.FAINT),))
        loop.run(first)
    return CommandResult(data=lambda: None, lines=lambda _: ())


def _runnable_names(app: App) -> list[str]:
    return [
        model.name
        for model in app.catalog.list()
        if model.runtime_compatible and Capability.TEXT_GENERATION in model.traits.capabilities
    ]
