"""Loading a model: what a model process needs to know, and what it reports."""

from __future__ import annotations

from enum import Enum

import attrs

from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.models.values.snapshot import Location


class Device(Enum):
    """What an encoder computes on."""

    CPU = "cpu"
    GPU = "gpu"


@attrs.frozen
class LoadRequest:
    """A model to load, and everything about it that a request may depend on."""

    location: Location
    profile: str
    """The CPU profile, for a machine without GPU."""
    memory_bytes: int | None = None
    """The memory for weights, KV caches and the prefix cache; None where the machine does not report it."""
    context_length: int | None = None
    defaults: SamplingParameters = attrs.field(factory=SamplingParameters)
    """The sampling parameters of the model's generation_config.json."""
    max_tokens: int | None = None
    """The longest answer where a request sets no limit."""
    draft: Location | None = None
    """A smaller model of the same vocabulary for speculative decoding."""
    runs_code: tuple[Location, ...] = ()
    """Those of the two models whose own code the user allows to run."""
    kind: EngineKind = EngineKind.TEXT
    """The engine that the model needs."""
    device: Device = Device.CPU
    """What an encoder computes on. A language model uses a GPU wherever there is one."""


@attrs.frozen
class ModelLoaded:
    """A model process has loaded its model and accepts requests."""

    seconds: float
    notes: tuple[str, ...] = ()
    """Decisions made while loading, one sentence each."""
