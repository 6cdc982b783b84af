"""Tee: the same input for several commands, and their answers in their order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import IO

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.tee import rules as tee_rules
from mlxknife.domain.tee.rules import OrderedOutput
from mlxknife.domain.tee.values import CommandEvent, OutputBegins, TeeCommand, TeePlan
from mlxknife.domain.text.rules import display
from mlxknife.ports.system.programs import Programs
from mlxknife.ports.system.system import System


@attrs.frozen
class Tee:
    """Answers ``mlx-tee``."""

    catalog: Catalog
    programs: Programs
    system: System
    has_gpu: Callable[[], bool]
    """Tells whether models are likely to run on a GPU here, where they take what they take on the disk."""

    def plan(self, jobs: Sequence[TeeCommand], *, side_by_side: bool | None = None) -> TeePlan:
        """Return how jobs are run: as somebody said, else side by side if their models fit into the memory together.

        A model that is not there, or fits by no means, is the command's own to complain about. Raises nothing.
        """
        if side_by_side is not None:
            return TeePlan(tuple(jobs), side_by_side)
        local = [job for job in jobs if job.host is None and job.models]
        free = self.system.memory_available_bytes() if len(local) > 1 else None
        if free is None:
            return TeePlan(tuple(jobs), side_by_side=True)
        needed = memory.total_size(self._sizes(local, free), free)
        if needed <= free:
            return TeePlan(tuple(jobs), side_by_side=True)
        note = f"The models need {display.size(needed)} of memory together, and {display.size(free)} are free"
        return TeePlan(tuple(jobs), side_by_side=False, note=f"{note}: one command after the other")

    def run(self, plan: TeePlan, source: IO[bytes] | None) -> Generator[OutputBegins | CommandEvent]:
        """Give all jobs of a plan what comes from a source, and yield what they answer, one job after the other.

        Whoever's turn it is is heard as it speaks. Closing it ends what still runs. Raises StorageError.
        """
        turns = OrderedOutput(len(plan.jobs))
        started = [tee_rules.arguments(job) for job in plan.jobs]
        with closing(self.programs.run(started, source, side_by_side=plan.side_by_side)) as heard:
            yield from turns.begin()
            for event in heard:
                yield from turns.hear(event)

    def _sizes(self, jobs: Sequence[TeeCommand], free: int) -> Iterator[int]:
        """Yield what each job will take, as far as its models are there."""
        has_gpu = self.has_gpu()
        for job in jobs:
            need = sum(map(self._need, job.models), start=memory.MemoryNeed(0, 0, 0))
            yield memory.taken(need, free, job.profile, has_gpu=has_gpu)

    def _need(self, spec: str) -> memory.MemoryNeed:
        try:
            found = self.catalog.examine(spec, filenames.RUN_LIST)
        except KnifeError:
            return memory.MemoryNeed(0, 0, 0)
        return memory.needed(found.facts) if found.info.integrity.healthy else memory.MemoryNeed(0, 0, 0)
