"""``mlxk config`` as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from mlxknife.cli.render.table import Cell, table
from mlxknife.cli.render.text import Line, Span, Style
from mlxknife.domain.settings.rules import checks
from mlxknife.domain.settings.values.table import SettingValue, Source


def settings_lines(values: Sequence[SettingValue], path: str, *, exists: bool, columns: int | None) -> Iterator[Line]:
    """Yield a table of the settings, and the path of the config file."""
    rows: list[tuple[Cell, ...]] = [(value.setting.key, _value(value), _source(value)) for value in values]
    yield from table(("Key", "Value", "Source"), rows, columns)
    yield ()
    yield (f"Config file: {path}{'' if exists else ' (not there yet: mlxk config edit)'}",)


def setting_lines(value: SettingValue, path: str) -> Iterator[Line]:
    """Yield what was set, and the variable that wins over it."""
    if value.source is Source.VARIABLE:
        yield (f"Saved in {path}",)
        yield (Span(f"{value.variable} wins over it: {value.setting.key} stays ", Style.WEAK), _value(value))
    else:
        yield (f"{value.setting.key} = ", _value(value), f" in {path}")


def _value(value: SettingValue) -> Cell:
    if value.value is None or value.value == ():
        return Span(value.setting.unset, Style.FAINT)
    shown = checks.shown(value)
    text = shown if isinstance(shown, str) and shown.strip() else json.dumps(shown)
    return Span(text, Style.FAINT) if value.source is Source.DEFAULT else text


def _source(value: SettingValue) -> Cell:
    if value.source is Source.DEFAULT:
        return Span("default", Style.FAINT)
    return value.variable or "config file"
