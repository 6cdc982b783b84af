"""What a workspace that we make records of itself: where it came from, and a hash of its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from mlxknife.adapters.workspaces.folders import SENTINEL
from mlxknife.domain.workspaces.values import Origin
from mlxknife.version import __version__

_FORM = "sha256-of-files"


def encode(folder: str, origin: Origin, made: float) -> bytes:
    """Return the sentinel of a finished folder, under the names that mlx-knife has for all that it knew, too.

    Raises OSError.
    """
    document = {
        "mlxk_version": __version__,
        "created_at": datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "managed": True,
        "operation": origin.operation,
        "source_repo": origin.source,
        "source_revision": origin.revision,
        "content_hash": f"sha256:{content_hash(folder)}",
        "hash_algorithm": _FORM,
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def content_hash(folder: str) -> str:
    """Return the SHA-256 over the sorted lines ``<sha256 of a file>  <its name>`` of all files but the sentinel.

    It is what ``sha256sum`` prints for them, hashed once more. Raises OSError.
    """
    whole = hashlib.sha256()
    for name in sorted(files(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{digest}  {name}\n".encode())
    return whole.hexdigest()


def files(folder: str) -> Iterator[str]:
    """Yield the names of all files below a folder, but for the sentinel. Raises OSError."""
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = os.path.relpath(os.path.join(place, name), folder)
            if path != SENTINEL:
                yield path


def _raise(error: OSError) -> None:
    raise error
