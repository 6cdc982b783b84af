"""Writing the sentinel of a workspace: the file that records where it came from, and a hash of its content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from mlxknife.adapters.workspaces.workspaces import SENTINEL
from mlxknife.domain.workspaces.values import Origin
from mlxknife.version import __version__

_FORM = "sha256-of-files"


def encode(folder: str, origin: Origin, created: float) -> bytes:
    """Return the sentinel of a complete folder. It uses mlx-knife's key names wherever mlx-knife has one.

    Raises OSError.
    """
    document = {
        "mlxk_version": __version__,
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "managed": True,
        "operation": origin.operation,
        "source_repo": origin.source,
        "source_revision": origin.revision,
        "content_hash": f"sha256:{content_hash(folder)}",
        "hash_algorithm": _FORM,
    }
    return json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n"


def content_hash(folder: str) -> str:
    """Return the SHA-256 of the output of ``sha256sum`` for all files but the sentinel, in the order of their names.

    Raises OSError.
    """
    whole = hashlib.sha256()
    for name in sorted(files(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{digest}  {name}\n".encode())
    return whole.hexdigest()


def files(folder: str) -> Iterator[str]:
    """Yield the relative paths of all files below a folder, except the sentinel. Raises OSError."""
    for place, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = os.path.relpath(os.path.join(place, name), folder)
            if path != SENTINEL:
                yield path


def _raise(error: OSError) -> None:
    raise error
