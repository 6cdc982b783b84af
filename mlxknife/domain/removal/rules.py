"""Removal: which blobs of a repo are unused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlxknife.domain.removal.values import BlobUse, StoredBlob


def used(use: BlobUse, without: Iterable[str] = ()) -> frozenset[str]:
    """Return the blobs that snapshots use; ``without`` leaves some snapshots out."""
    left_out = frozenset(without)
    return frozenset().union(*(blobs for commit, blobs in use.used_by.items() if commit not in left_out))


def freed_by(use: BlobUse, commit: str, before: Iterable[str] = ()) -> Iterator[StoredBlob]:
    """Yield the blobs that only this snapshot uses: removing it frees them. ``before`` are removed before it."""
    only = use.used_by.get(commit, frozenset()) - used(use, without=(commit, *before))
    return (blob for blob in use.blobs if blob.name in only and not blob.unfinished)


def orphans(use: BlobUse) -> Iterator[StoredBlob]:
    """Yield the blobs that no snapshot uses, partial downloads included."""
    in_use = used(use)
    return (blob for blob in use.blobs if blob.name not in in_use)
