"""Proofs of a cache: the stamps of its repos."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from mlxknife.adapters.hfcache import safe_files, stamps
from mlxknife.adapters.hfcache.stamps import OWN, STAMPS
from mlxknife.domain.models.values.hashes import HashJob


class CacheProofs:
    """Forgets stamps of one cache."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)

    def withdraw(self, jobs: Iterable[HashJob]) -> None:
        """See ``Proofs.withdraw``."""
        by_repo: dict[str, set[str]] = {}
        for job in jobs:
            real = os.path.realpath(f"{job.location.token}/{job.name}")
            by_repo.setdefault(job.location.bounds[0], set()).add(real.removeprefix(f"{self._root}/"))
        for repo, places in by_repo.items():
            kept = dict(stamps.load(repo))
            if places.isdisjoint(kept):
                continue
            with suppress(OSError):  # who may not change it is told of pull --force by the docs
                own = safe_files.real_folder(repo, OWN)
                new = f"{own}/{STAMPS}.{os.getpid()}"
                with open(new, "xb") as file:
                    file.write(stamps.encode({place: stamp for place, stamp in kept.items() if place not in places}))
                os.rename(new, f"{own}/{STAMPS}")
