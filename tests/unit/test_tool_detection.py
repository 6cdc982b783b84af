"""Detection of tool families: by the chat template, the vocabulary, and what a repo declares."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mlxknife.domain.tools.rules.detection import tool_family
from mlxknife.domain.tools.rules.families import ToolFamily
from tests.chat_families import FAMILIES
from tests.tool_templates import TOOL_TEMPLATES, ToolTemplate

_HERMES = next(one.template for one in TOOL_TEMPLATES if one.family is ToolFamily.HERMES)


@pytest.mark.parametrize("one", TOOL_TEMPLATES, ids=lambda one: one.family.value)
def test_a_template_shows_its_family(one: ToolTemplate) -> None:
    assert tool_family(one.template, ()) is one.family


def test_every_family_has_a_template_here() -> None:
    assert {one.family for one in TOOL_TEMPLATES} == set(ToolFamily)


@pytest.mark.parametrize("template", [None, "", *(family.template for family in FAMILIES if family.name != "parrot")])
def test_a_template_without_tools_or_signs_has_the_generic_format(template: str | None) -> None:
    assert tool_family(template, ()) is ToolFamily.GENERIC


def test_a_template_that_takes_no_tools_can_only_be_used_with_the_generic_format() -> None:
    without = _HERMES.replace("tools", "others")
    assert tool_family(without, ("<|tool_call_start|>",), "json_tools") is ToolFamily.GENERIC


def test_the_vocabulary_tells_what_the_template_does_not() -> None:
    template = "{{ tools | tojson }}{{ messages }}"
    assert tool_family(template, ("<|tool_call_start|>", "<|tool_call_end|>")) is ToolFamily.LFM2


@pytest.mark.parametrize(
    ("declared", "family"),
    [
        ("qwen3_coder", ToolFamily.QWEN3_CODER),
        ("json_tools", ToolFamily.HERMES),
        ("glm47", ToolFamily.GLM47),
        ("mistral", ToolFamily.MISTRAL_ARGS),
    ],
)
def test_a_declared_parser_decides(declared: str, family: ToolFamily) -> None:
    assert tool_family(_HERMES, (), declared) is family


def test_a_declared_parser_of_two_families_leaves_the_choice_to_the_template() -> None:
    for one in TOOL_TEMPLATES:
        if one.family in (ToolFamily.MISTRAL, ToolFamily.MISTRAL_ARGS):
            assert tool_family(one.template, (), "mistral") is one.family
        if one.family in (ToolFamily.GLM45, ToolFamily.GLM47):
            assert tool_family(one.template, (), "glm47") is one.family


@pytest.mark.parametrize(
    "declared",
    ["os", "../../evil", "mlx_lm.tool_parsers.mistral", "", " mistral", None, 7, [], {"name": "mistral"}, ["os"]],
)
def test_an_unknown_declaration_is_ignored_and_never_imported(declared: Any) -> None:  # noqa: ANN401
    before = set(sys.modules)
    assert tool_family(_HERMES, (), declared) is ToolFamily.HERMES
    assert not {name for name in set(sys.modules) - before if "tool_parsers" in name or "evil" in name}


@pytest.mark.parametrize(
    "repeated", ["<tool_call>", "<tool_call>\n", "</arg_key>\n", "<｜tool▁calls▁begin｜>", "[TOOL_CALLS]", " \n'\"{"]
)
def test_a_hostile_template_is_read_in_linear_time(repeated: str) -> None:
    assert tool_family("tools" + repeated * 200_000, ()) in ToolFamily
