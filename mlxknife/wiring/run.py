"""``run`` and the library: models in processes of their own, for blocking callers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from mlxknife.adapters.functions.tool_functions import PythonFunctions
from mlxknife.adapters.system.machine import Machine
from mlxknife.adapters.system.private_folder import PrivateFolder
from mlxknife.adapters.worker.parent.blocking import BlockingClients
from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.domain.generation.services.sessions import Sessions
from mlxknife.wiring import catalog
from mlxknife.wiring import settings as settings_wiring

if TYPE_CHECKING:
    from mlxknife.domain.settings.values.settings import Settings

WORKER_OPTION = "--worker-fd"
"""The first argument of a model process; the descriptor of its socket, the id of its parent, and its kind follow."""


def model_processes(folder: PrivateFolder | None = None) -> WorkerProcesses:
    """Build what starts model processes on the running asyncio loop. Their temporary files are in ``folder``."""
    folder = folder or PrivateFolder(os.environ, settings_wiring.temp_folder(settings_wiring.sources(os.environ, {})))
    return WorkerProcesses((sys.executable, "-P", "-m", "mlxknife", WORKER_OPTION), temporary_folder=folder.path)


def sessions(settings: Settings, folder: PrivateFolder) -> Sessions:
    """Build the service behind ``run``."""
    return Sessions(catalog.catalog(settings), BlockingClients(model_processes(folder)), Machine(), PythonFunctions())
