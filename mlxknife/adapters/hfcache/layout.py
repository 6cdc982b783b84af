"""The names of files and folders in the cache, as huggingface_hub defines them."""

from __future__ import annotations

import re

REPO_PREFIX = "models--"
BLOBS, SNAPSHOTS, REFS, TREES = "blobs", "snapshots", "refs", "trees"
SHARED_STORE = "blobs"
"""The folder beside the repos in which they can share blobs (the Xet store)."""
INCOMPLETE = ".incomplete"

_PARTIAL = re.compile(r"(?P<blob>.+?)(?:\.[0-9a-f]{8})?\.incomplete")


def blob_of_partial(name: str) -> str | None:
    """Return the name of the blob that a partial download becomes; None for a file that is no partial.

    huggingface_hub writes ``<blob>.<8 hex digits>.incomplete``, we write ``<blob>.incomplete``.
    """
    found = _PARTIAL.fullmatch(name) if name.endswith(INCOMPLETE) else None
    return None if found is None else found["blob"]
