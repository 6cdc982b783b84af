"""``rerank``: rerankers in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.reranking.services.rerankers import Rerankers
from mlxknife.wiring import catalog
from mlxknife.wiring.run import model_processes

if TYPE_CHECKING:
    from mlxknife.adapters.system.private_folder import PrivateFolder
    from mlxknife.domain.settings.values.settings import Settings


def rerankers(settings: Settings, folder: PrivateFolder) -> Rerankers:
    """Build the service behind ``rerank``."""
    clients = BlockingClients(model_processes(folder), EngineKind.RERANKING)
    return Rerankers(catalog.catalog(settings), clients, Machine())
