"""docs/settings.md has every setting of the table, with its variables and its default."""

from __future__ import annotations

import json
from pathlib import Path

from mlxknife.domain.settings.values.table import SETTINGS, Setting

_PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def row(setting: Setting) -> str:
    variables = [*setting.hub_variables, *([f"MLXK_{setting.variable}"] if setting.variable else [])]
    default = setting.unset if setting.default in (None, ()) else f"`{json.dumps(setting.default)}`"
    return f"| `{setting.key}` | {' '.join(f'`{name}`' for name in variables)} | {default} | {setting.meaning} |"


def test_every_setting_has_its_row_and_no_row_is_left_over() -> None:
    rows = [line for line in _PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    keyed = [line for line in rows if line.count("|") == row(next(iter(SETTINGS.values()))).count("|")]
    assert keyed == [row(setting) for setting in SETTINGS.values()]
