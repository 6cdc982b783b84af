"""MLX Knife: keep, check, run and serve language models for MLX on your own machine.

::

    import mlxknife

    app = mlxknife.open_app()
    for model in app.catalog.list():
        print(model.name, model.integrity.value, model.reason or "")

Importing this module is cheap; what a name needs is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.bootstrap import open_app
    from mlxknife.domain.errors import (
        AccessDenied,
        AmbiguousMatch,
        ConfirmationRequired,
        ContextLengthExceeded,
        DownloadFailed,
        EngineError,
        FeatureDisabled,
        HubAccessDenied,
        HubAuthError,
        HubOffline,
        InternalError,
        KnifeError,
        LocksPresent,
        ModelNotFound,
        ModelNotRunnable,
        NetworkError,
        NotEnoughMemory,
        ServerBusy,
        StorageError,
        TemplateError,
        ValidationError,
        WorkerLost,
        WrongBytes,
    )
    from mlxknife.domain.model.generation import (
        CacheShape,
        FinishReason,
        Message,
        Outcome,
        Piece,
        PieceKind,
        Sampling,
        Wish,
    )
    from mlxknife.domain.model.health import HealthEntry, HealthReport
    from mlxknife.domain.model.info import ModelDetails, ModelInfo
    from mlxknife.domain.model.transfer import PullPlan, PullRequest
    from mlxknife.domain.model.verdict import Integrity
    from mlxknife.domain.services.chat import Session

__all__ = [
    "AccessDenied",
    "AmbiguousMatch",
    "App",
    "CacheShape",
    "ConfirmationRequired",
    "ContextLengthExceeded",
    "DownloadFailed",
    "EngineError",
    "FeatureDisabled",
    "FinishReason",
    "HealthEntry",
    "HealthReport",
    "HubAccessDenied",
    "HubAuthError",
    "HubOffline",
    "Integrity",
    "InternalError",
    "KnifeError",
    "LocksPresent",
    "Message",
    "ModelDetails",
    "ModelInfo",
    "ModelNotFound",
    "ModelNotRunnable",
    "NetworkError",
    "NotEnoughMemory",
    "Outcome",
    "Piece",
    "PieceKind",
    "PullPlan",
    "PullRequest",
    "Sampling",
    "ServerBusy",
    "Session",
    "StorageError",
    "TemplateError",
    "ValidationError",
    "Wish",
    "WorkerLost",
    "WrongBytes",
    "__version__",
    "open_app",
]

_HOMES = {  # what is not here is an error
    "App": "mlxknife.app:App",
    "CacheShape": "mlxknife.domain.model.generation:CacheShape",
    "FinishReason": "mlxknife.domain.model.generation:FinishReason",
    "HealthEntry": "mlxknife.domain.model.health:HealthEntry",
    "HealthReport": "mlxknife.domain.model.health:HealthReport",
    "Integrity": "mlxknife.domain.model.verdict:Integrity",
    "Message": "mlxknife.domain.model.generation:Message",
    "ModelDetails": "mlxknife.domain.model.info:ModelDetails",
    "ModelInfo": "mlxknife.domain.model.info:ModelInfo",
    "Outcome": "mlxknife.domain.model.generation:Outcome",
    "Piece": "mlxknife.domain.model.generation:Piece",
    "PieceKind": "mlxknife.domain.model.generation:PieceKind",
    "PullPlan": "mlxknife.domain.model.transfer:PullPlan",
    "PullRequest": "mlxknife.domain.model.transfer:PullRequest",
    "Sampling": "mlxknife.domain.model.generation:Sampling",
    "Session": "mlxknife.domain.services.chat:Session",
    "Wish": "mlxknife.domain.model.generation:Wish",
    "open_app": "mlxknife.bootstrap:open_app",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    module, _, attribute = _HOMES.get(name, f"mlxknife.domain.errors:{name}").partition(":")
    value: object = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what is public."""
    return sorted(__all__)
