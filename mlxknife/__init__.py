"""MLX Knife: keep, check, run and serve language models for MLX on your own machine.

::

    import mlxknife

    app = mlxknife.open_app()
    for model in app.catalog.list():
        print(model.name, model.integrity.value, model.reason or "")

Importing this module is cheap: each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
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
    from mlxknife.domain.generation.services.session import Session
    from mlxknife.domain.generation.values.answer import FinishReason, GenerationResult, TextDelta, TextKind
    from mlxknife.domain.generation.values.request import (
        GenerationOptions,
        KVCacheOptions,
        Message,
        SamplingParameters,
    )
    from mlxknife.domain.hints import Hint, HintCode
    from mlxknife.domain.integrity.values import HealthReport, ModelHealth
    from mlxknife.domain.models.values.info import ModelDetails, ModelInfo
    from mlxknife.domain.models.values.verdict import Integrity
    from mlxknife.domain.transfer.values import PullPlan, PullRequest
    from mlxknife.wiring.app import open_app

__all__ = [
    "AccessDenied",
    "AmbiguousMatch",
    "App",
    "ConfirmationRequired",
    "ContextLengthExceeded",
    "DownloadFailed",
    "EngineError",
    "FeatureDisabled",
    "FinishReason",
    "GenerationOptions",
    "GenerationResult",
    "HealthReport",
    "Hint",
    "HintCode",
    "HubAccessDenied",
    "HubAuthError",
    "HubOffline",
    "Integrity",
    "InternalError",
    "KVCacheOptions",
    "KnifeError",
    "LocksPresent",
    "Message",
    "ModelDetails",
    "ModelHealth",
    "ModelInfo",
    "ModelNotFound",
    "ModelNotRunnable",
    "NetworkError",
    "NotEnoughMemory",
    "PullPlan",
    "PullRequest",
    "SamplingParameters",
    "ServerBusy",
    "Session",
    "StorageError",
    "TemplateError",
    "TextDelta",
    "TextKind",
    "ValidationError",
    "WorkerLost",
    "WrongBytes",
    "__version__",
    "open_app",
]

_HOMES = {  # every other name is an error
    "App": "mlxknife.app:App",
    "FinishReason": "mlxknife.domain.generation.values.answer:FinishReason",
    "GenerationOptions": "mlxknife.domain.generation.values.request:GenerationOptions",
    "GenerationResult": "mlxknife.domain.generation.values.answer:GenerationResult",
    "HealthReport": "mlxknife.domain.integrity.values:HealthReport",
    "Hint": "mlxknife.domain.hints:Hint",
    "HintCode": "mlxknife.domain.hints:HintCode",
    "Integrity": "mlxknife.domain.models.values.verdict:Integrity",
    "KVCacheOptions": "mlxknife.domain.generation.values.request:KVCacheOptions",
    "Message": "mlxknife.domain.generation.values.request:Message",
    "ModelDetails": "mlxknife.domain.models.values.info:ModelDetails",
    "ModelHealth": "mlxknife.domain.integrity.values:ModelHealth",
    "ModelInfo": "mlxknife.domain.models.values.info:ModelInfo",
    "PullPlan": "mlxknife.domain.transfer.values:PullPlan",
    "PullRequest": "mlxknife.domain.transfer.values:PullRequest",
    "SamplingParameters": "mlxknife.domain.generation.values.request:SamplingParameters",
    "Session": "mlxknife.domain.generation.services.session:Session",
    "TextDelta": "mlxknife.domain.generation.values.answer:TextDelta",
    "TextKind": "mlxknife.domain.generation.values.answer:TextKind",
    "open_app": "mlxknife.wiring.app:open_app",
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
