"""Opens the application: reads the settings, and names the file that builds each service."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from mlxknife.adapters.system.machine import Machine
from mlxknife.app import App
from mlxknife.wiring import settings as settings_wiring

if TYPE_CHECKING:
    from mlxknife.adapters.system.private_folder import PrivateFolder
    from mlxknife.domain.catalog.services.catalog import Catalog
    from mlxknife.domain.embedding.services.embedders import Embedders
    from mlxknife.domain.generation.services.sessions import Sessions
    from mlxknife.domain.integrity.services.health import HealthChecker
    from mlxknife.domain.names.services import Finder
    from mlxknife.domain.removal.services import Remover
    from mlxknife.domain.reranking.services.rerankers import Rerankers
    from mlxknife.domain.retrieval.services.indexes import Indexes
    from mlxknife.domain.serving.services.model_pool import ModelPool
    from mlxknife.domain.serving.services.servable_models import ServableModels
    from mlxknife.domain.settings.rules.sources import Sources
    from mlxknife.domain.settings.services import Configuration
    from mlxknife.domain.settings.values.settings import ServerSettings, Settings
    from mlxknife.domain.tee.services import Tee
    from mlxknife.domain.transfer.services.puller import Puller
    from mlxknife.domain.transfer.services.starter_puller import StarterPuller
    from mlxknife.ports.engines.processes import ModelProcesses
    from mlxknife.ports.store.removal_store import RemovalStore


def open_app(
    *,
    hub_cache: str | os.PathLike[str] | None = None,
    workspace_home: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    reads_config: bool = True,
) -> App:
    """Open the product: the services over the real cache, workspaces and machine.

    ``hub_cache`` is the folder that huggingface_hub calls its cache (``~/.cache/huggingface/hub``), ``workspace_home``
    the folder of your workspaces; without them the environment and the config file decide, as they do for ``mlxk``.
    Without ``reads_config`` the config file is not read.

    Raises ValidationError or StorageError for a config file that is wrong or cannot be read.
    """
    environment = os.environ if environment is None else environment
    sources = settings_wiring.read_sources(environment) if reads_config else settings_wiring.sources(environment, {})
    settings = settings_wiring.settings(
        sources,
        hub_cache=os.fspath(hub_cache) if hub_cache is not None else None,
        workspace_home=os.fspath(workspace_home) if workspace_home is not None else None,
    )
    return App(settings=settings, system=Machine(), wiring=AppWiring(settings, sources))


@attrs.frozen
class AppWiring:
    """See ``Wiring``. Each feature has a file of its own, which is imported when its service is first used."""

    settings: Settings
    sources: Sources = attrs.field(repr=False)

    def configuration(self) -> Configuration:
        """See ``Wiring.configuration``."""
        return settings_wiring.configuration(self.sources.environment)

    def finder(self) -> Finder:
        """See ``Wiring.finder``."""
        from mlxknife.wiring import catalog  # noqa: PLC0415

        return catalog.finder(self.settings)

    def catalog(self) -> Catalog:
        """See ``Wiring.catalog``."""
        from mlxknife.wiring import catalog  # noqa: PLC0415

        return catalog.catalog(self.settings)

    def health(self) -> HealthChecker:
        """See ``Wiring.health``."""
        from mlxknife.wiring import catalog  # noqa: PLC0415

        return catalog.health(self.settings)

    def removal_store(self) -> RemovalStore:
        """See ``Wiring.removal_store``."""
        from mlxknife.wiring import removal  # noqa: PLC0415

        return removal.removal_store(self.settings)

    def remover(self) -> Remover:
        """See ``Wiring.remover``."""
        from mlxknife.wiring import removal  # noqa: PLC0415

        return removal.remover(self.settings)

    def puller(self) -> Puller:
        """See ``Wiring.puller``."""
        from mlxknife.wiring import pull  # noqa: PLC0415

        return pull.puller(self.settings)

    def starter_puller(self) -> StarterPuller:
        """See ``Wiring.starter_puller``."""
        from mlxknife.wiring import pull  # noqa: PLC0415

        return pull.starter_puller(self.settings)

    def sessions(self) -> Sessions:
        """See ``Wiring.sessions``."""
        from mlxknife.wiring import run  # noqa: PLC0415

        return run.sessions(self.settings, self._private_folder)

    def embedders(self) -> Embedders:
        """See ``Wiring.embedders``."""
        from mlxknife.wiring import embed  # noqa: PLC0415

        return embed.embedders(self.settings, self._private_folder)

    def indexes(self) -> Indexes:
        """See ``Wiring.indexes``."""
        from mlxknife.wiring import retrieval  # noqa: PLC0415

        return retrieval.indexes(self.embedders())

    def rerankers(self) -> Rerankers:
        """See ``Wiring.rerankers``."""
        from mlxknife.wiring import rerank  # noqa: PLC0415

        return rerank.rerankers(self.settings, self._private_folder)

    def tee(self) -> Tee:
        """See ``Wiring.tee``."""
        from mlxknife.wiring import tee  # noqa: PLC0415

        return tee.tee(self.settings)

    def server_settings(self) -> ServerSettings:
        """See ``Wiring.server_settings``."""
        return settings_wiring.server_settings(self.sources)

    def servable_models(self, max_tokens: int | None, *, allow_remote_code: bool) -> ServableModels:
        """See ``Wiring.servable_models``."""
        from mlxknife.wiring import serve  # noqa: PLC0415

        return serve.servable_models(self.settings, max_tokens, allow_remote_code=allow_remote_code)

    def model_processes(self) -> ModelProcesses:
        """See ``Wiring.model_processes``."""
        from mlxknife.wiring import run  # noqa: PLC0415

        return run.model_processes(self._private_folder)

    def model_pool(self, settings: ServerSettings, processes: ModelProcesses) -> ModelPool:
        """See ``Wiring.model_pool``."""
        from mlxknife.wiring import serve  # noqa: PLC0415

        return serve.model_pool(settings, processes)

    def serve(self, app: App, settings: ServerSettings, on_ready: Callable[[str], None]) -> int:
        """See ``Wiring.serve``."""
        from mlxknife.wiring import serve  # noqa: PLC0415

        self._private_folder.path()  # where it cannot be used, no model can start
        return serve.serve(app, settings, on_ready)

    @cached_property
    def _private_folder(self) -> PrivateFolder:
        from mlxknife.adapters.system.private_folder import PrivateFolder  # noqa: PLC0415 - most commands run no model

        return PrivateFolder(self.sources.environment, self.settings.temp)
