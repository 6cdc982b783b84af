"""Inspection: reading the files of a model and judging their structure."""

from __future__ import annotations

import attrs

from mlxknife.domain.integrity.rules import integrity
from mlxknife.domain.models.rules import configs, filenames
from mlxknife.domain.models.values.snapshot import ReadingList, SnapshotFacts
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Finding
from mlxknife.ports.store.snapshot_reader import SnapshotReader


@attrs.frozen
class Inspector:
    """Reads a model once and judges its files."""

    reader: SnapshotReader

    def facts(self, entry: ModelEntry, reading_list: ReadingList = filenames.READING_LIST) -> SnapshotFacts:
        """Return the facts of a model's folder; empty facts where it has no folder. Raises nothing."""
        if entry.location is None:
            return SnapshotFacts()
        return self.reader.read(entry.location, reading_list)

    def finding(self, entry: ModelEntry, facts: SnapshotFacts) -> Finding | None:
        """Return the first problem of the files, or None when they are intact. Raises nothing."""
        if entry.finding is not None:
            return entry.finding
        found = integrity.findings(
            facts,
            needs_tokenizer=configs.needs_tokenizer(entry.origin or entry.name, facts),
            needs_processor=configs.needs_image_processor(facts),
            unfinished=entry.unfinished,
            manifest=entry.manifest,
        )
        return next(found, None)
