"""Stamps: which files were hashed, and how they looked then, so that what nobody touched need not be hashed again.

One small file a repo, ``.mlxk/stamps.json``. Whoever writes to a file changes its size, times or inode, and then the
stamp is worth nothing; ``health --verify`` never asks for one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import attrs
import msgspec

from mlxknife.adapters.hfcache.safe_files import read_small

OWN = ".mlxk"
"""The folder of ours in a repo."""
STAMPS = "stamps.json"

Identity = tuple[int, ...]


@attrs.frozen
class Stamp:
    """A file that was hashed: the digest, and how it looked."""

    digest: str
    identity: Identity


def identity(status: os.stat_result) -> Identity:
    """Return what changes when somebody writes to a file, or puts another in its place."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def load(repo: str) -> Mapping[str, Stamp]:
    """Return the stamps of a repo, by the paths of the files in the cache; none where they cannot be read."""
    try:
        if os.path.realpath(f"{repo}/{OWN}") != f"{repo}/{OWN}":
            return {}
        return msgspec.json.decode(read_small(f"{repo}/{OWN}/{STAMPS}"), type=dict[str, Stamp])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def encode(stamps: Mapping[str, Stamp]) -> bytes:
    """Return stamps as they are stored."""
    return msgspec.json.encode(stamps)
