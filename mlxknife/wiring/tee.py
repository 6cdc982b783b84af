"""``mlx-tee``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.process.programs import LocalPrograms
from mlxknife.adapters.system.accelerator import has_gpu
from mlxknife.adapters.system.machine import Machine
from mlxknife.domain.tee.services import Tee
from mlxknife.wiring import catalog

if TYPE_CHECKING:
    from mlxknife.domain.settings.values.settings import Settings


def tee(settings: Settings) -> Tee:
    """Build the service behind ``mlx-tee``."""
    return Tee(catalog.catalog(settings), LocalPrograms(), Machine(), has_gpu)
