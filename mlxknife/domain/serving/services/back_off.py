"""Back-off: a model that crashes again and again, or cannot be loaded, is not started for a while."""

from __future__ import annotations

import attrs

from mlxknife.domain.errors import KnifeError, ModelNotRunnable, WorkerLost
from mlxknife.domain.hints import HintCode
from mlxknife.domain.serving import rules
from mlxknife.domain.serving.services.servable_models import ServableModel
from mlxknife.ports.system.system import System


@attrs.define
class _Crashes:
    name: str
    count: int = 0
    paused_until: float = 0.0
    load_error: ModelNotRunnable | None = None
    """Why the model could not be loaded, if that was its last failure."""


@attrs.define(eq=False)
class BackOff:
    """Counts the crashes of each model since its last complete answer."""

    system: System
    _crashes: dict[str, _Crashes] = attrs.field(factory=dict, init=False)

    def crashed(self, model: ServableModel, error: KnifeError) -> None:
        """Count a crash, or a failure to load."""
        crashes = self._crashes.setdefault(model.key, _Crashes(model.name))
        crashes.count += 1
        crashes.load_error = error if isinstance(error, ModelNotRunnable) else None
        crashes.paused_until = self.system.ticks() + rules.back_off_seconds(crashes.count)

    def loaded(self, model: ServableModel) -> None:
        """Forget that a model could not be loaded."""
        if model.key in self._crashes:
            self._crashes[model.key].load_error = None

    @property
    def unloadable(self) -> frozenset[tuple[str, str]]:
        """The names and keys of the models that could not be loaded when it was last tried."""
        items = self._crashes.items()
        return frozenset((crashes.name, key) for key, crashes in items if crashes.load_error is not None)

    def answered(self, model: ServableModel) -> None:
        """Forget the crashes of a model: it has completed an answer."""
        self._crashes.pop(model.key, None)

    def is_paused(self, model: ServableModel) -> bool:
        """Whether a model must not be started now."""
        return self._pause(model) > 0

    def check(self, model: ServableModel) -> None:
        """Raise ModelNotRunnable or WorkerLost for a model that must not be started now."""
        pause = self._pause(model)
        if pause > 0:
            error = self._crashes[model.key].load_error
            if error is not None:
                raise ModelNotRunnable(error.message, hint=error.hint)
            msg = f"'{model.name}' crashed {self._crashes[model.key].count} times in a row"
            raise WorkerLost(msg, retry_after=pause, hint=HintCode.VERIFY_FILES)

    def _pause(self, model: ServableModel) -> float:
        crashes = self._crashes.get(model.key)
        return 0.0 if crashes is None else crashes.paused_until - self.system.ticks()
