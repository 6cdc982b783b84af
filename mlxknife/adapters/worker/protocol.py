"""The protocol between a model process and its parent: messages in MessagePack, each after its length.

Both sides run the same version, so values of the domain travel as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

from msgspec import MsgspecError, Raw, Struct, msgpack

from mlxknife.adapters.worker.error_frame import ErrorFrame
from mlxknife.adapters.worker.frames import framed, invalid_message
from mlxknife.adapters.worker.sendable import clean_value
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.engines.values import AnswerEvent, EngineKind, Event, Request
from mlxknife.domain.errors import InternalError, KnifeError, ValidationError
from mlxknife.domain.generation.values.answer import Delta
from mlxknife.domain.generation.values.loading import Device, LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest, SamplingParameters
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.reranking.values import RerankRequest, Score

Decoded = TypeVar("Decoded")


class PlaceFrame(Struct, array_like=True, frozen=True):
    """A location. Names on disk need not be UTF-8."""

    token: bytes
    bounds: tuple[bytes, ...]

    @classmethod
    def of(cls, location: Location) -> PlaceFrame:
        """Encode a location."""
        return cls(os.fsencode(location.token), tuple(os.fsencode(bound) for bound in location.bounds))

    def location(self) -> Location:
        """Return the location."""
        return Location(os.fsdecode(self.token), tuple(os.fsdecode(bound) for bound in self.bounds))


class Load(Struct, tag="load", array_like=True, frozen=True):
    """The first message: the model to load."""

    location: PlaceFrame
    draft: PlaceFrame | None
    profile: str
    memory_bytes: int | None
    context_length: int | None
    defaults: SamplingParameters
    max_tokens: int | None
    runs_code: tuple[PlaceFrame, ...]
    kind: EngineKind
    device: Device
    heartbeat: float
    """Seconds between two heartbeats."""

    @classmethod
    def of(cls, request: LoadRequest, heartbeat: float) -> Load:
        """Encode a load request."""
        return cls(
            PlaceFrame.of(request.location),
            None if request.draft is None else PlaceFrame.of(request.draft),
            request.profile,
            request.memory_bytes,
            request.context_length,
            request.defaults,
            request.max_tokens,
            tuple(map(PlaceFrame.of, request.runs_code)),
            request.kind,
            request.device,
            heartbeat,
        )

    def request(self) -> LoadRequest:
        """Return the load request."""
        return LoadRequest(
            location=self.location.location(),
            profile=self.profile,
            memory_bytes=self.memory_bytes,
            context_length=self.context_length,
            defaults=self.defaults,
            max_tokens=self.max_tokens,
            draft=None if self.draft is None else self.draft.location(),
            runs_code=tuple(place.location() for place in self.runs_code),
            kind=self.kind,
            device=self.device,
        )


class Generate(Struct, tag="generate", array_like=True, frozen=True):
    """A request for text. It is decoded by itself, so that a wrong value costs this request alone."""

    id: int
    content: Raw

    @classmethod
    def of(cls, request_id: int, request: GenerationRequest) -> Generate:
        """Encode a request. Raises ValidationError for values that cannot be sent."""
        return cls(request_id, _encoded(request))

    def request(self) -> GenerationRequest:
        """Return the request. Raises ValidationError for values of the wrong type."""
        return _decoded(self.content, _GENERATION)


class Embed(Struct, tag="embed", array_like=True, frozen=True):
    """A request for embeddings, likewise decoded by itself."""

    id: int
    content: Raw

    @classmethod
    def of(cls, request_id: int, request: EmbeddingRequest) -> Embed:
        """Encode a request. Raises ValidationError for values that cannot be sent."""
        return cls(request_id, _encoded(request))

    def request(self) -> EmbeddingRequest:
        """Return the request. Raises ValidationError for values of the wrong type."""
        return _decoded(self.content, _EMBEDDING)


class Rerank(Struct, tag="rerank", array_like=True, frozen=True):
    """A request for scores of documents, likewise decoded by itself."""

    id: int
    content: Raw

    @classmethod
    def of(cls, request_id: int, request: RerankRequest) -> Rerank:
        """Encode a request. Raises ValidationError for values that cannot be sent."""
        return cls(request_id, _encoded(request))

    def request(self) -> RerankRequest:
        """Return the request. Raises ValidationError for values of the wrong type."""
        return _decoded(self.content, _RERANKING)


class Cancel(Struct, tag="cancel", array_like=True, frozen=True):
    """Drop a request."""

    id: int


class Pause(Struct, tag="pause", array_like=True, frozen=True):
    """Stop decoding."""


class Resume(Struct, tag="resume", array_like=True, frozen=True):
    """Continue decoding."""


class Heartbeat(Struct, tag="heartbeat", array_like=True, frozen=True):
    """The process is alive."""

    steps: int
    """The steps that it has run so far."""


class Loaded(Struct, tag="loaded", array_like=True, frozen=True):
    """The model is loaded."""

    seconds: float
    notes: tuple[str, ...]


class LoadFailed(Struct, tag="load_failed", array_like=True, frozen=True):
    """The model cannot be loaded; the process ends."""

    error: ErrorFrame


class RequestAccepted(Struct, tag="accepted", array_like=True, frozen=True):
    """The model has accepted a request."""

    id: int
    prompt_tokens: int


class Deltas(Struct, tag="deltas", array_like=True, frozen=True):
    """New deltas of several requests, each with the id of its request."""

    items: tuple[tuple[int, Delta], ...]


class Embeddings(Struct, tag="embeddings", array_like=True, frozen=True):
    """New embeddings of several requests, each with the id of its request."""

    items: tuple[tuple[int, Embedding], ...]


class Scores(Struct, tag="scores", array_like=True, frozen=True):
    """New scores of several requests, each with the id of its request."""

    items: tuple[tuple[int, Score], ...]


class RequestFailed(Struct, tag="failed", array_like=True, frozen=True):
    """A request has ended with an error."""

    id: int
    error: ErrorFrame


RequestMessage: TypeAlias = Generate | Embed | Rerank
ToChild: TypeAlias = Load | RequestMessage | Cancel | Pause | Resume
AnswerMessage: TypeAlias = Deltas | Embeddings | Scores
ToParent: TypeAlias = Heartbeat | Loaded | LoadFailed | RequestAccepted | AnswerMessage | RequestFailed

_ENCODER = msgpack.Encoder()
_CHILD_DECODER: msgpack.Decoder[ToChild] = msgpack.Decoder(ToChild)
_PARENT_DECODER: msgpack.Decoder[ToParent] = msgpack.Decoder(ToParent)
_GENERATION: msgpack.Decoder[GenerationRequest] = msgpack.Decoder(GenerationRequest)
_EMBEDDING: msgpack.Decoder[EmbeddingRequest] = msgpack.Decoder(EmbeddingRequest)
_RERANKING: msgpack.Decoder[RerankRequest] = msgpack.Decoder(RerankRequest)


def packed(message: ToChild | ToParent) -> bytes:
    """Return a message after its length. Raises OverflowError for a message that is too long."""
    return framed(_ENCODER.encode(message))


def request_message(request_id: int, request: Request[Event]) -> RequestMessage:
    """Return the message with a request. Raises ValidationError for values that cannot be sent."""
    match request:
        case GenerationRequest():
            return Generate.of(request_id, request)
        case EmbeddingRequest():
            return Embed.of(request_id, request)
        case RerankRequest():
            return Rerank.of(request_id, request)
        case _:
            msg = f"No engine answers a {type(request).__name__}"
            raise InternalError(msg)


def answer_messages(events: Sequence[tuple[int, AnswerEvent]]) -> list[AnswerMessage]:
    """Return the messages with events of answers, each with the id of its request."""
    deltas = tuple((request_id, event) for request_id, event in events if isinstance(event, Delta))
    embeddings = tuple((request_id, event) for request_id, event in events if isinstance(event, Embedding))
    scores = tuple((request_id, event) for request_id, event in events if isinstance(event, Score))
    found: tuple[AnswerMessage, ...] = (Deltas(deltas), Embeddings(embeddings), Scores(scores))
    return [message for message in found if message.items]


def decode_for_child(frame: bytes) -> ToChild:
    """Return the message in a frame. Raises InternalError."""
    with _decoding():
        return _CHILD_DECODER.decode(frame)


def decode_for_parent(frame: bytes) -> ToParent:
    """Return the message in a frame. Raises InternalError."""
    with _decoding():
        return _PARENT_DECODER.decode(frame)


def _encoded(request: object) -> Raw:
    try:
        try:
            return Raw(_ENCODER.encode(request))
        except UnicodeError:
            return Raw(_ENCODER.encode(clean_value(request)))
    except (OverflowError, RecursionError, TypeError, NotImplementedError) as exc:
        msg = f"The request cannot be sent to the model: {exc}"
        raise ValidationError(msg) from exc


def _decoded(content: Raw, decoder: msgpack.Decoder[Decoded]) -> Decoded:
    try:
        return decoder.decode(content)
    except (MsgspecError, UnicodeError, RecursionError) as exc:
        msg = f"The request is invalid: {exc}"
        raise ValidationError(msg) from exc


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except (MsgspecError, UnicodeError, OverflowError, RecursionError, KnifeError) as exc:
        raise invalid_message() from exc
