"""The composition root: the one place that names adapters. Nothing is wired at import time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from mlxknife.adapters.folder.hasher import ThreadedHasher
from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.adapters.hfcache.model_store import CacheModelStore
from mlxknife.adapters.hfcache.stamps import CacheStamps
from mlxknife.adapters.system.accelerator import has_gpu
from mlxknife.adapters.system.environment import check_timeouts, checked_endpoint, load_settings, server_settings
from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.workspaces.workspaces import LocalWorkspaces
from mlxknife.app import App
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.names.services import Finder

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from mlxknife.domain.serving.services.model_pool import Residents
    from mlxknife.domain.serving.services.servable_models import Served, Serving
    from mlxknife.domain.settings.values import ServerSettings, Settings
    from mlxknife.http.options import Options
    from mlxknife.ports.engines.engine import Engine
    from mlxknife.ports.engines.hosts import Hosts
    from mlxknife.ports.engines.templates import Templates
    from mlxknife.ports.engines.tokenizers import Tokenizers
    from mlxknife.ports.hub.hub import Hub
    from mlxknife.ports.hub.starters import StarterSource
    from mlxknife.ports.store.download_store import DownloadStore
    from mlxknife.ports.store.removal_store import RemovalStore
    from mlxknife.ports.system.programs import Programs
    from mlxknife.ports.system.runtime_inventory import RuntimeInventory
    from mlxknife.ports.workspaces.importer import Importer
    from mlxknife.ports.workspaces.workspace_builder import WorkspaceBuilder


def open_app(
    *,
    hub_cache: str | os.PathLike[str] | None = None,
    workspace_home: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> App:
    """Open the product: the services over the real cache, workspaces and machine.

    ``hub_cache`` is the folder that huggingface_hub calls its cache (``~/.cache/huggingface/hub``), ``workspace_home``
    the folder of your workspaces; without them the environment and the config file decide, as they do for ``mlxk``.

    Raises ValidationError or StorageError for a config file that is wrong or cannot be read.
    """
    settings = load_settings(
        os.environ if environment is None else environment,
        hub_cache=os.fspath(hub_cache) if hub_cache is not None else None,
        workspace_home=os.fspath(workspace_home) if workspace_home is not None else None,
    )
    return App(
        settings=settings,
        finder=Finder(
            store=CacheModelStore(settings.hub_cache),
            workspaces=LocalWorkspaces(settings.workspace_home),
        ),
        inspector=Inspector(reader=FolderReader()),
        hasher=ThreadedHasher(),
        hash_stamps=CacheStamps(settings.hub_cache),
        open_inventory=_open_inventory,
        open_removal_store=partial(_open_removal_store, settings),
        open_hub=partial(_open_hub, settings),
        open_download_store=partial(_open_download_store, settings),
        open_engine=_open_engine,
        open_templates=_open_templates,
        open_starters=partial(_open_starters, settings),
        open_importer=_open_importer,
        open_workspace_builder=partial(_open_workspace_builder, settings),
        system=Machine(),
        open_programs=_open_programs,
        has_gpu=has_gpu,
        open_hosts=open_hosts,
        open_tokenizers=_open_tokenizers,
        server_settings=partial(server_settings, os.environ if environment is None else environment),
        run_server=_run_server,
    )


_FREE_WHERE_NOBODY_KNOWS = 8 * 1024**3


def open_hosts() -> Hosts:
    """Open what runs models in processes of their own; it works on the asyncio loop that calls it."""
    from mlxknife.adapters.worker.parent.hosts import WorkerHosts  # noqa: PLC0415 - only a server runs models so

    return WorkerHosts((sys.executable, "-P", "-m", "mlxknife", "--worker-fd"), _free)


def run_worker(descriptor: int, parent: int) -> int:
    """Be the process of one model: the other composition root. Return its exit status."""
    from mlxknife.adapters.mlx.text.hosting import MlxLoader  # noqa: PLC0415 - only what runs a model needs MLX
    from mlxknife.adapters.worker.child.loop import serve  # noqa: PLC0415

    return serve(descriptor, parent, MlxLoader())


def _free() -> int:
    """Return how many bytes there are for a model that is started now."""
    free = Machine().memory_available_bytes()
    return _FREE_WHERE_NOBODY_KNOWS if free is None else free


def _run_server(app: App, settings: ServerSettings, on_ready: Callable[[str], None]) -> int:
    if settings.reloads:
        from mlxknife.adapters.process.reloader import run_with_reload  # noqa: PLC0415 - only --reload needs it

        environment = {**os.environ, "MLXK_RELOAD": "off"}
        return run_with_reload([sys.executable, "-m", "mlxknife", *_without_reload(sys.argv[1:])], environment)
    from mlxknife.http.options import Options  # noqa: PLC0415 - only a server needs the web
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
    serving = app.open_serving(settings.max_tokens)
    kept = [serving.start_with(spec) for spec in settings.models]
    return serve(partial(_server_app, serving, partial(app.open_residents, settings), kept), options, on_ready)


def _without_reload(arguments: Sequence[str]) -> list[str]:
    return [word for word in arguments if word != "--reload"]


def _server_app(
    serving: Serving, open_residents: Callable[[], Residents], kept: Sequence[Served], options: Options
) -> Starlette:
    from mlxknife.http.app import create_app  # noqa: PLC0415

    residents = open_residents()
    app = create_app(serving, residents, options)
    for served in kept:
        residents.keep(served)
    return app


def _open_tokenizers() -> Tokenizers:
    from mlxknife.adapters.mlx.text.hf_tokenizer import HfTokenizers  # noqa: PLC0415 - only a server joins texts

    return HfTokenizers()


def _open_starters(settings: Settings) -> StarterSource:
    from mlxknife.adapters.starter.wheels import WheelStarters  # noqa: PLC0415 - only pull starter needs it

    return WheelStarters(settings.wheels, is_offline=settings.is_offline)


def _open_workspace_builder(settings: Settings) -> WorkspaceBuilder:
    from mlxknife.adapters.workspaces.workspace_builder import LocalWorkspaceBuilder  # noqa: PLC0415 - most commands make nothing

    return LocalWorkspaceBuilder(settings.workspace_home)


def _open_templates() -> Templates:
    from mlxknife.adapters.jinja.templates import JinjaTemplates  # noqa: PLC0415 - only what runs a model needs them

    return JinjaTemplates()


def _open_importer() -> Importer:
    from mlxknife.adapters.gguf.importer import GgufImporter  # noqa: PLC0415 - brings numpy

    return GgufImporter()


def _open_engine() -> Engine:
    from mlxknife.adapters.mlx.text.model import MlxEngine  # noqa: PLC0415 - only what runs a model needs MLX

    return MlxEngine()


def _open_programs() -> Programs:
    from mlxknife.adapters.process.programs import LocalPrograms  # noqa: PLC0415 - only mlx-tee runs any

    return LocalPrograms()


def _open_inventory() -> RuntimeInventory:
    from mlxknife.adapters.packages.inventory import InstalledPackages  # noqa: PLC0415 - a transfer asks for no runtime

    return InstalledPackages()


def _open_removal_store(settings: Settings) -> RemovalStore:
    from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore  # noqa: PLC0415 - most commands remove nothing

    return CacheRemovalStore(settings.hub_cache)


def _open_hub(settings: Settings) -> Hub:
    endpoint = checked_endpoint(settings.hub_endpoint)  # huggingface_hub cannot even be imported with a wrong one,
    check_timeouts(os.environ)  # nor with these
    from mlxknife.adapters.hub.hub import HuggingFaceHub  # noqa: PLC0415 - it takes a fifth of a second

    return HuggingFaceHub(endpoint, settings.hub_token, is_offline=settings.is_offline)


def _open_download_store(settings: Settings) -> DownloadStore:
    from mlxknife.adapters.hfcache.download_store import CacheDownloadStore  # noqa: PLC0415 - only a pull takes anything in

    return CacheDownloadStore(settings.hub_cache)
