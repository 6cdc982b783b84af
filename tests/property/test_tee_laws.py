"""Laws of mlx-tee: no argument changes, no host becomes an option, no output is mixed."""

from __future__ import annotations

import shlex

from hypothesis import assume, given
from hypothesis import strategies as st

from mlxknife.domain.errors import ValidationError
from mlxknife.domain.tee import rules as tee_rules
from mlxknife.domain.tee.rules import OrderedOutput
from mlxknife.domain.tee.values import CommandEvent, CommandExited, OutputBegins, OutputChunk

_ARGUMENTS = st.lists(
    st.text(st.characters(exclude_characters="\0"), max_size=8) | st.text("'\"\\ |&;<>$`\n@:-"), min_size=1
)
_TEXTS = st.text("abc'\"\\ |&;<>$`\n@:-.é", max_size=30)


@st.composite
def _events(draw: st.DrawFn) -> tuple[int, list[CommandEvent]]:
    """Return the events of some commands, each in its own order, interleaved in any way."""
    queues: list[list[CommandEvent]] = []
    for number in range(draw(st.integers(1, 5))):
        chunks = draw(
            st.lists(
                st.builds(OutputChunk, st.just(number), st.binary(min_size=1, max_size=2), st.booleans()), max_size=4
            )
        )
        queues.append([*chunks, CommandExited(number, draw(st.integers(0, 255)), 0.0)])
    order = draw(st.permutations([number for number, queue in enumerate(queues) for _ in queue]))
    remaining = [iter(queue) for queue in queues]
    return len(queues), [next(remaining[number]) for number in order]


@given(_ARGUMENTS)
def test_quoted_words_are_parsed_unchanged(words: list[str]) -> None:
    assume(words[0] and words[0][0] not in "-@")  # an option, another machine
    command = tee_rules.parse_command(shlex.join(words), may_ssh=False)
    assert tee_rules.arguments(command) == tuple(words)


@given(_ARGUMENTS)
def test_a_remote_shell_gets_the_same_words(words: list[str]) -> None:
    assume(words[0] and not words[0].startswith("-"))
    command = tee_rules.parse_command(f"@gpu:{shlex.join(words)}", may_ssh=True)
    program, host, end_of_options, line = tee_rules.arguments(command)
    assert (program, host, end_of_options) == ("ssh", "gpu", "--")
    assert shlex.split(line) == words


@given(_TEXTS)
def test_any_command_line_is_parsed_or_refused(text: str) -> None:
    try:
        command = tee_rules.parse_command(text, may_ssh=True)
    except ValidationError:
        return
    assert command.argv
    if command.host is None:
        assert command.argv == tuple(shlex.split(text))


@given(st.text(max_size=20) | st.text("-@ab.:=", max_size=12))
def test_no_host_becomes_an_option(host: str) -> None:
    try:
        command = tee_rules.parse_command(f"@{host}:true", may_ssh=True)
    except ValidationError:
        return
    assert command.host is not None
    assert not command.host.startswith("-")
    assert all(part[0].isalnum() or part[0] == "_" for part in command.host.split("@"))
    assert tee_rules.arguments(command)[1] == command.host


@given(_events())
def test_the_output_of_every_command_is_complete_and_in_order(drawn: tuple[int, list[CommandEvent]]) -> None:
    count, events = drawn
    ordered = OrderedOutput(count)
    shown = [*ordered.start(), *(one for event in events for one in ordered.add(event))]
    expected: list[OutputBegins | CommandEvent] = []
    for number in range(count):
        expected += [OutputBegins(number), *(event for event in events if event.number == number)]
    assert shown == expected


@given(_events())
def test_the_current_command_is_not_delayed(drawn: tuple[int, list[CommandEvent]]) -> None:
    count, events = drawn
    ordered = OrderedOutput(count)
    current = [one.number for one in ordered.start()][-1]
    for event in events:
        shown = list(ordered.add(event))
        assert (shown[:1] == [event]) == (event.number == current)
        current = next((one.number for one in reversed(shown) if isinstance(one, OutputBegins)), current)
