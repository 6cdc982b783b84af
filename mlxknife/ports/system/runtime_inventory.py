"""What is installed to run models with."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.compatibility.values import Runtime


class RuntimeInventory(Protocol):
    """Knows the installed runtime packages from their files, without importing them."""

    def installed(self) -> Runtime:
        """Return what is installed; looked up once. Raises nothing: what cannot be read is not installed."""
        ...
