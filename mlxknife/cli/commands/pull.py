"""``mlxk pull``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from typing import Literal

import attrs

from mlxknife.app import App
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import PullData, PulledFile
from mlxknife.cli.render.pull import pull_lines, starter_lines
from mlxknife.cli.result import CommandFailed, CommandResult
from mlxknife.domain.errors import AmbiguousMatch, KnifeError, ValidationError
from mlxknife.domain.models.rules import starters
from mlxknife.domain.transfer.values import PullPlan, PullRequest

PullStatus = Literal["success", "already_exists", "would_download"]
_HUB_OPTIONS = ("revision", "include", "exclude", "force")


def _patterns(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class PullOptions:
    """The model, which of its files to download, and how."""

    model: str
    revision: str | None = None
    include: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    exclude: tuple[str, ...] = attrs.field(default=(), converter=_patterns)
    force: bool = False
    dry_run: bool = False
    force_resume: bool = False
    """Without effect: a pull always resumes."""


OPTIONS = PullOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model and the options of the download."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="ORG/NAME[@REVISION]; NAME alone is a cached model of that name, else mlx-community/NAME; "
        "starter and starter-embed are small models that need no Hub",
    )
    parser.add_argument("--revision", metavar="R", help="a branch, a tag or a commit (default: main)")
    parser.add_argument(
        "--include",
        metavar="G",
        nargs="+",
        action="extend",
        default=[],
        help="only files that match a pattern such as '*.json'",
    )
    parser.add_argument(
        "--exclude", metavar="G", nargs="+", action="extend", default=[], help="no files that match a pattern"
    )
    parser.add_argument("--force", action="store_true", help="download every file, even if it is in the cache")
    parser.add_argument("--dry-run", action="store_true", help="print what would be downloaded")
    parser.add_argument("--force-resume", action="store_true", help="accepted for old scripts: a pull always resumes")


def run(app: App, options: PullOptions, console: Console) -> CommandResult:
    """Download a model, or the files of it that are missing or damaged. Raises CommandFailed."""
    if starters.named(options.model) is not None:
        return _pull_starter(app, options, console)
    name = plan = None
    try:
        name, _ = app.puller.name(options.model)
        if name != options.model.partition("@")[0]:
            console.note((f"{options.model} resolves to {name}",))
        request = PullRequest(options.revision, options.include, options.exclude, options.force)
        plan = app.puller.plan(options.model, request, console.progress)
        if not options.dry_run:
            app.puller.execute(plan, console.progress)
    except KnifeError as error:
        raise CommandFailed(error, _error_data(name, error)) from error
    except KeyboardInterrupt:
        console.note_stopped("stopped; the next pull continues from here" if plan else "stopped")
        raise
    return _result(plan, is_dry_run=options.dry_run)


def _pull_starter(app: App, options: PullOptions, console: Console) -> CommandResult:
    """Build the workspace of a starter model, whose files come from the package index."""
    _check_starter_options(options)
    try:
        plan = app.starter_puller.plan(options.model)
        if not options.dry_run:
            app.starter_puller.execute(plan, console.progress)
    except KnifeError as error:
        raise CommandFailed(error, _error_data(options.model, error)) from error
    status: PullStatus = "would_download" if options.dry_run else "success"
    verb = "Would create" if options.dry_run else "Created"
    message = f"{verb} workspace {options.model} from {plan.starter.origin}"
    if plan.is_in_place:
        status, message = "already_exists", f"Workspace {options.model} already exists"
    return CommandResult(
        data=lambda: PullData(
            model=options.model,
            download_status=status,
            message=message,
            expanded_name=None,
            total_bytes=plan.starter.total_bytes,
            bytes_to_fetch=plan.bytes_to_fetch,
            files=(),
        ),
        lines=lambda _: starter_lines(plan.starter, message, is_dry_run=options.dry_run),
    )


def _check_starter_options(options: PullOptions) -> None:
    """Raise ValidationError for options that apply only to models of the Hub."""
    given = [name for name in _HUB_OPTIONS if getattr(options, name)]
    if not given:
        return
    name = options.model
    flags = f"{', '.join(f'--{option}' for option in given)} {'does' if len(given) == 1 else 'do'}"
    msg = f"{flags} not apply to '{name}', which comes as a whole from the package index"
    hint = f"For a model of the Hub write ORG/{name}"
    if given == ["force"]:
        hint = f"mlxk pull {name} mends a damaged one; for a new one in the place of a sound one, first: mlxk rm {name}"
    raise UsageError(msg, hint=hint)


def _result(plan: PullPlan, *, is_dry_run: bool) -> CommandResult:
    status: PullStatus = "already_exists" if plan.is_done else "would_download" if is_dry_run else "success"
    message = _message(plan, status)
    return CommandResult(
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
        lines=lambda _: pull_lines(plan, message, is_dry_run=is_dry_run),
    )


def _message(plan: PullPlan, status: PullStatus) -> str:
    if status == "already_exists":
        if plan.is_offline:
            return f"Model {plan.name} is in the cache (offline: not compared with the Hub)"
        return f"Model {plan.name} already exists in cache"
    return "Would download model" if status == "would_download" else "Successfully downloaded model"


def _error_data(name: str | None, error: KnifeError) -> PullData:
    """Return the data that specification 0.1.7 puts beside an error."""
    if isinstance(error, ValidationError):
        return PullData(model=None, download_status="error", message="", expanded_name=None)
    if isinstance(error, AmbiguousMatch):
        return PullData(model=None, download_status="unknown", message="", expanded_name=None)
    return PullData(model=name, download_status="failed", message="", expanded_name=None)
