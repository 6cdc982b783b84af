"""The application: the services that the command line, the server and the library use."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:  # a command imports only the services that it uses
    from collections.abc import Callable

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
    from mlxknife.domain.settings.services import Configuration
    from mlxknife.domain.settings.values.settings import ServerSettings, Settings
    from mlxknife.domain.tee.services import Tee
    from mlxknife.domain.transfer.services.puller import Puller
    from mlxknife.domain.transfer.services.starter_puller import StarterPuller
    from mlxknife.ports.engines.processes import ModelProcesses
    from mlxknife.ports.store.removal_store import RemovalStore
    from mlxknife.ports.system.system import System


class Wiring(Protocol):
    """Builds services over adapters. Building one imports what it needs and nothing else."""

    def configuration(self) -> Configuration:
        """Build the service behind ``config``."""
        ...

    def finder(self) -> Finder:
        """Build the finder of models."""
        ...

    def catalog(self) -> Catalog:
        """Build the service behind ``list`` and ``show``."""
        ...

    def health(self) -> HealthChecker:
        """Build the service behind ``health``."""
        ...

    def removal_store(self) -> RemovalStore:
        """Build what removes things from the cache."""
        ...

    def remover(self) -> Remover:
        """Build the service behind ``rm``."""
        ...

    def puller(self) -> Puller:
        """Build the service behind ``pull``. Raises ValidationError for wrong settings of the Hub."""
        ...

    def starter_puller(self) -> StarterPuller:
        """Build the service behind ``pull starter``."""
        ...

    def sessions(self) -> Sessions:
        """Build the service behind ``run``."""
        ...

    def embedders(self) -> Embedders:
        """Build the service behind ``embed``."""
        ...

    def indexes(self) -> Indexes:
        """Build the service behind ``index`` and ``search``."""
        ...

    def rerankers(self) -> Rerankers:
        """Build the service behind ``rerank``."""
        ...

    def tee(self) -> Tee:
        """Build the service behind ``mlx-tee``."""
        ...

    def server_settings(self) -> ServerSettings:
        """Return the settings of a server from the environment and the config file. Raises ValidationError."""
        ...

    def servable_models(self, max_tokens: int | None, *, allow_remote_code: bool) -> ServableModels:
        """Build what finds models for a server."""
        ...

    def model_processes(self) -> ModelProcesses:
        """Build what starts model processes on the running asyncio loop."""
        ...

    def model_pool(self, settings: ServerSettings, processes: ModelProcesses) -> ModelPool:
        """Build what loads models for a server."""
        ...

    def serve(self, app: App, settings: ServerSettings, on_ready: Callable[[str], None]) -> int:
        """Run a server until a signal ends it; see ``App.serve``."""
        ...


@attrs.frozen(slots=False)  # with slots, help() shows no services
class App:
    """One set of services over one set of adapters. It holds no open handles and needs no closing."""

    settings: Settings
    system: System
    wiring: Wiring = attrs.field(repr=False)
    """Builds each service when it is first used. It may hold secrets of the environment."""

    def __repr__(self) -> str:
        """Return the two folders that the services work on."""
        folders = self.settings.hub_cache, self.settings.workspace_home
        return f"App(hub_cache={folders[0]!r}, workspace_home={folders[1]!r})"

    @cached_property
    def configuration(self) -> Configuration:
        """The service behind ``config``: the settings with their sources, and the config file."""
        return self.wiring.configuration()

    @cached_property
    def finder(self) -> Finder:
        """Finds models by name."""
        return self.wiring.finder()

    @cached_property
    def catalog(self) -> Catalog:
        """The service behind ``list`` and ``show``."""
        return self.wiring.catalog()

    @cached_property
    def health(self) -> HealthChecker:
        """The service behind ``health``."""
        return self.wiring.health()

    @cached_property
    def removal_store(self) -> RemovalStore:
        """Removes things from the cache, and lists what is still in its trash."""
        return self.wiring.removal_store()

    @cached_property
    def remover(self) -> Remover:
        """The service behind ``rm``."""
        return self.wiring.remover()

    @cached_property
    def puller(self) -> Puller:
        """The service behind ``pull``."""
        return self.wiring.puller()

    @cached_property
    def starter_puller(self) -> StarterPuller:
        """The service behind ``pull starter``."""
        return self.wiring.starter_puller()

    @cached_property
    def sessions(self) -> Sessions:
        """The service behind ``run``."""
        return self.wiring.sessions()

    @cached_property
    def embedders(self) -> Embedders:
        """The service behind ``embed``."""
        return self.wiring.embedders()

    @cached_property
    def indexes(self) -> Indexes:
        """The service behind ``index``, ``search`` and ``run --context``."""
        return self.wiring.indexes()

    @cached_property
    def rerankers(self) -> Rerankers:
        """The service behind ``rerank``."""
        return self.wiring.rerankers()

    @cached_property
    def tee(self) -> Tee:
        """The service behind ``mlx-tee``."""
        return self.wiring.tee()

    def server_settings(self) -> ServerSettings:
        """Return the settings of a server from environment and config file. Raises ValidationError."""
        return self.wiring.server_settings()

    def servable_models(self, max_tokens: int | None = None, *, allow_remote_code: bool = False) -> ServableModels:
        """Build what finds models for a server.

        ``max_tokens`` limits answers whose request sets no limit. With ``allow_remote_code`` models that need code of
        their repo run it, with the rights of the server.
        """
        return self.wiring.servable_models(max_tokens, allow_remote_code=allow_remote_code)

    def model_pool(self, settings: ServerSettings | None = None, processes: ModelProcesses | None = None) -> ModelPool:
        """Build what loads models for a server. Use it on one asyncio loop, and close it at the end."""
        return self.wiring.model_pool(settings or self.server_settings(), processes or self.wiring.model_processes())

    def serve(self, settings: ServerSettings, on_ready: Callable[[str], None]) -> int:
        """Run a server until a signal ends it; ``on_ready`` gets its address. Return the exit code.

        Raises ValidationError, AccessDenied or StorageError for an address that cannot be used, and what
        ``ServableModels.pin`` raises for its models.
        """
        return self.wiring.serve(self, settings, on_ready)
