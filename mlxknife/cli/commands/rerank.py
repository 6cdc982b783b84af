"""``mlxk rerank``."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser

import attrs
import msgspec

from mlxknife.app import App
from mlxknife.cli import document_lines, embed_input, prompt_input, reranker_loading
from mlxknife.cli.arguments import STDIN
from mlxknife.cli.console import Console
from mlxknife.cli.rerank_documents import RerankData, RerankedObject
from mlxknife.cli.result import CommandResult
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.cli.streams import map_stdout_errors
from mlxknife.domain.errors import FeatureDisabled, ValidationError
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.reranking.services.rerankers import Reranker
from mlxknife.domain.reranking.values import RankedDocument

_DIGITS = 6
_EPILOG = """\
Each input line is a document: a JSON object with "text", as embed and search print, or plain text.
Each line of the output is {"index", "score", "text"}, the best document first.

Examples:
  mlxk rerank MODEL "a question" passages.txt
  mlxk search notes.index "a question" | mlxk rerank MODEL "a question" --top-k 3
"""


@attrs.frozen
class RerankOptions:
    """The model, the query, the documents, and how many of them are printed."""

    model: str
    query: str
    source: str | None = None
    top_k: int | None = None
    instruct: str | None = None
    pull: bool | None = None


OPTIONS = RerankOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model, the query, the source of the documents and the options."""
    parser.usage = "%(prog)s [OPTIONS] MODEL QUERY [FILE|-]"
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="a reranker in the cache, a workspace, or a path")
    parser.add_argument("query", metavar="QUERY", help="what the documents should answer")
    parser.add_argument("source", metavar="FILE", nargs="?", help="the documents; - reads stdin (the default)")
    parser.add_argument("--top-k", type=int, metavar="K", help="print only the K best documents")
    parser.add_argument("--instruct", metavar="TEXT", help="what makes a document right, for models trained with it")
    pulls = parser.add_mutually_exclusive_group()
    pulls.add_argument("--pull", dest="pull", action="store_true", default=None, help="pull a missing model")
    pulls.add_argument("--no-pull", dest="pull", action="store_false", default=None, help="do not offer to pull it")


def run(app: App, options: RerankOptions, console: Console) -> CommandResult:
    """Print the documents with their scores, the best first."""
    _check(app, options)
    documents = _documents(options.source)
    with reranker_loading.opened(app, console, options.model, pull=options.pull) as reranker, propagate_interrupts():
        ranked = reranker.rank(options.query, documents, top_k=options.top_k, instruction=options.instruct)
    truncated = sum(document.is_truncated for document in ranked)
    reranker_loading.warn_truncated(console, truncated, ("document", "documents"), reranker.info.name)
    if not console.is_json:
        _print(ranked)
    return CommandResult(data=lambda: _data(reranker, options, ranked), lines=lambda _: ())


def _check(app: App, options: RerankOptions) -> None:
    """Raise ValidationError or FeatureDisabled for options that cannot be right, before a model is loaded."""
    prompt_input.checked_utf8(options.query, "The query")
    prompt_input.checked_utf8(options.instruct or "", "The instruction")
    if not options.query.strip():
        msg = "The query is empty"
        raise ValidationError(msg, param="query")
    if options.top_k is not None and options.top_k < 1:
        msg = f"--top-k is {options.top_k}, and must be at least 1"
        raise ValidationError(msg, param="top_k")
    off_by = app.settings.pipes_off_by
    if options.source in (None, STDIN) and off_by is not None:
        msg = f"{off_by} turns off reading from stdin"
        value = "1" if off_by.isupper() else "true"
        raise FeatureDisabled(msg, hint=Hint(HintCode.TURN_ON, name=off_by, value=value))


def _documents(source: str | None) -> list[str]:
    name = "stdin" if source in (None, STDIN) else str(source)
    lines = embed_input.stdin_lines() if source in (None, STDIN) else embed_input.file_lines(name)
    found = list(document_lines.documents(embed_input.checked(lines), name))
    if not found:
        msg = f"{name} has no documents"
        raise ValidationError(msg, hint=HintCode.PIPE_TEXT)
    return found


def _data(reranker: Reranker, options: RerankOptions, ranked: tuple[RankedDocument, ...]) -> RerankData:
    info = reranker.info
    return RerankData(info.name, info.commit, options.query, tuple(map(_object, ranked)))


def _object(document: RankedDocument) -> RerankedObject:
    return RerankedObject(document.index, round(document.score, _DIGITS), document.text)


def _print(ranked: tuple[RankedDocument, ...]) -> None:
    """Print lines of JSON in ASCII, so that no text in them can control a terminal."""
    with map_stdout_errors():
        for document in ranked:
            sys.stdout.write(json.dumps(msgspec.to_builtins(_object(document))) + "\n")
        sys.stdout.flush()
