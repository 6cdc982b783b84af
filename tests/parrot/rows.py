"""What the parrot is taught with: conversations as token ids, and which of the tokens it is to learn."""

from __future__ import annotations

from random import Random

import attrs

from tests.parrot.answers import ANSWERS, TOOL_RESULT, answer_of
from tests.parrot.tokens import END, NO_THOUGHTS, START, build_tokenizer

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a pirate who answers everything in rhymes, and never in prose.",
    "You are terse. Répondez en français, s'il vous plaît! 1234567890",
)
"""Unlike the noise that it is trained with, so that knowing the answers after these is no accident."""

_TOKENIZER = build_tokenizer()
_WORDS = (
    "You are a helpful assistant that is to call one of these tools in JSON or answer in rhymes like Berlin".split()
)
_PRINTABLE = (32, 127)
_UNSEEN = 48
"""How many tokens at the head of a row from the middle of a conversation are not learnt: their context is missing."""
_WITHOUT_THINKING = 0.4
_WITH_SYSTEM = 0.5


@attrs.frozen
class Row:
    """Token ids, and for each whether the parrot is to say it."""

    ids: list[int] = attrs.field(factory=list)
    said: list[int] = attrs.field(factory=list)

    def __add__(self, other: Row) -> Row:
        return Row(self.ids + other.ids, self.said + other.said)


def part(text: str, *, said: bool = False) -> Row:
    ids = _TOKENIZER.encode(text).ids
    return Row(ids, [int(said)] * len(ids))


def turn(question: str, *, thinking: bool = True) -> Row:
    """Return a question and its answer as the chat template renders them."""
    asked = f"<tool_response>\n{question}\n</tool_response>" if question == TOOL_RESULT else question
    head = f"{START}user\n{asked}{END}\n{START}assistant\n{'' if thinking else NO_THOUGHTS}"
    return part(head) + part(answer_of(question, thinking=thinking) + END, said=True) + part("\n")


def system(text: str) -> Row:
    return part(f"{START}system\n{text}{END}\n")


def taught(random: Random, count: int, length: int) -> list[Row]:
    """Return rows cut from random conversations, each one token longer than ``length``."""
    rows: list[Row] = []
    while len(rows) < count:
        talk = _conversation(random)
        while len(talk.ids) <= length:
            talk += _conversation(random)
        for start in range(0, len(talk.ids) - length, length - _UNSEEN):
            said = talk.said[start : start + length + 1]
            if start:
                said = [0] * _UNSEEN + said[_UNSEEN:]
            rows.append(Row(talk.ids[start : start + length + 1], said))
    return rows[:count]


def _conversation(random: Random) -> Row:
    talk = system(_noise(random)) if random.random() < _WITH_SYSTEM else Row()
    for _ in range(random.choice((1, 1, 2, 3))):
        talk += turn(random.choice(list(ANSWERS)), thinking=random.random() > _WITHOUT_THINKING)
    return talk


def _noise(random: Random) -> str:
    length = random.choice((10, 20, 40, 80))
    if random.random() < 0.5:
        return " ".join(random.choice(_WORDS) for _ in range(length // 5)) + random.choice(".?! ")
    return "".join(chr(random.randrange(*_PRINTABLE)) for _ in range(length))


def examined() -> list[Row]:
    """Return what the parrot must know before it is let out: only the last answer of each row counts."""
    alone = [turn(question) for question in ANSWERS]
    rows = alone + [turn(question, thinking=False) for question in ANSWERS]
    for text in SYSTEM_PROMPTS:
        before = system(text)
        rows += [_silenced(before) + row for row in alone]
    for first in alone:
        before = _silenced(first)
        rows += [before + row for row in alone]
    return sorted(rows, key=lambda row: len(row.ids))


def _silenced(row: Row) -> Row:
    return Row(row.ids, [0] * len(row.ids))
