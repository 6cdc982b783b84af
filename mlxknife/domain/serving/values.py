"""Events of the model pool, for the log and the metrics of a server."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import attrs

from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import KnifeError


class ModelState(Enum):
    """The state of a model in the pool."""

    LOADING = "loading"
    READY = "ready"


@attrs.frozen
class LoadingStarted:
    """A model process was started. ``ModelReady`` may follow; one of the last three events ends it."""

    name: str
    remote_code: RemoteCode | None = None
    """The code of its repo that runs in the process."""


@attrs.frozen
class ModelReady:
    """The model is loaded."""

    name: str
    seconds: float


@attrs.frozen
class ModelUnloaded:
    """The model process was ended: to free memory, after idle time, or with the server."""

    name: str


@attrs.frozen
class ModelCrashed:
    """The model process crashed, hung, or could not load the model."""

    name: str
    error: KnifeError


@attrs.frozen
class ModelNotLoaded:
    """A model to keep loaded was not started, because it does not fit."""

    name: str
    error: KnifeError


PoolEvent: TypeAlias = LoadingStarted | ModelReady | ModelUnloaded | ModelCrashed | ModelNotLoaded
