"""Hashing files on several threads; OpenSSL releases the GIL while it hashes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from mlxknife.adapters.folder.links import LinkResolver
from mlxknife.adapters.folder.safe_open import OPEN_FLAGS
from mlxknife.domain.models.values.hashes import HashAlgorithm, HashJob, HashOutcome
from mlxknife.domain.models.values.snapshot import FileState

_BUFFER = 1024 * 1024
_QUEUED_PER_WORKER = 4


class ThreadedHasher:
    """Hashes several files at a time. Implements ``Hasher``."""

    def __init__(self, workers: int | None = None) -> None:
        """Take the number of threads; by default one for every processor."""
        self._workers = workers or os.cpu_count() or 1

    def hash_files(self, jobs: Iterable[HashJob], on_bytes: Callable[[int], None]) -> Iterator[HashOutcome]:
        """See ``Hasher.hash_files``."""
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait  # noqa: PLC0415 - only to hash

        waiting = iter(jobs)
        with ThreadPoolExecutor(self._workers) as pool:
            running: set[Future[HashOutcome]] = set()
            while True:
                free = self._workers * _QUEUED_PER_WORKER - len(running)
                running.update(pool.submit(_hash_file, job, on_bytes) for job in islice(waiting, free))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)


def _hash_file(job: HashJob, on_bytes: Callable[[int], None]) -> HashOutcome:
    found = LinkResolver(job.location).resolve(job.name)
    if found.state is not FileState.OK:
        return HashOutcome(job, None, found.state.value)
    try:
        handle = os.open(found.path, OPEN_FLAGS)
        try:
            return HashOutcome(job, _digest(handle, job.recorded.algorithm, on_bytes))
        finally:
            os.close(handle)
    except OSError as exc:
        return HashOutcome(job, None, f"cannot be read: {exc.strerror}")


def _digest(handle: int, form: HashAlgorithm, on_bytes: Callable[[int], None]) -> str:
    import hashlib  # noqa: PLC0415 - most commands hash nothing

    if form is HashAlgorithm.SHA256:
        hashing = hashlib.sha256()
    else:
        hashing = hashlib.sha1(b"blob %d\0" % os.fstat(handle).st_size, usedforsecurity=False)
    buffer = memoryview(bytearray(_BUFFER))
    while count := os.readv(handle, [buffer]):
        hashing.update(buffer[:count])
        on_bytes(count)
    return hashing.hexdigest()
