"""Untrusted text never controls a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from hypothesis import example, given
from hypothesis import strategies as st

from mlxknife.cli.render.table import table
from mlxknife.cli.render.text import Line, Span, Style, age, paint, wrapped
from mlxknife.domain.text.rules import display
from mlxknife.domain.text.rules.display import visible, width
from tests.property.strategies import strange_text

_BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
_MARKS = "\u200e\u200f\u061c"
_CODE = re.compile(r"\x1b\[\d+m")
_FACTORS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

_pieces = st.one_of(strange_text(), st.builds(Span, strange_text(), st.sampled_from(Style)))
_tables = st.integers(1, 4).flatmap(
    lambda columns: st.tuples(
        st.lists(strange_text(8), min_size=columns, max_size=columns),
        st.lists(st.lists(_pieces, min_size=columns, max_size=columns), max_size=4),
        st.integers(40, 120),
    )
)


def _is_harmless(char: str) -> bool:
    steers = unicodedata.category(char) in ("Cc", "Cs") or unicodedata.bidirectional(char) in _BIDI or char in _MARKS
    return not steers and len(f"a{char}b".splitlines()) == 1


@given(strange_text())
def test_visible_text_contains_no_control_character(text: str) -> None:
    shown = visible(text)
    assert all(map(_is_harmless, shown))
    assert shown.encode().decode() == shown


@given(strange_text())
def test_escaping_twice_changes_nothing(text: str) -> None:
    assert visible(visible(text)) == visible(text)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs", "M"])))
def test_printable_text_of_any_language_is_unchanged(text: str) -> None:
    assert visible(text) == text


@given(st.lists(_pieces))
def test_a_line_without_colour_is_one_line_without_escapes(line: list[str | Span]) -> None:
    assert all(map(_is_harmless, paint(line, colour=False)))


@given(st.lists(_pieces))
def test_a_coloured_line_contains_only_own_escape_codes(line: list[str | Span]) -> None:
    painted = paint(line, colour=True)
    assert all(map(_is_harmless, _CODE.sub("", painted)))
    assert painted.count("\x1b") == 2 * sum(isinstance(piece, Span) for piece in line)


@given(_tables)
def test_a_table_contains_no_control_character_and_its_columns_align(
    made: tuple[list[str], list[list[str | Span]], int],
) -> None:
    header, rows, _ = made
    shown = _shown(table(header, rows))
    assert len(set(map(width, shown))) == 1
    assert len(shown) == 2 + len(rows)


@given(_tables)
def test_a_table_fits_its_width(made: tuple[list[str], list[list[str | Span]], int]) -> None:
    header, rows, columns = made
    assert all(
        width(line) <= columns
        for line in _shown(table(["Name", "Type", "Modified", "Health"][: len(header)], rows, columns))
    )


def _shown(lines: Iterator[Line]) -> list[str]:
    """Return the visible text of lines, after a check that they contain no control characters."""
    found = [list(line) for line in lines]
    assert all(all(map(_is_harmless, paint(line, colour=False))) for line in found)
    return ["".join(visible(piece.text if isinstance(piece, Span) else piece) for piece in line) for line in found]


@given(strange_text(200), st.integers(2, 60))
@example("\xa0", 2)
@example("a \u2003 b\xa0", 3)
def test_wrapped_text_fits_its_width_and_loses_only_spaces(text: str, columns: int) -> None:
    lines = wrapped(visible(text), columns)
    assert "".join(lines).replace(" ", "") == visible(text).replace(" ", "")
    assert all(width(line) <= columns for line in lines)


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1), st.integers(9, 40))
def test_a_word_that_fits_into_a_line_is_not_split(words: list[str], columns: int) -> None:
    assert " ".join(wrapped(" ".join(words), columns)).split() == words


@given(strange_text(), strange_text())
def test_widths_add_up_and_are_never_negative(left: str, right: str) -> None:
    assert width(visible(left) + visible(right)) == width(visible(left)) + width(visible(right))
    assert 0 <= width(visible(left)) <= 2 * len(visible(left))


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_ascii_text_is_as_wide_as_it_is_long(text: str) -> None:
    assert width(text) == len(text)


@given(st.integers(0, 10**15))
def test_a_size_is_exact_to_its_last_digit(size_bytes: int) -> None:
    found = re.fullmatch(r"(\d+(?:\.\d)?)([KMGT]?B)", display.size(size_bytes))
    assert found is not None
    number, factor = float(found[1]), _FACTORS[found[2]]
    assert abs(number * factor - size_bytes) <= 0.0501 * factor
    assert number < 1000 or found[2] == "TB"


@given(st.floats(-(10**12), 10**12), st.floats(0, 10**12))
def test_an_older_model_is_never_shown_as_newer(seconds: float, more: float) -> None:
    assert _seconds(age(seconds)) <= _seconds(age(seconds + more))
    assert _seconds(age(seconds)) <= max(seconds, 0)


def _seconds(age: str) -> int:
    if age == "just now":
        return 0
    found = re.fullmatch(r"(\d+)(y|mo|w|d|h|m) ago", age)
    assert found is not None
    lengths = {"y": 31_536_000, "mo": 2_592_000, "w": 604_800, "d": 86_400, "h": 3_600, "m": 60}
    return int(found[1]) * lengths[found[2]]
