"""``list``, ``show`` and ``health`` as text: columns, filters, counts, and lines no wider than the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import pytest

from mlxknife.cli.render.health import health_cell, health_lines
from mlxknife.cli.render.list import ListView, list_lines, trash_lines
from mlxknife.cli.render.show import show_lines
from mlxknife.cli.render.text import Line, Span, Style, age, duration, paint
from mlxknife.domain.integrity.values import HealthReport, ModelHealth
from mlxknife.domain.models.values.info import (
    Capability,
    Framework,
    ModelCard,
    ModelDetails,
    ModelFile,
    ModelInfo,
    ModelMetadata,
    ModelTraits,
    ModelType,
    Quantization,
)
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.removal.values import TrashItem

_NOW = 1_000_000_000.0
_DAY = 86_400
_COMMIT = "a1b2c3d" * 5 + "a1b2c"
_MLX, _GGUF, _PYTORCH = Framework.MLX, Framework.GGUF, Framework.PYTORCH
_CHAT, _BASE, _EMBEDDING = ModelType.CHAT, ModelType.BASE, ModelType.EMBEDDING
_NO_RUNTIME = "Model architecture 'an_architecture_of_tomorrow' not supported by mlx-lm 0.32.2"
_WIDTHS = (60, 80, 100, 120, 200)


def _model(name: str, framework: Framework = _MLX, kind: ModelType = _CHAT, **changes: object) -> ModelInfo:
    traits = ModelTraits(framework, kind, (Capability.TEXT_GENERATION, Capability.CHAT), Quantization(4, 64), 4096)
    model = ModelInfo(
        name=name,
        commit=_COMMIT,
        size_bytes=2_500_000,
        modified=_NOW - 2 * _DAY,
        traits=traits,
        integrity=Integrity.STRUCTURAL,
        runtime_compatible=True,
        reason=None,
        cached=True,
        origin=None,
    )
    return attrs.evolve(model, **changes)  # type: ignore[arg-type]


def _broken(name: str, reason: str = "no weight files") -> ModelInfo:
    return _model(name, integrity=Integrity.INCOMPLETE, runtime_compatible=False, reason=reason)


_MODELS = (
    _model("mlx-community/Llama-3.2-3B-Instruct"),
    _model("mlx-community/plain-base", kind=_BASE),
    _model("org/own-chat"),
    _model("org/gguf-Chat", _GGUF, runtime_compatible=False, reason="Framework GGUF not executable with mlx-lm"),
    _model("org/torch-chat", _PYTORCH, runtime_compatible=False, reason=_NO_RUNTIME),
    _model("org/sentences", _PYTORCH, _EMBEDDING, runtime_compatible=False),
    _broken("org/broken-chat"),
    _model("experiment", commit=None, cached=False),
)


def _view(*, show_all: bool = False, verbose: bool = False, health: bool = False, pattern: str = "") -> ListView:
    return ListView(show_all=show_all, verbose=verbose, health=health, pattern=pattern)


def _text(lines: Iterable[Line]) -> list[str]:
    return [paint(line, colour=False) for line in lines]


def _listed(models: Iterable[ModelInfo], view: ListView, columns: int | None = None) -> list[str]:
    return _text(list_lines(tuple(models), view, now=_NOW, columns=columns))


def _table(view: ListView, models: Iterable[ModelInfo] = _MODELS) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Return the header, the rows by name, and the lines after the table."""
    lines = _listed(models, view)
    cells = [[cell.strip() for cell in line.split(" | ")] for line in lines if " | " in line]
    assert set(lines[1]) == set("-+")
    return cells[0], {row[0]: row for row in cells[1:]}, [line for line in lines[2:] if " | " not in line]


# --- list


def test_the_default_shows_mlx_chat_models_and_counts_the_others() -> None:
    header, rows, rest = _table(_view())
    assert header == ["Name", "Hash", "Size", "Modified", "Type"]
    assert rows.keys() == {"Llama-3.2-3B-Instruct", "org/own-chat", "org/broken-chat", "experiment"}
    assert rest == ["4 more: --all"]


def test_verbose_shows_all_mlx_models_with_full_names_and_framework() -> None:
    header, rows, rest = _table(_view(verbose=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert rows.keys() == {
        "mlx-community/Llama-3.2-3B-Instruct", "mlx-community/plain-base", "org/own-chat", "org/broken-chat",
        "experiment",
    }  # fmt: skip
    assert {row[4] for row in rows.values()} == {"MLX"}
    assert rows["mlx-community/plain-base"][5] == "base"
    assert rest == ["3 more: --all"]


def test_all_shows_every_framework() -> None:
    header, rows, rest = _table(_view(show_all=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert len(rows) == 8
    assert {name: row[4] for name, row in rows.items() if row[4] != "MLX"} == {
        "org/gguf-Chat": "GGUF",
        "org/torch-chat": "PyTorch",
        "org/sentences": "PyTorch",
    }
    assert rest == []


def test_all_and_verbose_together() -> None:
    header, rows, _ = _table(_view(show_all=True, verbose=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type"]
    assert len(rows) == 8
    assert "mlx-community/plain-base" in rows


def test_health_adds_one_column() -> None:
    header, rows, _ = _table(_view(health=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Type", "Health"]
    assert (rows["org/own-chat"][-1], rows["org/broken-chat"][-1]) == ("healthy", "unhealthy")
    header, rows, _ = _table(_view(show_all=True, health=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type", "Health"]
    assert rows["org/gguf-Chat"][-1] == rows["org/torch-chat"][-1] == "healthy*"


def test_verbose_health_adds_three_columns() -> None:
    header, rows, _ = _table(_view(show_all=True, verbose=True, health=True))
    assert header == ["Name", "Hash", "Size", "Modified", "Framework", "Type", "Integrity", "Runtime", "Reason"]
    assert rows["org/own-chat"][-3:] == ["healthy", "yes", "-"]
    assert rows["org/broken-chat"][-3:] == ["unhealthy", "-", "no weight files"]
    assert rows["org/torch-chat"][-3:] == ["healthy", "no", _NO_RUNTIME]


def _unreadable(name: str, modified: float = 0.0) -> ModelInfo:
    traits = ModelTraits(Framework.UNKNOWN, ModelType.UNKNOWN, (), None, None)
    empty = attrs.evolve(_broken(name, "model folder cannot be read: Permission denied"), size_bytes=0, traits=traits)
    return attrs.evolve(empty, commit=None, modified=modified, is_unreadable=True)


def test_a_model_that_cannot_be_read_is_shown_as_unreadable_with_its_reason() -> None:
    closed, models = _unreadable("org/closed"), (*_MODELS, _unreadable("org/closed"))
    _, rows, rest = _table(_view(), models)
    assert rows["org/closed"] == ["org/closed", "-", "-", "-", "unreadable"]
    assert rest == [f"unreadable: org/closed: {closed.reason}", "4 more: --all"]
    _, rows, rest = _table(_view(verbose=True, health=True), models)
    expected = ["org/closed", "-", "-", "-", "-", "unreadable", "unhealthy", "-", closed.reason]
    assert (rows["org/closed"], rest) == (expected, ["3 more: --all"])
    assert _table(_view(), [_unreadable("org/closed", _NOW - _DAY)])[1]["org/closed"][3] == "1d ago"


def test_show_says_that_a_model_cannot_be_read() -> None:
    details = attrs.evolve(_details(_unreadable("org/closed")), metadata=ModelMetadata(*[None] * 7))
    assert _text(show_lines(details, files=False, config=False, now=_NOW, columns=None)) == [
        "Model:         org/closed",
        "Type:          unreadable",
        "Health:        unhealthy (incomplete)",
        "Reason:        model folder cannot be read: Permission denied",
    ]


def test_the_cells_of_a_row() -> None:
    _, rows, _ = _table(_view(), [_model("mlx-community/big")])
    assert rows["big"] == ["big", "a1b2c3d", "2.5MB", "2d ago", "chat"]


def test_a_model_without_a_commit_has_no_hash() -> None:
    assert _table(_view())[1]["experiment"][1] == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0, "just now"),
        (59, "just now"),
        (60, "1m ago"),
        (0.05 * _DAY, "1h ago"),
        (2 * _DAY, "2d ago"),
        (8 * _DAY, "1w ago"),
        (65 * _DAY, "2mo ago"),
        (800 * _DAY, "2y ago"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (42, "42s"), (59.6, "1m00s"), (185, "3m05s"), (7800, "2h10m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_hidden_models_are_counted_if_no_model_is_shown() -> None:
    assert _listed([_MODELS[3]], _view()) == ["No MLX chat models found.", "1 more: --all"]


def test_damaged_models_are_counted_among_the_hidden() -> None:
    torn = attrs.evolve(_broken("org/torn"), traits=attrs.evolve(_MODELS[0].traits, framework=Framework.UNKNOWN))
    assert _listed([_MODELS[0], torn], _view())[-1] == "1 more (1 unhealthy): --all"


def test_an_empty_cache_names_the_starter_model_unless_a_pattern_was_given() -> None:
    assert _listed([], _view()) == ["No models found.", "To get a small model: mlxk pull starter"]
    assert _listed([], _view(pattern="starter")) == ["No models found matching 'starter'."]


def test_a_short_name_that_another_model_has_stays_long() -> None:
    models = [_model("mlx-community/gpt2"), _model("gpt2")]
    assert _table(_view(), models)[1].keys() == {"mlx-community/gpt2", "gpt2"}


def test_an_interrupted_removal_is_listed_with_its_size() -> None:
    assert _text(trash_lines([TrashItem("token", "org/gone", 2_500_000)])) == [
        "interrupted removal: org/gone (2.5MB), finish it with mlxk rm --orphans"
    ]


# --- health


def test_the_health_of_a_model_is_one_coloured_word() -> None:
    assert health_cell(_MODELS[0]) == Span("healthy", Style.GOOD)
    assert health_cell(_MODELS[4]) == Span("healthy*", Style.WEAK)
    assert health_cell(_MODELS[6]) == Span("unhealthy", Style.BAD)


def _report(*entries: ModelHealth) -> HealthReport:
    return HealthReport(entries)


def test_the_health_report_lists_healthy_models_first_and_counts_all() -> None:
    report = _report(
        ModelHealth("org/torn", Integrity.CORRUPT, "truncated"),
        ModelHealth("org/good", Integrity.STRUCTURAL, None),
        ModelHealth("org/proven", Integrity.VERIFIED, None, "1 file has no recorded hash"),
        ModelHealth("org/half", Integrity.INCOMPLETE, None),
    )
    assert _text(health_lines(report, None)) == [
        "healthy    org/good",
        "verified   org/proven (1 file has no recorded hash)",
        "unhealthy  org/torn: truncated",
        "unhealthy  org/half: incomplete",
        "4 models, 2 healthy (1 verified), 2 unhealthy",
    ]


def test_the_health_report_of_one_model_and_of_none() -> None:
    assert _text(health_lines(_report(ModelHealth("a", Integrity.STRUCTURAL, None)), None))[-1] == (
        "1 model, 1 healthy, 0 unhealthy"
    )
    assert _text(health_lines(_report(), None)) == [
        "0 models, 0 healthy, 0 unhealthy",
        "To get a small model: mlxk pull starter",
    ]


# --- show


def _details(info: ModelInfo = _MODELS[0]) -> ModelDetails:
    return ModelDetails(
        info=info,
        metadata=ModelMetadata("llama", "4bit", 4096, 1000, None, None, None),
        config={"model_type": "llama"},
        files=(
            ModelFile("config.json", 20, "config", Integrity.VERIFIED),
            ModelFile("model.safetensors", 2_499_980, "weights", Integrity.CORRUPT),
        ),
        card=ModelCard(license="apache-2.0", base_models=("org/base", "org/other")),
        chat_template_source="tokenizer_config.json",
    )


def _shown(found: ModelDetails, *, files: bool = False, config: bool = False, columns: int | None = None) -> list[str]:
    return _text(show_lines(found, files=files, config=config, now=_NOW, columns=columns))


def test_show_describes_a_model() -> None:
    assert _shown(_details()) == [
        "Model:         mlx-community/Llama-3.2-3B-Instruct@a1b2c3da1b2c",
        "Framework:     MLX",
        "Type:          chat",
        "Capabilities:  text-generation, chat",
        "Quantization:  4-bit, group size 64, affine",
        "Context:       4096 tokens",
        "Size:          2.5MB in 2 files",
        "Modified:      2d ago",
        "Chat template: tokenizer_config.json",
        "License:       apache-2.0",
        "Base model:    org/base, org/other",
        "Health:        healthy (structural)",
        "Runs here:     yes",
        "",
        "Metadata",
        "  model_type: llama",
        "  quantization: 4bit",
        "  context_length: 4096",
        "  vocab_size: 1000",
    ]


def test_show_says_why_a_model_is_unhealthy_or_does_not_run() -> None:
    assert _shown(_details(_MODELS[6]))[11:13] == [
        "Health:        unhealthy (incomplete)",
        "Reason:        no weight files",
    ]
    assert _shown(_details(_MODELS[4]))[11:14] == [
        "Health:        healthy* (structural)",
        "Runs here:     no",
        f"Reason:        {_NO_RUNTIME}",
    ]


def test_show_lists_files_and_the_config_in_place_of_the_metadata() -> None:
    both = _shown(_details(), files=True, config=True)
    assert both[13:] == [
        "",
        "File              | Size  | Type    | Integrity",
        "------------------+-------+---------+----------",
        "config.json       | 20B   | config  | verified",
        "model.safetensors | 2.5MB | weights | corrupt",
        "",
        "{",
        '  "model_type": "llama"',
        "}",
    ]


# --- widths


_LONG = _model(f"org/{'a-long-name-' * 6}end", runtime_compatible=False, reason=_NO_RUNTIME)


@pytest.mark.parametrize("columns", _WIDTHS)
@pytest.mark.parametrize("view", [_view(), _view(show_all=True), _view(show_all=True, verbose=True, health=True)])
def test_no_line_of_a_list_is_wider_than_the_terminal(view: ListView, columns: int) -> None:
    assert [line for line in _listed([*_MODELS, _LONG], view, columns) if len(line) > columns] == []


@pytest.mark.parametrize("columns", _WIDTHS)
def test_no_line_of_show_or_health_is_wider_than_the_terminal(columns: int) -> None:
    report = _report(
        ModelHealth(_LONG.name, Integrity.STRUCTURAL, None),
        ModelHealth("org/torn", Integrity.CORRUPT, f"{'a-long-file-name-' * 9}: truncated"),
    )
    lines = _shown(_details(_LONG), files=True, columns=columns) + _text(health_lines(report, columns))
    assert [line for line in lines if len(line) > columns] == []


def test_a_wide_terminal_keeps_each_row_on_one_line_as_a_pipe_does() -> None:
    view = _view(verbose=True, health=True)
    assert _listed(_MODELS, view, 200) == _listed(_MODELS, view)


def test_a_long_reason_is_wrapped_between_words() -> None:
    lines = _listed([_MODELS[4], _MODELS[0]], _view(show_all=True, verbose=True, health=True), 120)
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines if " | " in line]
    reasons = [row[-1] for row in rows[1:]]
    assert "an_architecture_of_tomorrow" in "".join(reasons)
    assert "Model architecture" in reasons


def test_a_narrow_terminal_gets_a_paragraph_for_each_model() -> None:
    lines = _listed(_MODELS, _view(verbose=True, health=True), 60)
    place = lines.index("org/broken-chat")
    assert lines[place + 1].startswith("  Hash: ")
    assert any("  Integrity: unhealthy" in line for line in lines)
    assert not any(" | " in line for line in lines)


@pytest.mark.parametrize("columns", [None, 60, 200])
def test_no_line_ends_with_spaces(columns: int | None) -> None:
    lines = _listed(_MODELS, _view(show_all=True, verbose=True, health=True), columns)
    lines += _shown(_details(), files=True, config=True, columns=columns)
    assert all(line == line.rstrip() for line in lines)


def test_colours_do_not_move_the_columns() -> None:
    lines = [*list_lines(_MODELS, _view(show_all=True, health=True), now=_NOW, columns=None)]
    for line in lines:
        pieces = list(line)
        coloured = paint(pieces, colour=True)
        for style in Style:
            coloured = coloured.replace(f"\x1b[{style.value}m", "")
        assert coloured.replace("\x1b[0m", "").rstrip() == paint(pieces, colour=False)
