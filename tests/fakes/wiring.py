"""An application some of whose services a test has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from mlxknife.app import App, Wiring


@attrs.frozen
class _ReplacedWiring:
    """See ``Wiring``."""

    wiring: Wiring
    services: Mapping[str, Callable[[], object]]

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever method of Wiring it is
        return self.services.get(name) or getattr(self.wiring, name)


def with_services(app: App, **services: Callable[[], object]) -> App:
    """Return an application that builds some services by these functions, named as in ``Wiring``."""
    return attrs.evolve(app, wiring=_ReplacedWiring(app.wiring, services))
