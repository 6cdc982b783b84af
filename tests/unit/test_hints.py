"""Every hint code has a wording, and every place that raises one gives the fields that the wording needs."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import pytest

import mlxknife
from mlxknife.cli import hints as cli_hints
from mlxknife.domain.errors import ModelNotFound
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.http.core import hints as http_hints

PACKAGE = Path(mlxknife.__file__).parent


def fields_of(wording: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(wording) if name is not None}


def uses() -> Iterator[tuple[str, HintCode, set[str]]]:
    """Find each ``HintCode.X`` in the package, with the names of the fields that go with it."""
    for path in PACKAGE.rglob("*.py"):
        if path.name == "hints.py":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        given = {
            id(call.args[0]): {str(field.arg) for field in call.keywords}
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Hint"
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "HintCode":
                yield f"{path}:{node.lineno}", HintCode[node.attr], given.get(id(node), set())


def test_the_command_line_words_every_code() -> None:
    assert set(cli_hints.WORDINGS) == set(HintCode)


def test_http_needs_no_field_that_the_command_line_does_not_have() -> None:
    for code, wording in http_hints.WORDINGS.items():
        assert fields_of(wording) <= fields_of(cli_hints.WORDINGS[code])


def test_every_code_is_used() -> None:
    assert {code for _, code, _ in uses()} == set(HintCode)


CHOSEN_BEFORE = {HintCode.PULL_MISSING_FILES, HintCode.SHOW_MODEL}
"""Codes that the model check chooses between before it adds the name."""


def test_every_use_gives_the_fields_of_the_wording() -> None:
    for place, code, given in uses():
        if code not in CHOSEN_BEFORE:
            assert given == fields_of(cli_hints.WORDINGS[code]), f"{place} {code}"


def test_no_wording_for_clients_names_a_command_an_option_or_a_setting() -> None:
    for wording in http_hints.WORDINGS.values():
        assert not any(word in wording for word in ("mlxk", "--", "./", "HF_", "MLXK"))


@pytest.mark.parametrize("value", ["{name}", "a}b{", "%s", ""])
def test_a_field_is_printed_as_it_is(value: str) -> None:
    assert cli_hints.hint_text(Hint(HintCode.PULL_MODEL, name=value)) == f"Download it with: mlxk pull {value}"


def test_a_code_without_fields_needs_no_hint_value() -> None:
    assert ModelNotFound("No", hint=HintCode.LIST_MODELS).hint == Hint(HintCode.LIST_MODELS)
    assert ModelNotFound("No").hint is None
    assert cli_hints.hint_text(None) is None


def test_a_code_without_a_wording_for_clients_is_left_out_and_logged_as_code() -> None:
    assert http_hints.hint_text(Hint(HintCode.PULL_MODEL, name="org/m")) is None
    assert http_hints.log_text(Hint(HintCode.PULL_MODEL, name="org/m")) == "hint: pull_model org/m"
    assert http_hints.log_text(None) is None


def test_no_hint_installs_the_product_from_an_index_that_may_not_have_it() -> None:
    """An extra of the product can be installed only where the product itself came from: name its packages instead."""
    for path in PACKAGE.rglob("*.py"):
        assert "mlxknife[" not in path.read_text(encoding="utf-8"), path
    installed = {name for text in cli_hints.WORDINGS.values() for name in re.findall(r"pip install (\S+)", text)}
    extras = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert installed <= {re.split(r"[>=<]", requirement)[0] for extra in extras.values() for requirement in extra}
