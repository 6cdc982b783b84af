"""``embed``: embedding models in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.domain.embedding.services.embedders import Embedders
from mlxknife.domain.engines.values import EngineKind
from mlxknife.wiring import catalog
from mlxknife.wiring.run import model_processes

if TYPE_CHECKING:
    from mlxknife.adapters.system.private_folder import PrivateFolder
    from mlxknife.domain.settings.values.settings import Settings


def embedders(settings: Settings, folder: PrivateFolder) -> Embedders:
    """Build the service behind ``embed``."""
    clients = BlockingClients(model_processes(folder), EngineKind.EMBEDDING)
    return Embedders(catalog.catalog(settings), clients, Machine())
