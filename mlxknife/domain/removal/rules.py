"""Removal: which blobs nobody needs any more."""

from __future__ import annotations

from collections.abc import Iterator

from mlxknife.domain.removal.values import BlobUse, StoredBlob


def needed(use: BlobUse, without: str | None = None) -> frozenset[str]:
    """Return the blobs that snapshots need, leaving one of them out."""
    return frozenset().union(*(blobs for commit, blobs in use.used_by.items() if commit != without))


def freed_by(use: BlobUse, commit: str) -> Iterator[StoredBlob]:
    """Yield the blobs that only one snapshot needs."""
    only = use.used_by.get(commit, frozenset()) - needed(use, without=commit)
    return (blob for blob in use.blobs if blob.name in only and not blob.unfinished)


def orphans(use: BlobUse) -> Iterator[StoredBlob]:
    """Yield the blobs that no snapshot needs, unfinished ones among them."""
    wanted = needed(use)
    return (blob for blob in use.blobs if blob.name not in wanted)
