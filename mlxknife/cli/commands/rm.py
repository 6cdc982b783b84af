"""``mlxk rm``."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Literal

import attrs

from mlxknife.app import App
from mlxknife.cli.answer import Answer, Failed
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.wire_work import LocksData, MatchesData, NamedData, RemovedObject, RmData
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

Action = Literal["deleted", "would_delete", "kept"]

_KEPT = 1
_ONLY_A_LINK = " (only a link: what it leads to stays)"


@attrs.frozen
class Options:
    """What to remove, and how sure the user is."""

    model: str | None = None
    orphans: bool = False
    force: bool = False
    dry_run: bool = False


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the model and the switches."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="a model, MODEL@REVISION, a workspace, or a pattern with *"
    )
    parser.add_argument("--orphans", action="store_true", help="free what no model needs: blobs, stale partials, trash")
    parser.add_argument("--force", action="store_true", help="do not ask (a live lock is never overridden)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would go")


def run(app: App, options: Options, console: Console) -> Answer:
    """Remove, after asking where the plan needs a confirmation."""
    if (options.model is None) is not options.orphans:
        msg = "A model and --orphans do not go together" if options.orphans else "Name a model, or say --orphans"
        raise UsageError(msg, hint="See mlxk rm --help")
    try:
        return _sweep(app, options, console) if options.model is None else _remove(app, options.model, options, console)
    except KnifeError as error:
        raise Failed(error, _error_data(options.model, error)) from error


def _remove(app: App, spec: str, options: Options, console: Console) -> Answer:
    plan = app.remover.plan(spec)
    removed = tuple(
        RemovedObject(name=target.name, revision=target.commit, size_bytes=target.size_bytes) for target in plan.targets
    )
    labels = tuple(target.label for target in plan.targets)
    told = ", ".join(target.label + (_ONLY_A_LINK if target.is_link else "") for target in plan.targets)
    if options.dry_run:
        return _answer(spec, "would_delete", f"Would delete {told}", removed)
    if plan.confirmation_reason is not None and not options.force and not _is_confirmed(plan, labels, console):
        return _answer(spec, "kept", "Nothing deleted", ())
    app.remover.execute(plan)
    return _answer(spec, "deleted", f"Successfully deleted {told}", removed)


def _is_confirmed(plan: RemovalPlan, labels: tuple[str, ...], console: Console) -> bool:
    confirmation_reason = plan.confirmation_reason or ""
    if plan.needs_force:
        msg = f"Nothing removed: {confirmation_reason}"
        raise ConfirmationRequired(msg, matches=labels, hint=HintCode.FORCE)
    if not console.can_ask:
        msg = f"Nothing removed, this needs a yes: {confirmation_reason}"
        raise ConfirmationRequired(msg, matches=labels, hint=HintCode.FORCE_OR_FULL_NAME)
    lines = ((f"  {target.label} ({display.size(target.size_bytes)})",) for target in plan.targets)
    models = "this model" if len(labels) == 1 else f"these {len(labels)} models"
    return console.confirms(lines, f"Remove {models}? {confirmation_reason[:1].upper()}{confirmation_reason[1:]}.")


def _sweep(app: App, options: Options, console: Console) -> Answer:
    found = app.remover.leftovers()
    removed = _leftover_objects(found)
    if options.dry_run:
        return _answer(None, "would_delete", "Would free leftovers" if removed else "Nothing is left over", removed)
    if removed and not options.force:
        if not console.can_ask:
            msg = f"Nothing removed, this needs a yes: leftovers of {display.size(found.size_bytes)}"
            names = tuple(f"{one.name}: {one.revision}" for one in removed)
            raise ConfirmationRequired(msg, matches=names, hint=HintCode.FORCE)
        lines = ((f"  {one.name}: {one.revision} ({display.size(one.size_bytes)})",) for one in removed)
        if not console.confirms(lines, f"Remove {display.size(found.size_bytes)}?"):
            return _answer(None, "kept", "Nothing deleted", ())
    went = app.remover.sweep(found)
    return _answer(None, "deleted", "Freed leftovers" if removed else "Nothing is left over", _leftover_objects(went))


def _leftover_objects(leftovers: Leftovers) -> tuple[RemovedObject, ...]:
    """Describe leftovers; what stands for the revision is the blob, or the word trash."""
    orphans = (RemovedObject(orphan.name, orphan.blob.name, orphan.blob.size) for orphan in leftovers.orphans)
    trash = (RemovedObject(item.label, "trash", item.size_bytes) for item in leftovers.trash)
    return (*orphans, *trash)


def _answer(model: str | None, action: Action, message: str, removed: tuple[RemovedObject, ...]) -> Answer:
    freed = sum(one.size_bytes for one in removed)
    return Answer(
        data=lambda: RmData(model=model, action=action, message=message, removed=removed, freed_bytes=freed),
        lines=lambda _: [(f"{message} ({display.size(freed)})" if freed else message,)],
        exit_code=_KEPT if action == "kept" else 0,
    )


def _error_data(model: str | None, error: KnifeError) -> object:
    """Return what the older specification puts beside an error."""
    if isinstance(error, LocksPresent):
        return LocksData(model=model, locks_detected=True, lock_files=error.lock_files or ())
    if isinstance(error, AmbiguousMatch) and error.matches is not None:
        return MatchesData(matches=error.matches)
    return NamedData(model=model) if isinstance(error, StorageError) else None
