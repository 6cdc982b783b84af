"""The application: the services, ready to use. What the CLI, the server and the library all hold."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:  # a command pays for the import of what it uses only, and these are only named
    from collections.abc import Callable

    from mlxknife.domain.catalog.services.catalog import Catalog
    from mlxknife.domain.generation.services.session import Chat
    from mlxknife.domain.integrity.services.health import HealthChecker
    from mlxknife.domain.integrity.services.inspector import Inspector
    from mlxknife.domain.integrity.services.verifier import Verifier
    from mlxknife.domain.names.services import Finder
    from mlxknife.domain.removal.services import Remover
    from mlxknife.domain.serving.services.model_pool import Residents
    from mlxknife.domain.serving.services.servable_models import Serving
    from mlxknife.domain.settings.values import ServerSettings, Settings
    from mlxknife.domain.tee.services import Tee
    from mlxknife.domain.transfer.services.puller import Puller
    from mlxknife.domain.transfer.services.starter_puller import StarterPuller
    from mlxknife.ports.engines.engine import Engine
    from mlxknife.ports.engines.hosts import Hosts
    from mlxknife.ports.engines.templates import Templates
    from mlxknife.ports.engines.tokenizers import Tokenizers
    from mlxknife.ports.hub.hub import Hub
    from mlxknife.ports.hub.starters import StarterSource
    from mlxknife.ports.store.download_store import DownloadStore
    from mlxknife.ports.store.hash_stamps import HashStamps
    from mlxknife.ports.store.hasher import Hasher
    from mlxknife.ports.store.removal_store import RemovalStore
    from mlxknife.ports.system.programs import Programs
    from mlxknife.ports.system.runtime_inventory import RuntimeInventory
    from mlxknife.ports.system.system import System
    from mlxknife.ports.workspaces.importer import Importer
    from mlxknife.ports.workspaces.workspace_builder import WorkspaceBuilder


@attrs.frozen
class App:
    """One set of services over one set of adapters. It holds no open handles and needs no closing.

    A service is made when it is first asked for, so that a command pays for the import of its own only. What it calls
    stays out of its repr, for that may hold the environment and its secrets.
    """

    settings: Settings
    finder: Finder
    inspector: Inspector
    hasher: Hasher
    hash_stamps: HashStamps
    open_inventory: Callable[[], RuntimeInventory] = attrs.field(repr=False)
    """Opens what knows the installed packages, which a transfer does not need."""
    open_removal_store: Callable[[], RemovalStore] = attrs.field(repr=False)
    open_hub: Callable[[], Hub] = attrs.field(repr=False)
    """Opens the Hub, which only a pull needs."""
    open_download_store: Callable[[], DownloadStore] = attrs.field(repr=False)
    open_engine: Callable[[], Engine] = attrs.field(repr=False)
    """Opens the runtime, which only what runs a model needs."""
    open_templates: Callable[[], Templates] = attrs.field(repr=False)
    open_starters: Callable[[], StarterSource] = attrs.field(repr=False)
    open_importer: Callable[[], Importer] = attrs.field(repr=False)
    open_workspace_builder: Callable[[], WorkspaceBuilder] = attrs.field(repr=False)
    system: System
    open_programs: Callable[[], Programs] = attrs.field(repr=False)
    """Opens what runs programs, which only ``mlx-tee`` does."""
    has_gpu: Callable[[], bool] = attrs.field(repr=False)
    open_hosts: Callable[[], Hosts] = attrs.field(repr=False)
    """Opens what runs models in processes of their own, in the thread of the loop that will use it."""
    open_tokenizers: Callable[[], Tokenizers] = attrs.field(repr=False)
    server_settings: Callable[[], ServerSettings] = attrs.field(repr=False)
    """Tells how a server is to be where nobody says. Raises ValidationError."""
    run_server: Callable[[App, ServerSettings, Callable[[str], None]], int] = attrs.field(repr=False)
    """Serves until somebody ends it, tells the address once it listens, and returns the exit code."""

    @cached_property
    def catalog(self) -> Catalog:
        """``list`` and ``show``."""
        from mlxknife.domain.catalog.services.catalog import Catalog  # noqa: PLC0415

        return Catalog(self.finder, self.inspector, self.open_inventory(), self._verifier)

    @cached_property
    def removal_store(self) -> RemovalStore:
        """What takes things out of the cache."""
        return self.open_removal_store()

    @cached_property
    def remover(self) -> Remover:
        """``rm``."""
        from mlxknife.domain.removal.services import Remover  # noqa: PLC0415

        return Remover(self.finder, self.finder.store, self.removal_store, self.finder.workspaces)

    @cached_property
    def chat(self) -> Chat:
        """``run``."""
        from mlxknife.domain.generation.services.session import Chat  # noqa: PLC0415

        return Chat(self.catalog, self.open_engine(), self.open_templates(), self.system)

    def open_serving(self, max_tokens: int | None = None) -> Serving:
        """Make what a server asks about models and requests; ``max_tokens`` holds where a client says nothing."""
        from mlxknife.domain.serving.services.servable_models import Serving  # noqa: PLC0415

        for_clients = attrs.evolve(self.catalog, finder=attrs.evolve(self.finder, allows_paths=False))
        templates, tokenizers = self.open_templates(), self.open_tokenizers()
        return Serving(for_clients, self.catalog, templates, tokenizers, self.system, max_tokens)

    def open_residents(self, settings: ServerSettings | None = None) -> Residents:
        """Make what loads models for a server, in the thread of its loop; close it in the end."""
        from mlxknife.domain.serving.rules.eviction import Limits  # noqa: PLC0415
        from mlxknife.domain.serving.services.model_pool import Residents  # noqa: PLC0415

        settings = settings or self.server_settings()
        limits = Limits(self.system.memory_available_bytes(), settings.max_loaded)
        return Residents(
            self.open_hosts(), self.system, limits, settings.idle_seconds, settings.profile, self.has_gpu()
        )

    @cached_property
    def puller(self) -> Puller:
        """``pull``."""
        from mlxknife.domain.transfer.services.puller import Puller  # noqa: PLC0415

        return Puller(self.finder, self.inspector, self.open_hub(), self.open_download_store(), self.hasher)

    @cached_property
    def starter_puller(self) -> StarterPuller:
        """``pull starter``."""
        from mlxknife.domain.transfer.services.starter_puller import StarterPuller  # noqa: PLC0415

        return StarterPuller(
            self.finder.workspaces,
            self.inspector,
            self.open_starters(),
            self.open_importer(),
            self.open_workspace_builder(),
        )

    @cached_property
    def health(self) -> HealthChecker:
        """``health``."""
        from mlxknife.domain.integrity.services.health import HealthChecker  # noqa: PLC0415

        return HealthChecker(self.finder, self.inspector, self._verifier)

    @cached_property
    def tee(self) -> Tee:
        """``mlx-tee``."""
        from mlxknife.domain.tee.services import Tee  # noqa: PLC0415

        return Tee(self.catalog, self.open_programs(), self.system, self.has_gpu)

    @cached_property
    def _verifier(self) -> Verifier:
        from mlxknife.domain.integrity.services.verifier import Verifier  # noqa: PLC0415

        return Verifier(self.hasher, self.hash_stamps)
