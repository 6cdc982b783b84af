"""``mlxk embed``."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack

import attrs
import msgspec

from mlxknife.app import App
from mlxknife.cli import embed_input, prompt_input
from mlxknife.cli.arguments import STDIN, UsageError
from mlxknife.cli.console import Console
from mlxknife.cli.embed_documents import EmbedData, EmbeddingMetadata, EmbeddingObject
from mlxknife.cli.embed_input import Line
from mlxknife.cli.output_file import OutputFile
from mlxknife.cli.pull_offer import PullOffer
from mlxknife.cli.result import CommandResult
from mlxknife.cli.signals import propagate_interrupts
from mlxknife.cli.streams import map_stdout_errors
from mlxknife.domain.embedding.services.embedders import Embedder
from mlxknife.domain.embedding.values import Embedding
from mlxknife.domain.errors import EngineError, FeatureDisabled, KnifeError, WorkerLost
from mlxknife.domain.generation.values.loading import Device
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.info import ModelInfo

_DIGITS = 8
"""The decimals of a value: a float32 of a vector of length 1 has no more."""
_EPILOG = """\
Each line of the output is {"text", "embedding", "metadata"}. --file takes all arguments up to the
next option: write a text before it.

Examples:
  mlxk embed MODEL "a text"
  mlxk embed MODEL - --batch < lines.txt > vectors.jsonl
  mlxk embed MODEL --file one.md two.md --output vectors.jsonl
"""


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@attrs.frozen
class EmbedOptions:
    """The model, the texts, and where the embeddings go."""

    model: str
    text: str | None = None
    files: tuple[str, ...] = attrs.field(default=(), converter=_words)
    batch: bool = False
    query: bool = False
    instruct: str | None = None
    dimensions: int | None = None
    output: str | None = None
    device: str = Device.CPU.value
    keep_going: bool = False
    pull: bool | None = None


OPTIONS = EmbedOptions


def add_arguments(parser: ArgumentParser) -> None:
    """Add the model, the texts and the options."""
    parser.usage = "%(prog)s [OPTIONS] MODEL [TEXT|-]"
    parser.epilog = _EPILOG
    parser.add_argument("model", metavar="MODEL", help="an embedding model in the cache, a workspace, or a path")
    parser.add_argument("text", metavar="TEXT", nargs="?", help="the text; - reads stdin")
    parser.add_argument("--batch", action="store_true", help="embed each line of stdin or of the files by itself")
    parser.add_argument(
        "--file", dest="files", metavar="FILE", nargs="+", action="extend", default=[], help="embed text files"
    )
    parser.add_argument("--query", action="store_true", help="the texts are queries: use the model's prompt for them")
    parser.add_argument("--instruct", metavar="TEXT", help="the task, for models that are trained with instructions")
    parser.add_argument(
        "--dimensions", metavar="N", type=int, help="shorten the vectors, for models that are trained for it"
    )
    parser.add_argument("--output", metavar="FILE", help="write the embeddings to a file instead of stdout")
    parser.add_argument(
        "--keep-going", action="store_true", help="go on after a text that cannot be embedded, and exit with 1 at last"
    )
    devices = parser.add_mutually_exclusive_group()
    devices.add_argument(
        "--cpu", "--cpu-only", dest="device", action="store_const", const="cpu", help="use the CPU (the default)"
    )
    devices.add_argument("--gpu", dest="device", action="store_const", const="gpu", help="use the GPU")
    pulls = parser.add_mutually_exclusive_group()
    pulls.add_argument("--pull", dest="pull", action="store_true", default=None, help="pull a missing model")
    pulls.add_argument("--no-pull", dest="pull", action="store_false", default=None, help="do not offer to pull it")


def run(app: App, options: EmbedOptions, console: Console) -> CommandResult:
    """Embed the texts, and print each embedding as soon as it is there."""
    groups = _groups(app, options)
    file = OutputFile(options.output) if options.output is not None else None
    if file is not None:
        file.check()
    records, outcome = list[EmbeddingObject](), _Outcome()
    with _opened(app, options, console) as embedder, ExitStack() as stack, propagate_interrupts():
        if file is not None:
            stack.enter_context(file)
        counter = stack.enter_context(console.counter("texts embedded"))
        for record in _records(embedder, groups, options, outcome):
            if record is None:
                console.warn(f"text {outcome.count} cannot be embedded: {outcome.failure}")
                continue
            if file is not None:
                file.write(_line(record))
            if console.is_json:
                records.append(record)
            elif file is None:
                _print(_line(record))
            counter.count(outcome.count)
    if outcome.truncated:
        what = "The text is" if outcome.count == 1 else f"{outcome.truncated} of {outcome.count} texts are"
        console.warn(f"{what} longer than {embedder.info.name} reads; the rest is not in the embedding")
    code = 1 if outcome.failure else 0
    return CommandResult(data=lambda: EmbedData(tuple(records)), lines=lambda _: (), exit_code=code)


@attrs.define
class _Outcome:
    """What the texts so far have come to."""

    count: int = 0
    truncated: int = 0
    failure: str = ""
    """Why the last text that failed cannot be embedded."""


def _opened(app: App, options: EmbedOptions, console: Console) -> Embedder:
    def loaded() -> Embedder:
        with propagate_interrupts(), console.status(f"loading {options.model}"):
            return app.embedders.open(options.model, Device(options.device))

    return PullOffer(app, console, options.pull).with_models(loaded, options.model)


def _groups(app: App, options: EmbedOptions) -> Iterator[Sequence[Line]]:
    """Return the texts in groups. Raises UsageError, FeatureDisabled, ValidationError."""
    if options.text is None and not options.files:
        msg = "No text"
        raise UsageError(msg, hint="Write a text after the model, or - to read stdin, or --file FILE")
    if options.batch and options.text not in (None, STDIN):
        msg = "--batch embeds the lines of stdin or of files, not of an argument"
        raise UsageError(msg, hint="Write - in place of the text")
    off_by = app.settings.pipes_off_by
    if options.text == STDIN and off_by is not None:
        msg = f"{off_by} turns off reading from stdin"
        value = "1" if off_by.isupper() else "true"
        raise FeatureDisabled(msg, hint=Hint(HintCode.TURN_ON, name=off_by, value=value))
    text = options.text
    if text is not None and text != STDIN:
        prompt_input.checked_utf8(text, "The text")
    return _read(text, options)


def _read(text: str | None, options: EmbedOptions) -> Iterator[Sequence[Line]]:
    if text == STDIN and options.batch:
        yield from embed_input.stdin_lines()
    elif text is not None:
        yield [prompt_input.read_stdin().rstrip("\n") if text == STDIN else text]
    if not options.batch:
        yield from embed_input.texts_of_files(options.files)
        return
    for path in options.files:
        yield from embed_input.file_lines(path)


def _records(
    embedder: Embedder, groups: Iterable[Sequence[Line]], options: EmbedOptions, outcome: _Outcome
) -> Iterator[EmbeddingObject | None]:
    """Yield the record of each text; None for one that failed, with ``--keep-going``."""
    for group in groups:
        for result in _results(embedder, group, options):
            outcome.count += 1
            if isinstance(result, KnifeError):
                outcome.failure = result.message
                yield None
                continue
            text, embedding = result
            outcome.truncated += embedding.is_truncated
            yield _record(embedder.info, text, embedding.vector, outcome.count - 1)


def _results(
    embedder: Embedder, group: Sequence[Line], options: EmbedOptions
) -> Iterator[tuple[str, Embedding] | KnifeError]:
    """Yield each text of a group with its embedding; with ``--keep-going``, the error of one that failed."""
    embeddings = _embeddings(embedder, [line for line in group if isinstance(line, str)], options)
    for line in group:
        if isinstance(line, str):
            embedding = next(embeddings)
            yield embedding if isinstance(embedding, KnifeError) else (line, embedding)
        elif options.keep_going:
            yield line
        else:
            raise line


def _embeddings(embedder: Embedder, texts: list[str], options: EmbedOptions) -> Iterator[Embedding | KnifeError]:
    """Yield the embedding of each text; with ``--keep-going``, the error of one that failed."""

    def embedded(part: list[str]) -> Iterator[Embedding]:
        return embedder.embed(part, is_query=options.query, instruction=options.instruct, dimensions=options.dimensions)

    done = 0
    try:
        for embedding in embedded(texts):
            done += 1
            yield embedding
    except EngineError as exc:
        if not options.keep_going or isinstance(exc, WorkerLost):
            raise
    for text in texts[done:]:  # an error ends its request, so each text gets a request of its own
        try:
            (one,) = embedded([text])
        except WorkerLost:
            raise
        except EngineError as exc:
            yield exc
        else:
            yield one


def _record(info: ModelInfo, text: str, vector: tuple[float, ...], index: int) -> EmbeddingObject:
    values = tuple(round(value, _DIGITS) for value in vector)
    return EmbeddingObject(text, values, EmbeddingMetadata(info.name, info.commit, len(values), True, index))  # noqa: FBT003


def _line(record: EmbeddingObject) -> str:
    """Return a record as one line of JSON in ASCII, so that no text in it can control a terminal."""
    return json.dumps(msgspec.to_builtins(record)) + "\n"


def _print(line: str) -> None:
    with map_stdout_errors():
        sys.stdout.write(line)
        sys.stdout.flush()
