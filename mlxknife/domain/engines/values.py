"""What every engine receives and sends, whatever its model computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Generic, Protocol, TypeVar

import attrs


class EngineKind(Enum):
    """The kind of engine that a model needs."""

    TEXT = "text"
    EMBEDDING = "embedding"
    RERANKING = "reranking"


class Event(Protocol):
    """An event of a request: that it was accepted, or a part of an answer."""

    @property
    def ends_answer(self) -> bool:
        """Whether an answer of the request has ended with it."""
        ...


class AnswerEvent(Event, Protocol):
    """A part of an answer, or a whole one."""

    @property
    def index(self) -> int:
        """Which answer of the request."""
        ...


@attrs.frozen
class Accepted:
    """The model has accepted a request; from here on only a failure of the model can stop it."""

    prompt_tokens: int
    """The tokens of all prompts, each counted once."""

    @property
    def ends_answer(self) -> bool:
        """Whether an answer has ended: none has begun."""
        return False


EventT_co = TypeVar("EventT_co", bound=Event, covariant=True)


class Request(ABC, Generic[EventT_co]):
    """A request to a model process. The type parameter is the type of its events."""

    __slots__ = ()

    @property
    @abstractmethod
    def answer_count(self) -> int:
        """The number of answers that it gets."""
