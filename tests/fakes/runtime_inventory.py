"""An inventory of the packages that a test declares."""

from __future__ import annotations

import attrs

from mlxknife.domain.compatibility.values import Runtime


@attrs.frozen
class FakeInventory:
    """Fulfils ``RuntimeInventory``."""

    runtime: Runtime = attrs.field(factory=lambda: Runtime(backend=False))

    def installed(self) -> Runtime:
        return self.runtime
