"""The table of tool families."""

from __future__ import annotations

import pytest

from mlxknife.domain.tools.rules.families import FORMATS, Begin, Shape, ToolFamily


def test_each_family_has_a_format() -> None:
    assert set(FORMATS) == set(ToolFamily)


@pytest.mark.parametrize("family", ToolFamily)
def test_a_call_begins_with_a_marker_and_has_a_place_for_its_arguments(family: ToolFamily) -> None:
    form = FORMATS[family]
    marker = (*form.begin, *form.call_begin)[0]
    assert marker[0] in "<["
    assert marker == marker.strip()
    assert form.begin or form.is_begun is Begin.ALWAYS
    assert bool(form.key_begin and form.key_end and form.value_end) is (form.shape is Shape.XML)
    assert bool(form.quote) is (form.shape is Shape.GEMMA)
