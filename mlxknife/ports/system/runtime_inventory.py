"""The installed packages that can run models."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.compatibility.values import Runtime


class RuntimeInventory(Protocol):
    """Reads the installed runtime packages from their files, without importing them."""

    def installed(self) -> Runtime:
        """Return the installed packages, read once. Raises nothing: a package that cannot be read counts as missing."""
        ...
