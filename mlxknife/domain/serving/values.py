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
    """A model process was started. ``ModelReady`` may follow; a later event of the model ends it."""

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
    """The model process crashed or hung."""

    name: str
    error: KnifeError


@attrs.frozen
class ModelNotLoaded:
    """A model could not be loaded: the runtime refuses it, or a model to keep loaded does not fit."""

    name: str
    error: KnifeError


PoolEvent: TypeAlias = LoadingStarted | ModelReady | ModelUnloaded | ModelCrashed | ModelNotLoaded
