"""Falls: how often models fell in a row, and how long each of them is left alone for it."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import WorkerLost
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving.rules import eviction
from mlxknife.domain.serving.services.servable_models import Served
from mlxknife.ports.system.system import System


@attrs.define
class _Falls:
    count: int = 0
    until: float = 0.0


@attrs.define(eq=False)
class FallBook:
    """Counts the falls of each model since it last said anything to the end."""

    system: System
    _falls: dict[str, _Falls] = attrs.field(factory=dict, init=False)

    def note(self, served: Served) -> None:
        """Count one more."""
        falls = self._falls.setdefault(served.key, _Falls())
        falls.count += 1
        falls.until = self.system.ticks() + eviction.pause_after(falls.count)

    def forgive(self, served: Served) -> None:
        """Begin anew: it said something to the end."""
        self._falls.pop(served.key, None)

    def is_left_alone(self, served: Served) -> bool:
        """Whether a model is not to be tried now."""
        return self._left(served) > 0

    def check(self, served: Served) -> None:
        """Raise WorkerLost for a model that is not to be tried now."""
        left = self._left(served)
        if left > 0:
            msg = f"'{served.info.name}' fell {self._falls[served.key].count} times in a row"
            raise WorkerLost(msg, retry_after=left, hint=HintCode.VERIFY_FILES)

    def _left(self, served: Served) -> float:
        falls = self._falls.get(served.key)
        return 0.0 if falls is None else falls.until - self.system.ticks()
