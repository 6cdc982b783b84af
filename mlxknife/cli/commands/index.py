"""``mlxk index``."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator

import attrs

from mlxknife.app import App
from mlxknife.cli.arguments import UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.render.hits import shown_path
from mlxknife.cli.render.text import Line
from mlxknife.cli.result import CommandResult
from mlxknife.cli.retrieval_documents import IndexData, SkippedObject
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.domain.retrieval.services.indexes import Index
from mlxknife.domain.retrieval.values import IndexReport, SkippedFile, SkipReason

_EXPECTED = (SkipReason.HIDDEN, SkipReason.IGNORED, SkipReason.LINK, SkipReason.SPECIAL, SkipReason.BINARY)
"""The reasons for which a skipped file is only counted."""
_WORDS = {
    SkipReason.HIDDEN: "hidden",
    SkipReason.IGNORED: "ignored by .gitignore",
    SkipReason.LINK: "links",
    SkipReason.SPECIAL: "special files",
    SkipReason.BINARY: "binary",
    SkipReason.NOT_UTF8: "not UTF-8",
    SkipReason.TOO_LARGE: "too large",
    SkipReason.PDF: "PDF without text",
    SkipReason.CHANGING: "changed while they were read",
    SkipReason.UNREADABLE: "unreadable",
}
_EPILOG = """\
INDEX is a file. Repeat the command to bring it up to date: only new and changed files are embedded,
and files that are gone are removed. Without PATH, the paths of the index are taken again.

Examples:
  mlxk index notes.index ~/notes
  mlxk index code.index src docs --model ORG/MODEL
  mlxk index code.index
"""


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class IndexOptions:
    """The index, what goes into it, and its model."""

    index: str
    paths: tuple[str, ...] = attrs.field(default=(), converter=_words)
    model: str | None = None
    pull: bool | None = None


OPTIONS = IndexOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the index, the paths and the model."""
    parser.usage = "%(prog)s [OPTIONS] INDEX [PATH ...]"
    parser.epilog = _EPILOG
    parser.add_argument("index", metavar="INDEX", help="the file of the index")
    parser.add_argument("paths", metavar="PATH", nargs="*", default=[], help="a folder or a file to take in")
    parser.add_argument("--model", metavar="MODEL", help="the embedding model of a new index (default: starter-embed)")
    pulls = parser.add_mutually_exclusive_group()
    pulls.add_argument("--pull", dest="pull", action="store_true", default=None, help="pull a missing model")
    pulls.add_argument("--no-pull", dest="pull", action="store_false", default=None, help="do not offer to pull it")


def run(app: App, options: IndexOptions, console: Console) -> CommandResult:
    """Bring the index up to date."""
    try:
        return _run(app, options, console)
    except KeyboardInterrupt:
        console.note_stopped("stopped; the next run goes on where this one was")
        raise


def _run(app: App, options: IndexOptions, console: Console) -> CommandResult:
    spec = app.indexes.model_spec(options.index, options.model)
    is_new = not app.indexes.stores.exists(options.index)
    if is_new and not options.paths:
        msg = "No path"
        raise UsageError(msg, hint="Write the folders and files that a new index is made of")
    for path in options.paths:
        app.indexes.files.root(path)  # a path that is wrong is named before a model is loaded

    def opened() -> Index:
        with propagate_interrupts(), console.status(f"loading {spec}"):
            return app.indexes.open(options.index, model=options.model, is_created=is_new)

    with PullOffer(app, console, options.pull).with_models(opened, spec) as index, propagate_interrupts():
        report = index.update(options.paths, console.progress)
    _warn(report, console)
    return CommandResult(data=lambda: _data(options.index, report), lines=lambda _: _lines(options.index, report))


def _warn(report: IndexReport, console: Console) -> None:
    for file in _unexpected(report):
        detail = f": {file.detail}" if file.detail else ""
        console.warn(f"{shown_path(file.path)} is skipped ({_WORDS[file.reason]}{detail})")
    if report.truncated:
        name = report.info.model.name
        console.warn(f"{report.truncated} chunks are longer than {name} reads; their ends are found by words only")


def _unexpected(report: IndexReport) -> list[SkippedFile]:
    return [file for file in report.skipped if file.reason not in _EXPECTED]


def _data(index: str, report: IndexReport) -> IndexData:
    info = report.info
    return IndexData(
        index=index,
        model=info.model.name,
        revision=info.model.revision,
        dimensions=info.model.dimensions,
        files=info.files,
        chunks=info.chunks,
        added=report.added,
        updated=report.updated,
        unchanged=report.unchanged,
        removed=report.removed,
        truncated_chunks=report.truncated,
        skipped={reason.value: count for reason, count in report.skip_counts.items()},
        skipped_files=tuple(SkippedObject(shown_path(file.path), file.reason.value) for file in _unexpected(report)),
    )


def _lines(index: str, report: IndexReport) -> Iterator[Line]:
    info = report.info
    yield (f"{index}: {_counted(info.files, 'file')}, {_counted(info.chunks, 'chunk')}, model {info.model.spec}",)
    yield (f"  {report.added} added, {report.updated} updated, {report.unchanged} unchanged, {report.removed} removed",)
    if report.skipped:
        counts = ", ".join(f"{count} {_WORDS[reason]}" for reason, count in report.skip_counts.items())
        yield (f"  skipped: {counts}",)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
