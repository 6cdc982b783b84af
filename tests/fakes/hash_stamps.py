"""Stamps in memory."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mlxknife.domain.models.values.hashes import HashJob


@attrs.define
class FakeHashStamps:
    """Implements ``HashStamps``. ``files`` are the files with a stamp, by location and name."""

    files: set[tuple[str, str]] = attrs.field(factory=set)

    def discard(self, jobs: Iterable[HashJob]) -> None:
        self.files -= {(job.location.token, job.name) for job in jobs}
