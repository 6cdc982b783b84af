"""A model that is loaded in a process of its own, and what that process tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from mlxknife.domain.errors import KnifeError
from mlxknife.domain.generation.values.rows import BatchStep


@attrs.frozen
class HostedModel:
    """What is known of a model once its process has loaded it."""

    tokenizer: str
    """The tokenizer as the library of that name writes it down, so that texts are cut and joined beside the model."""
    vocabulary_size: int
    chat_template: str | None = None
    special_tokens: Mapping[str, str] = attrs.field(factory=dict)
    """The texts that the template may ask for by name: ``bos_token`` and the like."""
    can_batch: bool = True
    notes: tuple[str, ...] = ()
    """What was decided while loading, one sentence each."""


@attrs.frozen
class Loaded:
    """The model is there; from now on it takes rows."""

    model: HostedModel
    seconds: float


@attrs.frozen
class Fell:
    """The process is gone, or was ended because it hung or could not load the model. Nothing more comes of it."""

    error: KnifeError


HostEvent: TypeAlias = Loaded | BatchStep | Fell


@attrs.frozen
class Began:
    """A model is being loaded."""

    name: str


@attrs.frozen
class Ready:
    """It is loaded."""

    name: str
    seconds: float


@attrs.frozen
class Unloaded:
    """Its process was ended: another needed the room, nobody asked for it any more, or all ends."""

    name: str


@attrs.frozen
class Fallen:
    """Its process is gone, or could not load it."""

    name: str
    error: KnifeError


@attrs.frozen
class LeftOut:
    """It was to be kept and is not even begun: it does not fit."""

    name: str
    error: KnifeError


ResidentEvent: TypeAlias = Began | Ready | Unloaded | Fallen | LeftOut
"""What becomes of a model in a server, for whoever runs it."""
