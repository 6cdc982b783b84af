"""``mlxk pull`` as text: what was downloaded, or would be."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.domain.models.values.starter import Starter
from mlxknife.domain.text.rules import display
from mlxknife.domain.transfer.values import PullAction, PullPlan


def pull_lines(plan: PullPlan, message: str, *, is_dry_run: bool) -> Iterator[Line]:
    """Yield the message with the counts of files, and for a dry run a line for each file to download."""
    if plan.is_done:
        yield (message,)
        return
    fetched = plan.missing
    damaged = sum(plan.action(cached) is PullAction.REPAIR for cached in fetched)
    kept = len(plan.cached_files) - len(fetched)
    files = "1 file" if len(fetched) == 1 else f"{len(fetched)} files"
    parts = [f"{files}, {display.size(plan.bytes_to_fetch)}"] if fetched else ["links and refs only"]
    parts += [f"{damaged} {'to repair' if is_dry_run else 'repaired'}"] if damaged else []
    parts += [f"{kept} kept"] if kept else []
    yield (f"{message} {plan.name} ({'; '.join(parts)})",)
    if is_dry_run:
        for cached in fetched:
            yield (f"  {cached.file.name} ({display.size(cached.file.size - cached.partial_bytes)})",)


def starter_lines(starter: Starter, message: str, *, is_dry_run: bool) -> Iterator[Line]:
    """Yield the message, and a command that uses the starter model."""
    yield (message,)
    if not is_dry_run:
        question = "'What is the capital of France?'"
        command = f"embed {starter.name} 'a text'" if starter.is_folder else f"run {starter.name} {question}"
        yield (Span(f"Try it: mlxk {command}", Style.FAINT),)
