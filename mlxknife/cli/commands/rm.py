"""``mlxk rm``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable
from functools import partial
from typing import Literal

import attrs
from msgspec import UNSET

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
from mlxknife.domain.removal.values import Leftovers, RemovalPlan, RemovalTarget
from mlxknife.domain.text.rules import display

RmAction = Literal["deleted", "would_delete", "kept"]

_KEPT = 1
_NO_ORPHANS = "No unused files"
_LINK = " (only the link; its target stays)"


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class RmOptions:
    """What to remove, and whether to ask first."""

    models: tuple[str, ...] = attrs.field(default=(), converter=_words)
    orphans: bool = False
    force: bool = False
    dry_run: bool = False

    @property
    def as_typed(self) -> str | None:
        """The words that name models, as the user typed them."""
        return " ".join(self.models) or None


OPTIONS = RmOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the models and the switches."""
    parser.usage = "%(prog)s [OPTIONS] MODEL ...\n       %(prog)s [OPTIONS] --orphans"
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        default=[],
        help="a model, MODEL@REVISION, a workspace, or a pattern with *",
    )
    parser.add_argument(
        "--orphans", action="store_true", help="remove files that no model uses: blobs, old partial downloads, trash"
    )
    parser.add_argument(
        "-f", "--force", action="store_true", help="do not ask (it never overrides the lock of a process)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed")


def run(app: App, options: RmOptions, console: Console) -> CommandResult:
    """Remove models or unused files; ask first if a name is not exact. Raises CommandFailed, UsageError."""
    if bool(options.models) is options.orphans:
        msg = "MODEL and --orphans exclude each other" if options.orphans else "MODEL or --orphans is required"
        raise UsageError(msg, hint="See mlxk rm --help")
    removed: list[RemovedObject] = []
    try:
        if options.orphans:
            return _remove_orphans(app, options, console)
        return _remove_models(app, options, console, removed)
    except KnifeError as error:
        if removed:
            console.note((f"Deleted {', '.join(one.name for one in removed)}",))
        raise CommandFailed(error, _error_data(options.as_typed, error, tuple(removed))) from error


def _remove_models(app: App, options: RmOptions, console: Console, removed: list[RemovedObject]) -> CommandResult:
    """Remove all models of the command line, or none where one of them cannot be found or is locked."""
    plan = app.remover.plan(*options.models)
    names = ", ".join(target.label + (_LINK if target.is_link else "") for target in plan.targets)
    result = partial(_result, model=_model(plan, options), commit_hash=_commit(plan))
    if options.dry_run:
        return result("would_delete", f"Would delete {names}", tuple(map(_removed, plan.targets)))
    if plan.confirmation_reason is not None and not options.force and not _is_confirmed(plan, console):
        return result("kept", "Nothing deleted", ())
    app.remover.execute(plan, lambda target: removed.append(_removed(target)))
    return result("deleted", f"Successfully deleted {names}", tuple(removed))


def _model(plan: RemovalPlan, options: RmOptions) -> str | None:
    names = {target.name for target in plan.targets}
    return names.pop() if len(names) == 1 else options.as_typed


def _commit(plan: RemovalPlan) -> str | None:
    return plan.targets[0].revision if len(plan.targets) == 1 else None


def _removed(target: RemovalTarget) -> RemovedObject:
    return RemovedObject(name=target.name, revision=target.commit, size_bytes=target.size_bytes)


def _is_confirmed(plan: RemovalPlan, console: Console) -> bool:
    confirmation_reason = plan.confirmation_reason or ""
    labels = tuple(target.label for target in plan.targets)
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
        return _result("would_delete", "Would delete unused files" if removed else _NO_ORPHANS, removed)
    if removed and not options.force:
        size = display.size(found.size_bytes)
        if not console.can_prompt:
            msg = f"Nothing removed, confirmation required: unused files of {size}"
            names = tuple(f"{one.name}: {one.revision}" for one in removed)
            raise ConfirmationRequired(msg, matches=names, hint=HintCode.FORCE)
        lines = ((f"  {one.name}: {one.revision} ({display.size(one.size_bytes)})",) for one in removed)
        if not console.confirm(lines, f"Remove {size}?"):
            return _result("kept", "Nothing deleted", ())
    swept = _removed_orphans(app.remover.sweep(found))
    return _result("deleted", "Successfully deleted unused files" if removed else _NO_ORPHANS, swept)


def _removed_orphans(leftovers: Leftovers) -> tuple[RemovedObject, ...]:
    """Return the JSON objects of unused files. ``revision`` is the name of the blob, or "trash"."""
    orphans = (RemovedObject(orphan.name, orphan.blob.name, orphan.blob.size) for orphan in leftovers.orphans)
    trash = (RemovedObject(item.label, "trash", item.size_bytes) for item in leftovers.trash)
    return (*orphans, *trash)


def _result(
    action: RmAction,
    message: str,
    removed: tuple[RemovedObject, ...],
    *,
    model: str | None = None,
    commit_hash: str | None = None,
) -> CommandResult:
    freed = sum(one.size_bytes for one in removed)
    return CommandResult(
        data=lambda: RmData(
            model=model,
            action=action,
            message=message,
            commit_hash=commit_hash,
            removed=removed,
            freed_bytes=freed,
        ),
        lines=lambda _: [(f"{message} ({display.size(freed)})" if freed else message,)],
        exit_code=_KEPT if action == "kept" else 0,
    )


def _error_data(typed: str | None, error: KnifeError, removed: tuple[RemovedObject, ...]) -> object:
    """Return the data that specification 0.1.7 puts beside an error."""
    model = error.model or typed
    if isinstance(error, LocksPresent):
        return LockedRmData(model, locks_detected=True, lock_files=error.lock_files or (), removed=removed or UNSET)
    if isinstance(error, AmbiguousMatch) and error.matches is not None:
        return AmbiguousRmData(matches=error.matches)
    return FailedRmData(model, removed=removed or UNSET) if isinstance(error, StorageError) else None
