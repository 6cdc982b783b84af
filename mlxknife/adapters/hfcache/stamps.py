"""Stamps: the digest of each blob that was hashed, and how its file looked then, so that it need not be hashed again.

They stand in ``.mlxk/stamps.json`` of a repo. Writing to a file changes its size, times or inode, and a stamp that
does not match them counts for nothing. ``health --verify`` uses no stamps: it hashes every file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

import attrs
import msgspec

from mlxknife.adapters.hfcache.safe_files import read_small, real_folder
from mlxknife.domain.models.values.hashes import HashJob

OWN = ".mlxk"
"""The folder of a repo that holds the product's own files."""
STAMPS = "stamps.json"

Identity = tuple[int, ...]


@attrs.frozen
class Stamp:
    """A file that was hashed: its digest, and how it looked."""

    digest: str
    identity: Identity


class CacheStamps:
    """The stamps of all repos of one cache. Implements ``HashStamps``."""

    def __init__(self, root: str) -> None:
        """Take the folder that huggingface_hub calls its cache."""
        self._root = os.path.realpath(root)

    def discard(self, jobs: Iterable[HashJob]) -> None:
        """See ``HashStamps.discard``."""
        by_repo: dict[str, set[str]] = {}
        for job in jobs:
            real = os.path.realpath(f"{job.location.token}/{job.name}")
            by_repo.setdefault(job.location.bounds[0], set()).add(real.removeprefix(f"{self._root}/"))
        for repo, paths in by_repo.items():
            stamps = load(repo)
            if paths.isdisjoint(stamps):
                continue
            with suppress(OSError):  # a repo that is read-only keeps its stamps: the docs name pull --force for that
                own = real_folder(repo, OWN)
                new = f"{own}/{STAMPS}.{os.getpid()}"
                with open(new, "xb") as file:
                    file.write(encode({path: stamp for path, stamp in stamps.items() if path not in paths}))
                os.rename(new, f"{own}/{STAMPS}")


def identity(status: os.stat_result) -> Identity:
    """Return what changes when a file is written to or replaced: size, times and inode."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def load(repo: str) -> Mapping[str, Stamp]:
    """Return the stamps of a repo by the files' paths in the cache; empty where they cannot be read. Raises nothing."""
    try:
        if os.path.realpath(f"{repo}/{OWN}") != f"{repo}/{OWN}":
            return {}
        return msgspec.json.decode(read_small(f"{repo}/{OWN}/{STAMPS}"), type=dict[str, Stamp])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def encode(stamps: Mapping[str, Stamp]) -> bytes:
    """Return stamps as ``stamps.json`` stores them."""
    return msgspec.json.encode(stamps)
