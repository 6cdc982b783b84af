"""mlx-tee: the same input for several commands, and their output in the order of the commands."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import IO

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.errors import KnifeError
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.tee import rules
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
    """Returns whether models are likely to run on a GPU, where they need no more memory than on the disk."""

    __repr__ = reprs.name

    def plan(self, commands: Sequence[TeeCommand], *, side_by_side: bool | None = None) -> TeePlan:
        """Return how commands run: as ``side_by_side`` says, else at the same time if their models fit into memory.

        A model that does not exist, or does not fit alone, does not count: its command reports that. Raises nothing.
        """
        if side_by_side is not None:
            return TeePlan(tuple(commands), side_by_side)
        local = [command for command in commands if command.host is None and command.models]
        free = self.system.memory_available_bytes() if len(local) > 1 else None
        if free is None:
            return TeePlan(tuple(commands), side_by_side=True)
        needed = memory.total_size(self._sizes(local, free), free)
        if needed <= free:
            return TeePlan(tuple(commands), side_by_side=True)
        note = f"The models need {display.size(needed)} of memory at the same time, and {display.size(free)} are free"
        return TeePlan(tuple(commands), side_by_side=False, note=f"{note}: one command after the other")

    def run(self, plan: TeePlan, source: IO[bytes] | None) -> Generator[OutputBegins | CommandEvent]:
        """Copy a source to all commands of a plan, and yield their events, one command after the other.

        The output of the current command is not delayed. Closing the generator kills what still runs. Raises
        StorageError when the source cannot be read.
        """
        ordered = rules.OrderedOutput(len(plan.commands))
        started = [rules.arguments(command) for command in plan.commands]
        with closing(self.programs.run(started, source, side_by_side=plan.side_by_side)) as events:
            yield from ordered.start()
            for event in events:
                yield from ordered.add(event)

    def _sizes(self, commands: Sequence[TeeCommand], free: int) -> Iterator[int]:
        """Yield the memory that each command takes, as far as its models exist."""
        has_gpu = self.has_gpu()
        for command in commands:
            need = sum(map(self._need, command.models), start=memory.MemoryNeed(0, 0, 0))
            yield memory.taken(need, free, command.profile, has_gpu=has_gpu)

    def _need(self, spec: str) -> memory.MemoryNeed:
        try:
            found = self.catalog.examine(spec, filenames.RUN_LIST)
        except KnifeError:
            return memory.MemoryNeed(0, 0, 0)
        return memory.needed(found.facts) if found.info.integrity.healthy else memory.MemoryNeed(0, 0, 0)
