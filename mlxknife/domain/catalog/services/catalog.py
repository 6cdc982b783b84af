"""The catalog: every model that is there, and everything about one of them."""

from __future__ import annotations

import attrs

from mlxknife.domain.catalog.rules import capabilities, model_card
from mlxknife.domain.compatibility.rules import compatibility
from mlxknife.domain.integrity.services.inspector import Inspector
from mlxknife.domain.integrity.services.verifier import Proof, Verifier, case
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.entries import Entry
from mlxknife.domain.models.values.info import Card, ModelDetails, ModelFile, ModelInfo
from mlxknife.domain.models.values.snapshot import FileFact, FileState, ReadingList, SnapshotFacts
from mlxknife.domain.models.values.verdict import Integrity, RuntimeVerdict
from mlxknife.domain.names.services import Finder, Place
from mlxknife.ports.system.progress import Progress
from mlxknife.ports.system.runtime_inventory import RuntimeInventory

_CARD_LIMIT = 256 * 1024


@attrs.frozen
class Examined:
    """A model, what is in its folder, and what that makes of it."""

    entry: Entry
    facts: SnapshotFacts
    card: Card
    info: ModelInfo


@attrs.frozen
class Catalog:
    """Answers ``list`` and ``show``."""

    finder: Finder
    inspector: Inspector
    inventory: RuntimeInventory
    verifier: Verifier

    def list(self, pattern: str = "") -> tuple[ModelInfo, ...]:
        """Return every model whose name contains the pattern, damaged ones with their reason, sorted by name.

        Raises StorageError or AccessDenied when the cache or the workspace home cannot be listed at all.
        """
        return tuple(map(self._look, self.finder.places(pattern)))

    def show(self, spec: str, *, verify: bool = False, progress: Progress | None = None) -> ModelDetails:
        """Return everything about the one model that a spec means; ``verify`` hashes its files.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied.
        """
        found = self.examine(spec)
        entry, facts, card, info = found.entry, found.facts, found.card, found.info
        proof = self._proof(entry, facts, progress) if verify else None
        return ModelDetails(
            info=_proven(info, proof) if proof is not None and info.integrity.healthy else info,
            metadata=capabilities.metadata(facts.json_object(filenames.CONFIG), info.traits),
            config=facts.json_object(filenames.CONFIG),
            files=tuple(
                ModelFile(file.name, file.size, filenames.kind(file.name), _integrity(file, proof))
                for file in sorted(facts.files, key=lambda file: file.name)
            ),
            card=card,
            chat_template_source=capabilities.chat_template_source(facts),
            left_open=proof.left_open if proof is not None and info.integrity.healthy else None,
        )

    def examine(self, spec: str, wanted: ReadingList = filenames.READING_LIST) -> Examined:
        """Look at the one model that a spec means, for whoever wants to use it. Raises what ``show`` raises."""
        entry = self.finder.find(spec)
        facts = self.inspector.facts(entry, wanted)
        card = self._card(entry, facts)
        return Examined(entry, facts, card, self._info(entry, facts, card))

    def _look(self, place: Place) -> ModelInfo:
        entry = self.finder.entry(place)
        return self._info(entry, self.inspector.facts(entry))

    def _info(self, entry: Entry, facts: SnapshotFacts, card: Card | None = None) -> ModelInfo:
        known_as = entry.origin or entry.name
        if card is None:
            card = self._card(entry, facts) if capabilities.needs_card(known_as, facts) else Card()
        traits = capabilities.detect(known_as, facts, card)
        finding = self.inspector.finding(entry, facts)
        runtime = RuntimeVerdict(compatible=False, reason=finding.reason if finding else None)
        if finding is None:
            runtime = compatibility.judge(traits, facts, self.inventory.installed())
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
        )

    def _proof(self, entry: Entry, facts: SnapshotFacts, progress: Progress | None) -> Proof:
        return self.verifier.prove((case(entry, facts),), progress)[entry.name]

    def _card(self, entry: Entry, facts: SnapshotFacts) -> Card:
        if entry.location is None or filenames.CARD not in facts.names():
            return Card()
        return model_card.parse(self.inspector.reader.text(entry.location, filenames.CARD, _CARD_LIMIT) or "")


def _proven(info: ModelInfo, proof: Proof) -> ModelInfo:
    """Return a structurally healthy model as its hashes show it."""
    if proof.finding is None:
        return attrs.evolve(info, integrity=proof.integrity)
    return attrs.evolve(info, integrity=proof.integrity, reason=proof.finding.reason, runtime_compatible=False)


def _integrity(file: FileFact, proof: Proof | None) -> Integrity | None:
    """Return what a proof tells of one file; one without a recorded hash is there, and that is all."""
    if proof is None:
        return None
    unhashed = Integrity.STRUCTURAL if file.state is FileState.OK else Integrity.INCOMPLETE
    return proof.files.get(file.name, unhashed)
