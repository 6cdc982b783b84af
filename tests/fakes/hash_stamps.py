"""HashStamps in memory."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mlxknife.domain.models.values.hashes import HashJob


@attrs.define
class FakeHashStamps:
    """Fulfils ``ports.hash_stamps``. ``known`` are files that were proven once, by location and name."""

    known: set[tuple[str, str]] = attrs.field(factory=set)

    def discard(self, jobs: Iterable[HashJob]) -> None:
        self.known -= {(job.location.token, job.name) for job in jobs}
