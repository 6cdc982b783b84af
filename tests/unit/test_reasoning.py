"""Reasoning markers: which a model has, and how they split a text."""

from __future__ import annotations

import pytest

from mlxknife.domain.generation.rules.reasoning import ReasoningMarkers, ReasoningSplitter, find_markers
from mlxknife.domain.generation.values.answer import TextKind

_CHANNELS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
_NEXT = "<|end|><|start|>assistant"


def _split(text: str, markers: ReasoningMarkers | None) -> tuple[str, str]:
    """Return the reasoning and the answer of a text that is fed one character at a time."""
    splitter = ReasoningSplitter(markers)
    deltas = [delta for char in text for delta in splitter.feed(char)]
    deltas += splitter.flush()
    reasoning, answer = (
        "".join(delta.text for delta in deltas if delta.kind is kind) for kind in (TextKind.REASONING, TextKind.ANSWER)
    )
    return reasoning, answer


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("<seed:think>", "</seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<longcat_think>", "</longcat_think>"),
        ("<|think:start|>", "<|think:end|>"),
    ],
)
def test_a_family_is_found_by_its_tokens_or_its_template(begin: str, end: str) -> None:
    for markers in (
        find_markers({begin, end, "other"}, "", "assistant"),
        find_markers({"other"}, f"{{% if think %}}{begin}{{{{ it }}}}{end}{{% endif %}}", "assistant"),
    ):
        assert markers is not None
        assert not markers.begins_inside
        assert _split(f"{begin}\nHm.\n{end}\n\nYes.", markers) == ("Hm.", "Yes.")
        assert _split(f"Yes, {begin}no{end}.", markers) == ("", f"Yes, {begin}no{end}.")
    assert find_markers({begin}, begin, begin) is None
    begun = find_markers({begin, end}, "", f"assistant{begin}\n")
    assert _split(f"Hm.{end}Yes.", begun) == ("Hm.", "Yes.")
    over = find_markers({begin, end}, "", f"assistant{begin}{end}")
    assert _split("Yes.", over) == ("", "Yes.")


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("<|START_RESPONSE|>Yes.<|END_RESPONSE|>", ("", "Yes.")),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", ("Hm.", "Yes.")),
        ("<|START_THINKING|>Hm.<|END_THINKING|>\n<|START_RESPONSE|>\nYes.\n", ("Hm.", "Yes.\n")),
        ("<|START_THINKING|>Hm.<|END_THINKING|>Yes.", ("Hm.", "Yes.")),
        ("<|START_THINKING|>Hm.", ("Hm.", "")),
    ],
)
def test_markers_around_the_answer_are_dropped(text: str, split: tuple[str, str]) -> None:
    assert _split(text, find_markers({"<|START_THINKING|>", "<|END_THINKING|>"}, "", "")) == split


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("<|channel|>final<|message|>Yes.", ("", "Yes.")),
        (f"<|channel|>analysis<|message|>Hm.{_NEXT}<|channel|>final<|message|>Yes.", ("Hm.", "Yes.")),
        ("<|channel|>final <|constrain|>json<|message|>{}", ("", "{}")),
        ("<|message|>Yes.", ("", "Yes.")),
        (
            f"<|channel|>commentary<|message|>First I add.{_NEXT}<|channel|>final<|message|>42",
            ("", "First I add.\n\n42"),
        ),
        ("<|channel|>commentary to=functions.add <|constrain|>json<|message|>{}", ("{}", "")),
        ("<|channel|>commentary to=functions.add<|channel|>json<|message|>{}", ("{}", "")),
        (" to=functions.add<|channel|>commentary <|constrain|>json<|message|>{}", ("{}", "")),
        (
            f"<|channel|>analysis<|message|>Hm.{_NEXT} to=functions.add<|channel|>commentary json<|message|>{{}}",
            ("Hm.\n\n{}", ""),
        ),
        ("<|channel|>analysis to=python code<|message|>1+1<|call|>", ("1+1<|call|>", "")),
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>user<|message|>And?", ("Hm.\n\nAnd?", "")),
        ("<|channel|>unheard of<|message|>Hm.", ("Hm.", "")),
        ("<|channel|>fin", ("", "")),
        (f"<|channel|>analysis<|message|>Hm.{_NEXT}<|channel|>comm", ("Hm.", "")),
        ("No header.", ("", "No header.")),
        ("tomorrow", ("", "tomorrow")),
        ("<|chan", ("", "<|chan")),
        ("<|channel|>final<|message|>It ends with <|end|>", ("", "It ends with ")),
    ],
)
def test_the_answer_of_gpt_oss_is_its_messages_for_the_user(text: str, split: tuple[str, str]) -> None:
    assert _split(text, find_markers(_CHANNELS, "", "")) == split


def test_a_text_that_begins_like_a_header_is_passed_on() -> None:
    text = "to=be or not to be, " * 30
    assert _split(text, find_markers(_CHANNELS, "", "")) == ("", text)
