"""``mlxk rm``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Literal

import attrs

from mlxknife.app import App
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.json_documents import AmbiguousRmData, FailedRmData, LockedRmData, RemovedObject, RmData
from mlxknife.cli.result import CommandFailed, CommandResult
from mlxknife.domain.errors import (
    AmbiguousMatch,
    ConfirmationRequired,
    KnifeError,
    LocksPresent,
    StorageError,
)
from mlxknife.domain.hints import HintCode
from mlxknife.domain.removal.values import Leftovers, RemovalPlan
from mlxknife.domain.text.rules import display

RmAction = Literal["deleted", "would_delete", "kept"]

_KEPT = 1
_NO_ORPHANS = "No unused files"
_LINK = " (only the link; its target stays)"


@attrs.frozen
class RmOptions:
    """What to remove, and whether to ask first."""

    model: str | None = None
    orphans: bool = False
    force: bool = False
    dry_run: bool = False


OPTIONS = RmOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model and the switches."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model, MODEL@REVISION, a workspace, or a pattern with *"
    )
    parser.add_argument(
        "--orphans", action="store_true", help="remove files that no model uses: blobs, old partial downloads, trash"
    )
    parser.add_argument("--force", action="store_true", help="do not ask (it never overrides the lock of a process)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed")


def run(app: App, options: RmOptions, console: Console) -> CommandResult:
    """Remove a model or unused files; ask first if the name is not exact. Raises CommandFailed, ValidationError."""
    if (options.model is None) is not options.orphans:
        msg = "MODEL and --orphans exclude each other" if options.orphans else "MODEL or --orphans is required"
        raise UsageError(msg, hint="See mlxk rm --help")
    try:
        if options.model is None:
            return _remove_orphans(app, options, console)
        return _remove_model(app, options.model, options, console)
    except KnifeError as error:
        raise CommandFailed(error, _error_data(options.model, error)) from error


def _remove_model(app: App, spec: str, options: RmOptions, console: Console) -> CommandResult:
    plan = app.remover.plan(spec)
    removed = tuple(
        RemovedObject(name=target.name, revision=target.commit, size_bytes=target.size_bytes) for target in plan.targets
    )
    labels = tuple(target.label for target in plan.targets)
    names = ", ".join(target.label + (_LINK if target.is_link else "") for target in plan.targets)
    if options.dry_run:
        return _result(spec, "would_delete", f"Would delete {names}", removed)
    if plan.confirmation_reason is not None and not options.force and not _is_confirmed(plan, labels, console):
        return _result(spec, "kept", "Nothing deleted", ())
    app.remover.execute(plan)
    return _result(spec, "deleted", f"Successfully deleted {names}", removed)


def _is_confirmed(plan: RemovalPlan, labels: tuple[str, ...], console: Console) -> bool:
    confirmation_reason = plan.confirmation_reason or ""
    if plan.needs_force:
        msg = f"Nothing removed: {confirmation_reason}"
        raise ConfirmationRequired(msg, matches=labels, hint=HintCode.FORCE)
    if not console.can_prompt:
        msg = f"Nothing removed, confirmation required: {confirmation_reason}"
        raise ConfirmationRequired(msg, matches=labels, hint=HintCode.FORCE_OR_FULL_NAME)
    lines = ((f"  {target.label} ({display.size(target.size_bytes)})",) for target in plan.targets)
    models = "this model" if len(labels) == 1 else f"these {len(labels)} models"
    return console.confirm(lines, f"Remove {models}? {confirmation_reason[:1].upper()}{confirmation_reason[1:]}.")


def _remove_orphans(app: App, options: RmOptions, console: Console) -> CommandResult:
    found = app.remover.leftovers()
    removed = _removed_orphans(found)
    if options.dry_run:
        return _result(None, "would_delete", "Would delete unused files" if removed else _NO_ORPHANS, removed)
    if removed and not options.force:
        size = display.size(found.size_bytes)
        if not console.can_prompt:
            msg = f"Nothing removed, confirmation required: unused files of {size}"
            names = tuple(f"{one.name}: {one.revision}" for one in removed)
            raise ConfirmationRequired(msg, matches=names, hint=HintCode.FORCE)
        lines = ((f"  {one.name}: {one.revision} ({display.size(one.size_bytes)})",) for one in removed)
        if not console.confirm(lines, f"Remove {size}?"):
            return _result(None, "kept", "Nothing deleted", ())
    swept = _removed_orphans(app.remover.sweep(found))
    return _result(None, "deleted", "Successfully deleted unused files" if removed else _NO_ORPHANS, swept)


def _removed_orphans(leftovers: Leftovers) -> tuple[RemovedObject, ...]:
    """Return the JSON objects of unused files. ``revision`` is the name of the blob, or "trash"."""
    orphans = (RemovedObject(orphan.name, orphan.blob.name, orphan.blob.size) for orphan in leftovers.orphans)
    trash = (RemovedObject(item.label, "trash", item.size_bytes) for item in leftovers.trash)
    return (*orphans, *trash)


def _result(model: str | None, action: RmAction, message: str, removed: tuple[RemovedObject, ...]) -> CommandResult:
    freed = sum(one.size_bytes for one in removed)
    return CommandResult(
        data=lambda: RmData(model=model, action=action, message=message, removed=removed, freed_bytes=freed),
        lines=lambda _: [(f"{message} ({display.size(freed)})" if freed else message,)],
        exit_code=_KEPT if action == "kept" else 0,
    )


def _error_data(model: str | None, error: KnifeError) -> object:
    """Return the data that specification 0.1.7 puts beside an error."""
    if isinstance(error, LocksPresent):
        return LockedRmData(model=model, locks_detected=True, lock_files=error.lock_files or ())
    if isinstance(error, AmbiguousMatch) and error.matches is not None:
        return AmbiguousRmData(matches=error.matches)
    return FailedRmData(model=model) if isinstance(error, StorageError) else None
