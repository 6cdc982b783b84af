"""Laws of tool calls: what is a call and what is text does not depend on where an answer is cut."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mlxknife.domain.tools.rules.families import FORMATS, Begin, ToolFamily
from tests.tool_streams import TOOLS, Arguments, Call, split, splitter, values, written

_STRINGS = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=8) | st.sampled_from(
    ["stop", "}\n", "a\nb", "\\", '"', "'", "é\u2028", "{", "]", "]}", "True", "12", '{"a": 1}', "\n x \n"]
)
_SCALARS = _STRINGS | st.integers(-99, 99) | st.booleans() | st.none() | st.floats(-9, 9, allow_nan=False)
_KEYS = st.sampled_from(["a", "b_2", "long_key"])
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3), max_leaves=5
)
_ARGUMENTS: st.SearchStrategy[Arguments] = st.fixed_dictionaries(
    {},
    optional={
        "city": _STRINGS,
        "count": st.integers(-(10**20), 10**20),
        "size": st.floats(allow_nan=False, allow_infinity=False),
        "is_new": st.booleans(),
        "place": st.dictionaries(_KEYS, _VALUES, max_size=3),
        "names": st.lists(_VALUES, max_size=3),
        "note": st.none()
        | st.text("abc <>\n", min_size=1).filter(lambda text: "</" not in text and text.strip() == text),
    },
)
_CALLS: st.SearchStrategy[list[Call]] = st.lists(
    st.tuples(st.sampled_from([tool.name for tool in TOOLS]), _ARGUMENTS), min_size=1, max_size=3
)
_FAMILIES = st.sampled_from(ToolFamily)
_WORDS = st.lists(st.sampled_from(["Let me see.", " ", "\n\n", "<", "[", "{", "a stop", "[1]", "é"]), max_size=4).map(
    "".join
)
_PIECES = [
    *(
        "<tool_call>",
        "</tool_call>",
        "<function=",
        "get",
        "get_weather",
        ">",
        "<parameter=",
        "</parameter>",
        "</function>",
    ),
    *(
        '{"name": "get"',
        ', "arguments": ',
        ', "parameters": {',
        "{}",
        '{"city": "',
        '"',
        "}",
        "[",
        "]",
        "(",
        ")",
        "city=",
    ),
    *("[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "<|tool_call_start|>", "<|tool_call_end|>", "\\", "'", ",", ";", ":"),
    *(
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
        "</arg_value>",
        "city",
        "1",
        "\n",
        " ",
        "<",
        "stop",
        "é",
        "none",
        "null",
    ),
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>functions.", ":0", "<|tool_call_argument_begin|>"),
    *("<minimax:tool_call>", '<invoke name="', '<parameter name="', '">', "</invoke>", "<|channel|>", "commentary to="),
    *(" <|constrain|>json<|message|>", "<start_function_call>call:", "<escape>", "<end_function_call>", '<|"|>'),
    *(
        "<|tool_call>call:",
        "<tool_call|>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "```json",
    ),
]


@st.composite
def _cuts(draw: st.DrawFn, text: str) -> list[str]:
    """Return the parts of a text that is cut anywhere."""
    places = draw(st.lists(st.integers(0, len(text)), max_size=12))
    return [text[start:stop] for start, stop in pairwise([0, *sorted(places), len(text)])]


def _can_follow_text(family: ToolFamily) -> bool:
    return FORMATS[family].is_begun is not Begin.RARELY


@given(_FAMILIES, st.data(), _CALLS, _WORDS, _WORDS)
def test_calls_are_found_wherever_the_answer_is_cut(
    family: ToolFamily, data: st.DataObject, calls: list[Call], before: str, after: str
) -> None:
    if not _can_follow_text(family):  # and a "<" at the end may begin the marker that such an answer may have
        before, after = "", after.rstrip("<")
    text = before + written(family, calls) + after
    found, tools = split(splitter(family), data.draw(_cuts(text)))
    assert values(tools) == calls
    assert [call.id for call in tools] == [f"call_{number}" for number in range(len(calls))]
    assert found == before.rstrip() + (after if after.strip() else "")


@given(_FAMILIES, st.data(), _CALLS)
def test_every_character_alone_gives_the_same_as_the_whole_text(
    family: ToolFamily, data: st.DataObject, calls: list[Call]
) -> None:
    text = written(family, calls)
    text = text[: data.draw(st.integers(0, len(text)))]
    assert split(splitter(family), text) == split(splitter(family), [text])


@given(_FAMILIES, st.data(), _CALLS)
def test_a_forced_answer_has_no_text_wherever_it_ends(
    family: ToolFamily, data: st.DataObject, calls: list[Call]
) -> None:
    text = written(family, calls)
    text = text[: data.draw(st.integers(0, len(text)))]
    free, forced = (split(splitter(family, is_forced=is_forced), [text]) for is_forced in (False, True))
    assert forced == ("", free[1])


@given(_FAMILIES, st.data(), st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_broken_markup_is_read_the_same_wherever_it_is_cut(family: ToolFamily, data: st.DataObject, text: str) -> None:
    for is_parallel in (True, False):
        whole = split(splitter(family, is_parallel=is_parallel), [text])
        assert split(splitter(family, is_parallel=is_parallel), data.draw(_cuts(text))) == whole
        assert split(splitter(family, is_parallel=is_parallel), text) == whole


@given(_FAMILIES, st.data(), st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_an_answer_without_a_call_is_passed_on_unchanged(family: ToolFamily, data: st.DataObject, text: str) -> None:
    assert split(splitter(family, tools=()), data.draw(_cuts(text))) == (text, [])
    found, tools = split(splitter(family), [text])
    assert tools or found == text


@given(_FAMILIES, _CALLS)
def test_without_parallel_calls_the_answer_ends_after_its_first_call(family: ToolFamily, calls: list[Call]) -> None:
    alone = splitter(family, is_parallel=False)
    found, tools = split(alone, [written(family, calls) + " text"])
    assert (values(tools), found, alone.has_finished) == (calls[:1], "", True)
