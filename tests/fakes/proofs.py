"""Proofs in memory."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from mlxknife.domain.models.values.hashes import HashJob


@attrs.define
class FakeProofs:
    """Fulfils ``ports.proofs``. ``known`` are files that were proven once, by location and name."""

    known: set[tuple[str, str]] = attrs.field(factory=set)

    def withdraw(self, jobs: Iterable[HashJob]) -> None:
        self.known -= {(job.location.token, job.name) for job in jobs}
