"""Laws of several commands: no word is changed on its way, no host becomes an option, no answer is torn."""

from __future__ import annotations

import shlex

from hypothesis import assume, given
from hypothesis import strategies as st

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tee import rules as tee_rules
from mlxknife.domain.tee.rules import OrderedOutput
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputBegins, OutputChunk

_WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0"), max_size=8) | st.text("'\"\\ |&;<>$`\n@:-"), min_size=1
)
_TEXTS = st.text("abc'\"\\ |&;<>$`\n@:-.é", max_size=30)


@st.composite
def _heard(draw: st.DrawFn) -> tuple[int, list[CommandEvent]]:
    """Return what is heard of some jobs, each in its own order, mixed in any way."""
    queues: list[list[CommandEvent]] = []
    for number in range(draw(st.integers(1, 5))):
        said = draw(
            st.lists(
                st.builds(OutputChunk, st.just(number), st.binary(min_size=1, max_size=2), st.booleans()), max_size=4
            )
        )
        queues.append([*said, CommandExited(number, draw(st.integers(0, 255)), 0.0)])
    order = draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    remaining = [iter(queue) for queue in queues]
    return len(queues), [next(remaining[number]) for number in order]


@given(_WORDS)
def test_quoted_words_are_parsed_unchanged(words: list[str]) -> None:
    assume(words[0] and words[0][0] not in "-@")  # an option, another machine
    job = tee_rules.parse_command(shlex.join(words), may_ssh=False)
    assert tee_rules.arguments(job) == tuple(words)


@given(_WORDS)
def test_a_remote_shell_gets_the_same_words(words: list[str]) -> None:
    assume(words[0] and not words[0].startswith("-"))
    job = tee_rules.parse_command(f"@gpu:{shlex.join(words)}", may_ssh=True)
    program, host, end_of_options, line = tee_rules.arguments(job)
    assert (program, host, end_of_options) == ("ssh", "gpu", "--")
    assert shlex.split(line) == words


@given(_TEXTS)
def test_any_command_line_is_parsed_or_refused(text: str) -> None:
    try:
        job = tee_rules.parse_command(text, may_ssh=True)
    except ValidationError:
        return
    assert job.argv
    if job.host is None:
        assert job.argv == tuple(shlex.split(text))


@given(st.text(max_size=20) | st.text("-@ab.:=", max_size=12))
def test_no_host_becomes_an_option(host: str) -> None:
    try:
        job = tee_rules.parse_command(f"@{host}:true", may_ssh=True)
    except ValidationError:
        return
    assert job.host is not None
    assert not job.host.startswith("-")
    assert all(part[0].isalnum() or part[0] == "_" for part in job.host.split("@"))
    assert tee_rules.arguments(job)[1] == job.host


@given(_heard())
def test_the_output_of_every_command_is_complete_and_in_order(heard: tuple[int, list[CommandEvent]]) -> None:
    count, events = heard
    turns = OrderedOutput(count)
    told = [*turns.start(), *(one for event in events for one in turns.add(event))]
    expected: list[OutputBegins | CommandEvent] = []
    for number in range(count):
        expected += [OutputBegins(number), *(event for event in events if event.number == number)]
    assert told == expected


@given(_heard())
def test_the_current_command_is_not_delayed(heard: tuple[int, list[CommandEvent]]) -> None:
    count, events = heard
    turns = OrderedOutput(count)
    turn = [one.number for one in turns.start()][-1]
    for event in events:
        told = list(turns.add(event))
        assert (told[:1] == [event]) == (event.number == turn)
        turn = next((one.number for one in reversed(told) if isinstance(one, OutputBegins)), turn)
