"""The events of a model pool for the state machine: each is checked when it comes."""

from __future__ import annotations

from collections import Counter

import attrs

from mlxknife.domain.errors import ModelNotRunnable, NotEnoughMemory
from mlxknife.domain.serving.values import (
    LoadingStarted,
    ModelCrashed,
    ModelNotLoaded,
    ModelReady,
    ModelUnloaded,
    PoolEvent,
)
from tests.fakes.system import FakeSystem


@attrs.define
class EventLog:
    """Follows the models of a pool by its events."""

    system: FakeSystem
    states: dict[str, str] = attrs.field(factory=dict)
    """The state of each model according to the events."""
    paused_until: dict[str, float] = attrs.field(factory=dict)
    """The time before which a model must not be started again."""
    _crashes: Counter[str] = attrs.field(factory=Counter)
    """The crashes of each model since its last complete answer."""

    def receive(self, event: PoolEvent) -> None:
        """Check that each model starts once, is ready once, and ends once, in this order."""
        before = self.states.get(event.name)
        if isinstance(event, LoadingStarted):
            assert before is None
            assert not self.is_paused(event.name), "a model that crashes often is not started"
            self.states[event.name] = "loading"
        elif isinstance(event, ModelReady):
            assert before == "loading"
            self.states[event.name] = "ready"
        elif isinstance(event, ModelNotLoaded):
            is_refused = isinstance(event.error, ModelNotRunnable)
            assert is_refused or (event.name, type(event.error)) == ("huge", NotEnoughMemory)
            assert before == ("loading" if is_refused else None)
            self.states.pop(event.name, None)
        else:
            assert isinstance(event, (ModelUnloaded, ModelCrashed))
            assert before is not None
            del self.states[event.name]
        if isinstance(event, ModelCrashed) or (isinstance(event, ModelNotLoaded) and before is not None):
            self._crashes[event.name] += 1
            count = self._crashes[event.name]
            pause = min(60, 2 ** (count - 2)) if count > 1 else 0
            self.paused_until[event.name] = self.system.time + pause

    def answered(self, name: str) -> None:
        """Note a complete answer, which ends the pause."""
        self._crashes.pop(name, None)
        self.paused_until.pop(name, None)

    def is_paused(self, name: str) -> bool:
        return self.system.time < self.paused_until.get(name, 0)
