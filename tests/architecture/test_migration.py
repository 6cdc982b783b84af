"""MIGRATION.md: its rows have ids that the comparison uses, its forms are understood, its variables are not read."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest

import mlxknife
from mlxknife.cli.arguments import command_parser, resolve_command
from mlxknife.cli.commands.run import RunOptions

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "MIGRATION.md").read_text(encoding="utf-8")
RULES = Counter(re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE))
FORMS = re.findall(r"^\| `(mlxk [^`]+)` \| `(mlxk [^`]+)` \|$", PAGE, re.MULTILINE)
WITHOUT_EFFECT = {"force_resume"}


def test_every_rule_of_the_comparison_is_one_row_of_the_page() -> None:
    rules = runpy.run_path(str(ROOT / "benchmarks" / "migration_rules.py"))["RULES"]
    assert len(rules) > 15
    assert set(rules) - set(RULES) == set()
    assert [rule for rule, count in RULES.items() if count > 1] == []


def meaning(line: str) -> tuple[str, dict[str, Any]]:
    """Return the command of a line, and its options as the command sees them."""
    _, word, *words = shlex.split(line)
    name = resolve_command(word)
    command = importlib.import_module(f"mlxknife.cli.commands.{name}")
    parser = command_parser(name)
    command.add_arguments(parser)
    parser.omit_unset()
    given = {key: value for key, value in vars(parser.parse_mixed(words)).items() if key not in ("json", "debug")}
    options = command.OPTIONS(**given)
    fields = {key: value for key, value in attrs.asdict(options).items() if key not in WITHOUT_EFFECT}
    if isinstance(options, RunOptions):
        fields |= {"prompt": options.words, "prompt_text": None}
    return name, fields


@pytest.mark.parametrize(("form", "same"), FORMS, ids=lambda value: value)
def test_a_form_that_is_kept_means_what_the_page_says(form: str, same: str) -> None:
    assert meaning(form) == meaning(same)


def test_the_page_has_the_forms() -> None:
    assert len(FORMS) > 5


def test_the_variables_without_effect_are_not_read() -> None:
    section = PAGE.partition("## Variables without effect")[2].partition("## ")[0]
    variables = set(re.findall(r"`MLXK2_([A-Z_]+)`", section)) - {"ENABLE_ALPHA_FEATURES"}
    assert len(variables) > 5
    sources = [path.read_text(encoding="utf-8") for path in Path(mlxknife.__file__).parent.rglob("*.py")]
    assert [name for name in variables if any(name in source for source in sources)] == []
