"""Installed packages, as a test declares them."""

from __future__ import annotations

import attrs

from mlxknife.domain.compatibility.values import Runtime


@attrs.frozen
class FakeInventory:
    """Fulfils ``ports.runtime_inventory``."""

    runtime: Runtime = attrs.field(factory=lambda: Runtime(backend=False))

    def installed(self) -> Runtime:
        return self.runtime
