"""The catalog: every stored model, and all details of one model."""

from __future__ import annotations

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.rules import capabilities, model_card
from mlxknife.domain.catalog.rules.model_list import ModelList
from mlxknife.domain.compatibility.rules import compatibility
from mlxknife.domain.compatibility.values import RuntimeVerdict
from mlxknife.domain.integrity.rules import verification
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Verifier
from mlxknife.domain.integrity.values import VerificationResult
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelCard, ModelDetails, ModelFile, ModelInfo
from mlxknife.domain.models.values.snapshot import FileFact, FileState, ReadingList, SnapshotFacts
from mlxknife.domain.models.values.stored_models import ModelEntry
from mlxknife.domain.models.values.verdict import Integrity
from mlxknife.domain.names.rules import naming
from mlxknife.domain.names.services import Finder, ModelFolder
from mlxknife.ports.system.progress import Progress
from mlxknife.ports.system.runtime_inventory import RuntimeInventory

_CARD_LIMIT = 256 * 1024


@attrs.frozen
class ExaminedModel:
    """A model with the facts of its files and the information derived from them."""

    entry: ModelEntry
    facts: SnapshotFacts
    card: ModelCard
    info: ModelInfo


@attrs.frozen
class Catalog:
    """Answers ``list`` and ``show``."""

    finder: Finder
    inspector: Inspector
    inventory: RuntimeInventory
    verifier: Verifier
    allows_remote_code: bool = False
    """Whether models that need code of their repo count as runnable."""

    __repr__ = reprs.name

    def list(self, pattern: str = "") -> ModelList:
        """Return every model whose name contains the pattern, sorted by name; damaged ones carry a reason.

        Raises StorageError or AccessDenied when the cache or the workspace home cannot be listed at all.
        """
        return ModelList(map(self._examine_folder, self.finder.folders(pattern)))

    def show(self, spec: str, *, verify: bool = False, progress: Progress | None = None) -> ModelDetails:
        """Return the details of the one model that a spec names; ``verify`` hashes its files.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        found = self.examine(spec)
        entry, facts, card, info = found.entry, found.facts, found.card, found.info
        result = self._verify(entry, facts, progress) if verify else None
        return ModelDetails(
            info=_verified(info, result) if result is not None and info.integrity.healthy else info,
            metadata=capabilities.metadata(facts.json_object(filenames.CONFIG), info.traits),
            config=facts.json_object(filenames.CONFIG),
            files=tuple(
                ModelFile(file.name, file.size, filenames.kind(file.name), _integrity(file, result))
                for file in sorted(facts.files, key=lambda file: file.name)
            ),
            card=card,
            chat_template_source=capabilities.chat_template_source(facts),
            limit=result.limit if result is not None and info.integrity.healthy else None,
        )

    def examine(self, spec: str, reading_list: ReadingList = filenames.READING_LIST) -> ExaminedModel:
        """Read the one model that a spec names, with the files of a reading list. Raises what ``show`` raises."""
        entry = self.finder.find(spec)
        facts = self.inspector.facts(entry, reading_list)
        card = self._card(entry, facts)
        return ExaminedModel(entry, facts, card, self._info(entry, facts, card))

    def _examine_folder(self, folder: ModelFolder) -> ModelInfo:
        entry = self.finder.entry(folder)
        return self._info(entry, self.inspector.facts(entry))

    def _info(self, entry: ModelEntry, facts: SnapshotFacts, card: ModelCard | None = None) -> ModelInfo:
        is_path = naming.parse_spec(entry.name).is_path  # the folders above a model say nothing about it
        known_as = entry.origin or (naming.last_part(entry.name) if is_path else entry.name)
        if card is None:
            card = self._card(entry, facts) if capabilities.needs_card(known_as, facts) else ModelCard()
        traits = capabilities.detect(known_as, facts, card)
        finding = self.inspector.finding(entry, facts)
        runtime = RuntimeVerdict(compatible=False, reason=finding.reason if finding else None)
        if finding is None:
            runtime = compatibility.judge(
                traits, facts, self.inventory.installed(), allows_remote_code=self.allows_remote_code
            )
        return ModelInfo(
            name=entry.name,
            commit=entry.commit,
            size_bytes=facts.size_bytes(),
            modified=entry.modified,
            traits=traits,
            integrity=finding.integrity if finding else Integrity.STRUCTURAL,
            runtime_compatible=runtime.compatible,
            reason=runtime.reason,
            cached=entry.cached,
            origin=entry.origin,
            is_unreadable=entry.is_unreadable or (facts.problem is not None and not facts.files),
        )

    def _verify(self, entry: ModelEntry, facts: SnapshotFacts, progress: Progress | None) -> VerificationResult:
        return self.verifier.verify((verification.plan(entry, facts),), progress)[entry.name]

    def _card(self, entry: ModelEntry, facts: SnapshotFacts) -> ModelCard:
        if entry.location is None or filenames.CARD not in facts.names():
            return ModelCard()
        return model_card.parse(self.inspector.reader.text(entry.location, filenames.CARD, _CARD_LIMIT) or "")


def _verified(info: ModelInfo, result: VerificationResult) -> ModelInfo:
    """Return the information on an intact model with the integrity that hashing found."""
    if result.finding is None:
        return attrs.evolve(info, integrity=result.integrity, proof=result.proof)
    return attrs.evolve(info, integrity=result.integrity, reason=result.finding.reason, runtime_compatible=False)


def _integrity(file: FileFact, result: VerificationResult | None) -> Integrity | None:
    """Return the integrity of one file after verification; a file without a recorded hash is at most structural."""
    if result is None:
        return None
    unhashed = Integrity.STRUCTURAL if file.state is FileState.OK else Integrity.INCOMPLETE
    return result.files.get(file.name, unhashed)
