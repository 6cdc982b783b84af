"""``rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.hfcache.removal_store import CacheRemovalStore

if TYPE_CHECKING:
    from mlxknife.domain.removal.services import Remover
    from mlxknife.domain.settings.values.settings import Settings


def removal_store(settings: Settings) -> CacheRemovalStore:
    """Build what removes things from the cache."""
    return CacheRemovalStore(settings.hub_cache)


def remover(settings: Settings) -> Remover:
    """Build the remover."""
    from mlxknife.domain.removal.services import Remover  # noqa: PLC0415 - list only asks for the trash
    from mlxknife.wiring import catalog  # noqa: PLC0415

    finder = catalog.finder(settings)
    return Remover(finder, finder.store, removal_store(settings), finder.workspaces)
