"""The marks of each family, told by the vocabulary or the template, and what is shown of a text that has them."""

from __future__ import annotations

import pytest

from mlxknife.domain.generation.rules.reasoning import Splitter, markers
from mlxknife.domain.generation.values.generation import Markers, PieceKind

_CHANNELS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>")
_NEXT = "<|end|><|start|>assistant"


def _told(text: str, marks: Markers | None) -> tuple[str, str]:
    """Return what is thought and what is answered, of a text that comes a character at a time."""
    splitter = Splitter(marks)
    pieces = [piece for char in text for piece in splitter.feed(char)]
    pieces += splitter.flush()
    thought, answer = (
        "".join(piece.text for piece in pieces if piece.kind is kind)
        for kind in (PieceKind.REASONING, PieceKind.ANSWER)
    )
    return thought, answer


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("[THINK]", "[/THINK]"),
        ("<seed:think>", "</seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"),
        ("<longcat_think>", "</longcat_think>"),
    ],
)
def test_a_family_is_known_by_its_tokens_or_its_template(begin: str, end: str) -> None:
    for marks in (
        markers({begin, end, "other"}, "", "assistant"),
        markers({"other"}, f"{{% if think %}}{begin}{{{{ it }}}}{end}{{% endif %}}", "assistant"),
    ):
        assert marks is not None
        assert not marks.begins_inside
        assert _told(f"{begin}\nHm.\n{end}\n\nYes.", marks) == ("Hm.", "Yes.")
        assert _told(f"Yes, {begin}no{end}.", marks) == ("", f"Yes, {begin}no{end}.")
    assert markers({begin}, begin, begin) is None
    begun = markers({begin, end}, "", f"assistant{begin}\n")
    assert _told(f"Hm.{end}Yes.", begun) == ("Hm.", "Yes.")
    over = markers({begin, end}, "", f"assistant{begin}{end}")
    assert _told("Yes.", over) == ("", "Yes.")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<|START_RESPONSE|>Yes.<|END_RESPONSE|>", ("", "Yes.")),
        ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>", ("Hm.", "Yes.")),
        ("<|START_THINKING|>Hm.<|END_THINKING|>\n<|START_RESPONSE|>\nYes.\n", ("Hm.", "Yes.\n")),
        ("<|START_THINKING|>Hm.<|END_THINKING|>Yes.", ("Hm.", "Yes.")),
        ("<|START_THINKING|>Hm.", ("Hm.", "")),
    ],
)
def test_an_answer_with_marks_of_its_own_shows_none_of_them(text: str, told: tuple[str, str]) -> None:
    assert _told(text, markers({"<|START_THINKING|>", "<|END_THINKING|>"}, "", "")) == told


@pytest.mark.parametrize(
    ("text", "told"),
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
def test_of_the_messages_of_gpt_oss_the_answer_is_what_is_for_the_user(text: str, told: tuple[str, str]) -> None:
    assert _told(text, markers(_CHANNELS, "", "")) == told


def test_what_begins_as_a_header_and_is_none_is_shown() -> None:
    text = "to=be or not to be, " * 30
    assert _told(text, markers(_CHANNELS, "", "")) == ("", text)
