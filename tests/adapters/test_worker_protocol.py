"""What goes over the wire between a model's process and its parent comes out as it went in."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.worker.protocol import (
    MAX_FRAME,
    Ask,
    Drop,
    Frames,
    Ready,
    Start,
    Stepped,
    Trouble,
    for_child,
    for_parent,
    packed,
)
from mlxknife.domain import errors
from mlxknife.domain.errors import EngineError, InternalError, KnifeError, ServerBusy, ValidationError, WorkerLost
from mlxknife.domain.generation.values.generation import FinishReason, Sampling
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowError, RowStep
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostedModel

_FINITE = st.floats(-100, 0)
ROWS = st.builds(
    Row,
    id=st.integers(0, 2**62),
    prompt=st.lists(st.integers(0, 2**40), min_size=1, max_size=20).map(tuple),
    max_tokens=st.integers(1, 2**31 - 1),
    sampling=st.builds(
        Sampling,
        temperature=st.none() | st.floats(0, 100),
        top_k=st.none() | st.integers(0, 100),
        seed=st.none() | st.integers(0, 2**63 - 1),
    ),
    presence_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 2**40), st.floats(-100, 100), max_size=4).map(lambda d: tuple(d.items())),
    top_logprobs=st.none() | st.integers(0, 20),
)
STEPS = st.builds(
    RowStep,
    row=st.integers(0, 2**62),
    token=st.integers(0, 2**40),
    ended=st.none() | st.sampled_from(FinishReason),
    logprob=st.none() | _FINITE,
    top=st.lists(st.tuples(st.integers(0, 2**40), _FINITE), max_size=3).map(tuple),
    cached=st.integers(0, 2**31),
)


def frames(data: bytes, *cuts: int) -> list[bytes]:
    """Return the messages in what arrives in pieces."""
    taken, found, places = Frames(), list[bytes](), [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(places):
        taken.feed(data[begin:end])
        while (frame := taken.next()) is not None:
            found.append(frame)
    return found


@given(ROWS)
def test_a_row_arrives_as_it_was(row: Row) -> None:
    (frame,) = frames(packed(Ask(row)))
    assert for_child(frame) == Ask(row)


@given(st.lists(STEPS, max_size=5))
def test_a_step_arrives_as_it_was(steps: list[RowStep]) -> None:
    step = BatchStep(tuple(steps))
    (frame,) = frames(packed(Stepped.of(step)))
    message = for_parent(frame)
    assert isinstance(message, Stepped)
    assert message.step() == step


@given(st.data())
def test_messages_may_arrive_in_any_pieces(data: st.DataObject) -> None:
    messages = [Drop(number) for number in range(4)]
    whole = b"".join(packed(message) for message in messages)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    assert [for_child(frame) for frame in frames(whole, *cuts)] == messages


@given(st.binary(max_size=60))
def test_nonsense_is_an_error_of_ours_or_a_message(data: bytes) -> None:
    for decode in (for_child, for_parent):
        try:
            decode(data)
        except InternalError:
            continue


def test_a_row_that_can_mean_nothing_is_no_message() -> None:
    good = packed(Ask(Row(1, (7,), 5)))
    bad = good.replace(b"prompt\x91\x07", b"prompt\x90")
    assert bad != good
    with pytest.raises(InternalError):
        for_child(bad[4:])


def test_a_message_that_is_too_long_is_not_waited_for() -> None:
    taken = Frames()
    taken.feed(struct.pack(">I", MAX_FRAME + 1))
    with pytest.raises(InternalError):
        taken.next()


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(OverflowError):
        packed(Ready(HostedModel("x" * (MAX_FRAME + 1), 1), 0.0))


def test_a_location_need_not_be_text() -> None:
    location = Location("/models/b\udcffrd", ("/models", "/\udcfe"))
    message = for_child(packed(Start.of(location, "fast", 1, 1.0))[4:])
    assert isinstance(message, Start)
    assert message.location() == location


def kinds() -> list[type[KnifeError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, KnifeError)]
    return [kind for kind in found if kind.__init__ is KnifeError.__init__]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_arrives_with_its_code_and_all_it_says(kind: type[KnifeError]) -> None:
    error = Trouble.of(kind("It \udcff failed", hint=Hint(HintCode.PULL_MODEL, name="m\udcff"), param="seed")).error()
    assert error.code == kind.code
    assert issubclass(kind, type(error))
    assert (error.message, error.hint, error.param) == ("It ? failed", Hint(HintCode.PULL_MODEL, name="m?"), "seed")


def test_the_errors_of_rows_keep_their_kinds() -> None:
    step = BatchStep(errors=(RowError(3, WorkerLost("gone")), RowError(4, EngineError("sick"))))
    message = for_parent(packed(Stepped.of(step))[4:])
    assert isinstance(message, Stepped)
    assert [(one.row, type(one.error)) for one in message.step().errors] == [(3, WorkerLost), (4, EngineError)]
    refused = Stepped.refusing(5, ValidationError("prompt is wrong")).step()
    assert [(one.row, type(one.error).__name__) for one in refused.errors] == [(5, "ValidationError")]


def test_an_error_that_has_no_place_here_is_one_of_the_engine() -> None:
    assert type(Trouble.of(ServerBusy("full", retry_after=1.0)).error()) is EngineError
