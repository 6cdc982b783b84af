"""``serve``, and what an embedded server needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from mlxknife.adapters.system.accelerator import has_gpu
from mlxknife.adapters.system.machine import Machine
from mlxknife.domain.serving.rules import PoolLimits
from mlxknife.domain.serving.services.model_pool import ModelPool
from mlxknife.domain.serving.services.servable_models import ServableModels
from mlxknife.wiring import catalog

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from mlxknife.app import App
    from mlxknife.domain.settings.values.settings import ServerSettings, Settings
    from mlxknife.http.options import Options
    from mlxknife.ports.engines.processes import ModelProcesses


def servable_models(settings: Settings, max_tokens: int | None, *, allow_remote_code: bool) -> ServableModels:
    """Build what finds models for a server. Clients name no paths."""
    models = attrs.evolve(catalog.catalog(settings), allows_remote_code=allow_remote_code)
    for_clients = attrs.evolve(models, finder=attrs.evolve(models.finder, allows_paths=False))
    return ServableModels(for_clients, models, Machine(), max_tokens)


def model_pool(settings: ServerSettings, processes: ModelProcesses) -> ModelPool:
    """Build what loads models for a server."""
    machine = Machine()
    limits = PoolLimits(machine.memory_available_bytes(), settings.max_loaded)
    return ModelPool(processes, machine, limits, settings.idle_seconds, settings.profile, has_gpu())


def serve(app: App, settings: ServerSettings, on_ready: Callable[[str], None]) -> int:
    """See ``App.serve``."""
    if settings.reloads:
        from mlxknife.adapters.process.reloader import run_with_reload  # noqa: PLC0415 - only developers need it

        arguments = [word for word in sys.argv[1:] if word != "--reload"]
        return run_with_reload(
            [sys.executable, "-P", "-m", "mlxknife", *arguments], {**os.environ, "MLXK_RELOAD": "off"}
        )
    from mlxknife.http.app import create_app  # noqa: PLC0415 - only a server needs the web
    from mlxknife.http.options import Options  # noqa: PLC0415
    from mlxknife.http.server import serve  # noqa: PLC0415

    options = Options(
        host=settings.host,
        port=settings.port,
        api_key=settings.api_key,
        allowed_hosts=settings.allowed_hosts,
        cors_origins=settings.cors_origins,
        log_level=settings.log_level,
        log_json=settings.log_json,
    )
    models = app.servable_models(settings.max_tokens, allow_remote_code=settings.allow_remote_code)
    kept = [models.pin(spec) for spec in settings.models]

    def create(options: Options) -> Starlette:
        pool = app.model_pool(settings)
        created = create_app(models, pool, options)
        for model in kept:
            pool.keep(model)
        return created

    return serve(create, options, on_ready)
