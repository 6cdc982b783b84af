"""``mlxk search``."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal, cast

import attrs
import msgspec

from mlxknife.app import App
from mlxknife.cli import prompt_input, reranker_loading
from mlxknife.cli.arguments import STDIN
from mlxknife.cli.console import Console
from mlxknife.cli.index_search import opened
from mlxknife.cli.render.hits import hit_lines, hit_object
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.cli.result import CommandResult
from mlxknife.cli.retrieval_documents import SearchData
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.cli.streams import map_stdout_errors
from mlxknife.domain.errors import FeatureDisabled
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.reranking.services.rerankers import Reranker
from mlxknife.domain.retrieval.rules import ranking
from mlxknife.domain.retrieval.services.indexes import TOP_K
from mlxknife.domain.retrieval.values import Hit, SearchMode

_EPILOG = """\
On a terminal the hits are a list; a pipe gets a line of JSON for each, best first:
{"file", "first_line", "last_line", "score", "similarity", "title", "text"}.

Examples:
  mlxk search notes.index "how do I renew my passport?"
  mlxk search code.index "retry after a timeout" --top-k 3 | jq -r .text
  mlxk search code.index RETRY_AFTER --mode text
  mlxk search notes.index "how do I renew my passport?" --rerank MODEL
"""


@attrs.frozen
class SearchOptions:
    """The index, the question, and how it is answered."""

    index: str
    query: str
    top_k: int = TOP_K
    mode: str = SearchMode.HYBRID.value
    rerank: str | None = None
    pull: bool | None = None


OPTIONS = SearchOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the index, the question and the options."""
    parser.usage = "%(prog)s [OPTIONS] INDEX QUERY"
    parser.epilog = _EPILOG
    parser.add_argument("index", metavar="INDEX", help="the file of an index that mlxk index made")
    parser.add_argument("query", metavar="QUERY", help="the question, or words; - reads stdin")
    parser.add_argument("--top-k", type=int, metavar="N", default=TOP_K, help=f"the most hits (default: {TOP_K})")
    parser.add_argument(
        "--mode",
        choices=[mode.value for mode in SearchMode],
        default=SearchMode.HYBRID.value,
        help="rank by meaning (vector), by words (text, which loads no model), or by both (hybrid, the default)",
    )
    parser.add_argument(
        "--rerank",
        metavar="MODEL",
        help=f"let a reranker score the best {ranking.RERANKED} (or N, if it is more), and print its best N",
    )
    pulls = parser.add_mutually_exclusive_group()
    pulls.add_argument("--pull", dest="pull", action="store_true", default=None, help="pull a missing model")
    pulls.add_argument("--no-pull", dest="pull", action="store_false", default=None, help="do not offer to pull it")


def run(app: App, options: SearchOptions, console: Console) -> CommandResult:
    """Print the hits."""
    ranking.check_top_k(options.top_k)
    mode = SearchMode(options.mode)
    query = _query(app, options.query)
    with ExitStack() as models:
        index = models.enter_context(opened(app, console, options.index, mode, pull=options.pull))
        reranker = _reranker(app, options, console, models)
        models.enter_context(propagate_interrupts())
        hits = index.search(query, top_k=options.top_k, mode=mode, reranker=reranker)
    if reranker is not None:
        truncated = sum(hit.is_truncated for hit in hits)
        reranker_loading.warn_truncated(console, truncated, ("hit", "hits"), reranker.info.name)
    if not console.is_json and not sys.stdout.isatty():
        _print_json_lines(hits)
    if not hits:
        console.note((Span("nothing found", Style.FAINT),))
    return CommandResult(
        data=lambda: _data(options, query, hits, reranker),
        lines=lambda columns: _lines(hits, columns),
        is_printed=not console.is_json and not sys.stdout.isatty(),
    )


def _reranker(app: App, options: SearchOptions, console: Console, models: ExitStack) -> Reranker | None:
    if options.rerank is None:
        return None
    return models.enter_context(reranker_loading.opened(app, console, options.rerank, pull=options.pull))


def _query(app: App, query: str) -> str:
    """Return the question. Raises FeatureDisabled, ValidationError."""
    if query != STDIN:
        return prompt_input.checked_utf8(query, "The question")
    off_by = app.settings.pipes_off_by
    if off_by is not None:
        msg = f"{off_by} turns off reading from stdin"
        raise FeatureDisabled(msg, hint=Hint(HintCode.TURN_ON, name=off_by, value="1" if off_by.isupper() else "true"))
    return prompt_input.read_stdin().strip()


def _print_json_lines(hits: tuple[Hit, ...]) -> None:
    """Print each hit as a line of JSON in ASCII, so that no text in it can control a terminal."""
    with map_stdout_errors():
        for hit in hits:
            sys.stdout.write(json.dumps(msgspec.to_builtins(hit_object(hit))) + "\n")
        sys.stdout.flush()


def _lines(hits: tuple[Hit, ...], columns: int | None) -> Iterator[Line]:
    for number, hit in enumerate(hits, 1):
        yield from hit_lines(number, hit, columns)


def _data(options: SearchOptions, query: str, hits: tuple[Hit, ...], reranker: Reranker | None) -> SearchData:
    mode = cast('Literal["vector", "text", "hybrid"]', options.mode)
    name, revision = (None, None) if reranker is None else (reranker.info.name, reranker.info.commit)
    return SearchData(options.index, query, mode, name, revision, tuple(map(hit_object, hits)))
