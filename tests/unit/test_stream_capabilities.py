"""What the variables of the environment decide about colour, redrawing and width."""

from __future__ import annotations

import io

import pytest

from mlxknife.cli.render.terminal import can_redraw, columns, has_colour, line_width


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "CI", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("variables", "colour", "redraw"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, False, True),
        ({"NO_COLOR": ""}, True, True),
        ({"CI": "true"}, False, False),
        ({"CI": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
    ],
    ids=str,
)
def test_variables_turn_colour_and_redrawing_off(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, colour: bool, redraw: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (has_colour(_Terminal()), can_redraw(_Terminal())) == (colour, redraw)
    assert (has_colour(io.StringIO()), can_redraw(io.StringIO())) == (False, False)


@pytest.mark.parametrize(("value", "width"), [("40", 40), ("200", 200), ("", 0), ("0", 0), ("-3", 0), ("wide", 0)])
def test_columns_are_a_positive_number_or_unknown(monkeypatch: pytest.MonkeyPatch, value: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", value)
    assert columns(io.StringIO()) == width
    assert line_width(_Terminal()) == (width or 80)


def test_a_pipe_has_no_maximum_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert line_width(io.StringIO()) is None
