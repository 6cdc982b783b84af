"""``mlxk show`` as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import attrs

from mlxknife.cli.render.health import health_cell
from mlxknife.cli.render.table import Cell, table
from mlxknife.cli.render.text import Line, Span, Style, age, folded
from mlxknife.domain.models.values.info import ModelDetails, ModelFile, ModelInfo, ModelMetadata
from mlxknife.domain.text.rules import display

_HASH_LENGTH = 12
_LABEL_WIDTH = 15


def show_lines(found: ModelDetails, *, files: bool, config: bool, now: float, columns: int | None) -> Iterator[Line]:
    """Yield the overview of a model, then its files, its config.json, or else its metadata."""
    for line in _overview(found, now):
        yield from folded(line, columns, _LABEL_WIDTH)
    if files:
        yield ()
        yield from _files(found.files, columns)
    if config:
        yield ()
        for line in json.dumps(found.config, indent=2, ensure_ascii=False).splitlines():
            yield (line,)
    if not files and not config:
        yield from _metadata(found.metadata)


def _files(files: Sequence[ModelFile], columns: int | None) -> Iterator[Line]:
    rows: list[tuple[Cell, ...]] = [
        (file.name, display.size(file.size_bytes), file.kind, *_integrity(file)) for file in files
    ]
    header = ("File", "Size", "Type", "Integrity")
    yield from table(header[: len(rows[0])] if rows else header[:-1], rows, columns)


def _integrity(file: ModelFile) -> tuple[Span, ...]:
    if file.integrity is None:
        return ()
    return (Span(file.integrity.value, Style.GOOD if file.integrity.healthy else Style.BAD),)


def _overview(found: ModelDetails, now: float) -> Iterator[Line]:
    info, card, traits = found.info, found.card, found.info.traits
    revision = f"@{info.commit[:_HASH_LENGTH]}" if info.commit else ""
    yield _labelled("Model", Span(f"{info.name}{revision}", Style.STRONG))
    if info.origin:
        yield _labelled("Origin", info.origin)
    if info.is_unreadable:
        yield _labelled("Type", Span("unreadable", Style.BAD))
        yield from _health(info, found.limit)
        return
    yield _labelled("Framework", traits.framework.value)
    yield _labelled("Type", traits.model_type.value)
    yield _labelled("Capabilities", ", ".join(one.value for one in traits.capabilities) or "-")
    if traits.quantization:
        quantization = traits.quantization
        yield _labelled(
            "Quantization",
            f"{quantization.bits}-bit, group size {quantization.group_size}, {quantization.mode}",
        )
    if traits.context_length:
        yield _labelled("Context", f"{traits.context_length} tokens")
    yield _labelled("Size", f"{display.size(info.size_bytes)} in {len(found.files)} files")
    yield _labelled("Modified", age(now - info.modified))
    yield _labelled("Chat template", found.chat_template_source or "-")
    yield _labelled("License", card.license or "-")
    if card.base_models:
        yield _labelled("Base model", ", ".join(card.base_models))
    yield from _health(info, found.limit)


def _health(info: ModelInfo, limit: str | None) -> Iterator[Line]:
    yield _labelled("Health", health_cell(info), f" ({info.integrity.value}{f': {limit}' if limit else ''})")
    if info.integrity.healthy:
        yield _labelled(
            "Runs here",
            Span("yes", Style.GOOD) if info.runtime_compatible else Span("no", Style.WEAK),
        )
    if info.reason:
        yield _labelled("Reason", info.reason)


def _metadata(metadata: ModelMetadata) -> Iterator[Line]:
    known = {name: value for name, value in attrs.asdict(metadata).items() if value is not None}
    if known:
        yield ()
        yield (Span("Metadata", Style.STRONG),)
        for name, value in known.items():
            yield (f"  {name}: {value}",)


def _labelled(label: str, *value: str | Span) -> Line:
    return (f"{label + ':':{_LABEL_WIDTH}}", *value)
