"""A hasher over files in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from mlxknife.domain.models.values.hashes import HashAlgorithm, HashJob, HashOutcome


@attrs.frozen
class FakeHasher:
    """Implements ``Hasher``; ``files`` are contents by location and name, None for a file that cannot be read."""

    files: Mapping[tuple[str, str], bytes | None]

    def hash_files(self, jobs: Iterable[HashJob], on_bytes: Callable[[int], None]) -> Iterator[HashOutcome]:
        for job in jobs:
            data = self.files.get((job.location.token, job.name))
            if data is None:
                yield HashOutcome(job, None, "cannot be read")
                continue
            on_bytes(len(data))
            git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
            hashing = hashlib.sha256(data) if job.recorded.algorithm is HashAlgorithm.SHA256 else git
            yield HashOutcome(job, hashing.hexdigest())
