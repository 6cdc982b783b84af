"""Messages between a model process and its parent arrive as they were sent."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlxknife.adapters.worker.error_frame import ErrorFrame
from mlxknife.adapters.worker.frames import MAX_FRAME, Frames
from mlxknife.adapters.worker.protocol import (
    Cancel,
    Deltas,
    Generate,
    Load,
    Loaded,
    decode_for_child,
    decode_for_parent,
    packed,
)
from mlxknife.domain import errors
from mlxknife.domain.errors import InternalError, KnifeError, ServerBusy, ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, TokenLogprob, Usage
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import (
    GenerationOptions,
    GenerationRequest,
    KVCacheOptions,
    Message,
    SamplingParameters,
)
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.values.snapshot import Location

_LOGPROB = st.floats(-100, 0)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SAMPLING = st.builds(
    SamplingParameters,
    temperature=st.none() | st.floats(0, 100),
    top_k=st.none() | st.integers(0, 100),
    seed=st.none() | st.integers(0, 2**63 - 1),
    presence_penalty=st.floats(-2, 2),
    logit_bias=st.dictionaries(st.integers(0, 2**40), st.floats(-100, 100), max_size=4).map(lambda d: tuple(d.items())),
)
REQUESTS = st.builds(
    GenerationRequest,
    messages=st.lists(
        st.builds(Message, role=_TEXT, content=_TEXT, name=st.none() | _TEXT, reasoning_content=st.none() | _TEXT),
        max_size=3,
    ).map(tuple),
    prompts=st.lists(_TEXT | st.lists(st.integers(0, 2**40), max_size=9).map(tuple), max_size=3).map(tuple),
    options=st.builds(
        GenerationOptions,
        sampling=_SAMPLING,
        kv_cache=st.builds(KVCacheOptions, bits=st.none() | st.integers(2, 8), max_size=st.none() | st.integers(8, 99)),
        max_tokens=st.none() | st.integers(1, 2**31 - 1),
        stop=st.lists(_TEXT, max_size=3).map(tuple),
        top_logprobs=st.none() | st.integers(0, 20),
        n=st.integers(1, 16),
    ),
    use_chat_template=st.booleans(),
    echo=st.booleans(),
)
_LOGPROBS = st.builds(
    TokenLogprob,
    token=_TEXT,
    content=st.binary(max_size=4),
    logprob=_LOGPROB,
    top=st.lists(st.builds(TokenLogprob, token=_TEXT, content=st.binary(max_size=4), logprob=_LOGPROB), max_size=2).map(
        tuple
    ),
)
DELTAS = st.builds(
    Delta,
    index=st.integers(0, 63),
    texts=st.lists(st.builds(TextDelta, kind=st.sampled_from(TextKind), text=_TEXT), max_size=3).map(tuple),
    logprobs=st.lists(_LOGPROBS, max_size=2).map(tuple),
    finish_reason=st.none() | st.sampled_from(FinishReason),
    usage=st.none()
    | st.builds(Usage, st.integers(0, 2**31), st.integers(0, 2**31), cached_tokens=st.integers(0, 2**31)),
)


def frames(data: bytes, *cuts: int) -> list[bytes]:
    """Return the frames in data that arrives in pieces."""
    taken, found, places = Frames(), list[bytes](), [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(places):
        taken.feed(data[begin:end])
        while (frame := taken.next()) is not None:
            found.append(frame)
    return found


@given(REQUESTS)
def test_a_request_arrives_as_it_was(request: GenerationRequest) -> None:
    (frame,) = frames(packed(Generate.of(7, request)))
    message = decode_for_child(frame)
    assert isinstance(message, Generate)
    assert (message.id, message.request()) == (7, request)


@given(st.lists(st.tuples(st.integers(0, 2**62), DELTAS), max_size=4))
def test_deltas_arrive_as_they_were(items: list[tuple[int, Delta]]) -> None:
    (frame,) = frames(packed(Deltas(tuple(items))))
    assert decode_for_parent(frame) == Deltas(tuple(items))


@given(st.data())
def test_messages_may_arrive_in_any_pieces(data: st.DataObject) -> None:
    messages = [Cancel(number) for number in range(4)]
    whole = b"".join(packed(message) for message in messages)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=6))
    assert [decode_for_child(frame) for frame in frames(whole, *cuts)] == messages


@given(st.binary(max_size=60))
def test_nonsense_is_an_error_of_the_contract_or_a_message(data: bytes) -> None:
    for decode in (decode_for_child, decode_for_parent):
        try:
            decode(data)
        except InternalError:
            continue


def test_a_request_of_wrong_types_is_refused_when_it_is_read() -> None:
    message = decode_for_child(packed(Generate.of(1, GenerationRequest(messages=(Message("user", 5),))))[4:])  # type: ignore[arg-type] # that is the point
    assert isinstance(message, Generate)
    with pytest.raises(ValidationError, match=r"messages\[0\]\.content"):
        message.request()


def test_lone_surrogates_are_replaced() -> None:
    generate = Generate.of(1, GenerationRequest(messages=(Message("user", "a\udcffb"),), prompts=("\ud800", (1,))))
    request = generate.request()
    assert request.messages[0].content == "a?b"
    assert request.prompts == ("?", (1,))


@pytest.mark.parametrize("token", [2**64, -(2**70)])
def test_a_number_that_is_too_large_is_refused(token: int) -> None:
    with pytest.raises(ValidationError, match="cannot be sent"):
        Generate.of(1, GenerationRequest(prompts=((token,),)))


def test_a_frame_that_is_too_long_is_not_waited_for() -> None:
    taken = Frames()
    taken.feed(struct.pack(">I", MAX_FRAME + 1))
    with pytest.raises(InternalError):
        taken.next()


def test_a_message_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(OverflowError):
        packed(Loaded(0.0, ("x" * (MAX_FRAME + 1),)))


def test_a_load_request_arrives_as_it_was_even_if_paths_are_not_utf8() -> None:
    location = Location("/models/b\udcffrd", ("/models", "/\udcfe"))
    defaults = SamplingParameters(temperature=0.5, top_k=3)
    request = LoadRequest(
        location, "fast", None, 4096, defaults, 100, Location("/draft", ()), (Location("/draft", ()),)
    )
    message = decode_for_child(packed(Load.of(request, 1.0))[4:])
    assert isinstance(message, Load)
    assert (message.request(), message.heartbeat) == (request, 1.0)


def kinds() -> list[type[KnifeError]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, KnifeError)]


@pytest.mark.parametrize("kind", kinds())
def test_an_error_arrives_with_its_code_and_all_fields(kind: type[KnifeError]) -> None:
    sent = kind.__new__(kind)
    KnifeError.__init__(
        sent, "It \udcff failed", hint=Hint(HintCode.PULL_MODEL, name="m\udcff"), param="seed", retry_after=2.5
    )
    error = ErrorFrame.of(sent).error()
    assert error.code == kind.code
    assert issubclass(kind, type(error))
    assert (error.message, error.hint, error.param) == ("It ? failed", Hint(HintCode.PULL_MODEL, name="m?"), "seed")
    assert error.retry_after == 2.5


def test_a_busy_renderer_stays_a_busy_server() -> None:
    error = ErrorFrame.of(ServerBusy("full", retry_after=1.0)).error()
    assert (type(error), error.retry_after) == (ServerBusy, 1.0)
