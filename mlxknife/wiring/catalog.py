"""``list``, ``show`` and ``health``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.folder.hasher import ThreadedHasher
from mlxknife.adapters.folder.snapshot_reader import FolderReader
from mlxknife.adapters.hfcache.model_store import CacheModelStore
from mlxknife.adapters.hfcache.stamps import CacheStamps
from mlxknife.adapters.workspaces.workspaces import LocalWorkspaces
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Verifier
from mlxknife.domain.names.services import Finder

if TYPE_CHECKING:
    from mlxknife.domain.catalog.services.catalog import Catalog
    from mlxknife.domain.integrity.services.health import HealthChecker
    from mlxknife.domain.settings.values.settings import Settings


def finder(settings: Settings) -> Finder:
    """Build the finder over the cache and the workspace home."""
    return Finder(store=CacheModelStore(settings.hub_cache), workspaces=LocalWorkspaces(settings.workspace_home))


def inspector() -> Inspector:
    """Build the inspector of model folders."""
    return Inspector(reader=FolderReader())


def catalog(settings: Settings) -> Catalog:
    """Build the catalog."""
    from mlxknife.adapters.packages.inventory import InstalledPackages  # noqa: PLC0415 - health needs neither
    from mlxknife.domain.catalog.services.catalog import Catalog  # noqa: PLC0415

    return Catalog(finder(settings), inspector(), InstalledPackages(), _verifier(settings))


def health(settings: Settings) -> HealthChecker:
    """Build the health service."""
    from mlxknife.domain.integrity.services.health import HealthChecker  # noqa: PLC0415 - only health needs it

    return HealthChecker(finder(settings), inspector(), _verifier(settings))


def _verifier(settings: Settings) -> Verifier:
    return Verifier(ThreadedHasher(), CacheStamps(settings.hub_cache))
