"""``index``, ``search`` and ``run --context``: indexes in SQLite files over the embedders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlxknife.adapters.documents.files import DiskFiles
from mlxknife.adapters.documents.pdf import PdfReader
from mlxknife.adapters.sqlite_index.store import SqliteIndexes
from mlxknife.domain.retrieval.services.indexes import Indexes

if TYPE_CHECKING:
    from mlxknife.domain.embedding.services.embedders import Embedders


def indexes(embedders: Embedders) -> Indexes:
    """Build the service behind ``index`` and ``search``."""
    return Indexes(SqliteIndexes(), DiskFiles(PdfReader()), embedders)
