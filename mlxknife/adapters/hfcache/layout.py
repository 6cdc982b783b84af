"""Names of the cache's layout, as huggingface_hub gives them."""

from __future__ import annotations

import re

REPO_PREFIX = "models--"
BLOBS, SNAPSHOTS, REFS, TREES = "blobs", "snapshots", "refs", "trees"
SHARED_STORE = "blobs"
"""The folder beside the repos that they may share their blobs in."""
INCOMPLETE = ".incomplete"

_PARTIAL = re.compile(r"(?P<blob>.+?)(?:\.[0-9a-f]{8})?\.incomplete")


def blob_of_partial(name: str) -> str | None:
    """Return the blob that a file of the blob store is to become; None for one that is no partial.

    huggingface_hub puts eight random digits between the two, we put nothing there.
    """
    found = _PARTIAL.fullmatch(name) if name.endswith(INCOMPLETE) else None
    return None if found is None else found["blob"]
