"""Runnable models: the one model that a spec names, if it can be run here for what it is asked."""

from __future__ import annotations

from functools import cached_property

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog, ExaminedModel
from mlxknife.domain.compatibility.rules import remote_code
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelInfo, ModelType
from mlxknife.domain.models.values.snapshot import FileFact, Location, SnapshotFacts

_KINDS = {ModelType.EMBEDDING: EngineKind.EMBEDDING, ModelType.RERANKER: EngineKind.RERANKING, ModelType.AUDIO: None}
"""The kinds of engines for models that do not generate text; there is none for speech."""
_OTHER_KINDS = {
    EngineKind.TEXT: "does not generate text",
    EngineKind.EMBEDDING: "makes no embeddings",
    EngineKind.RERANKING: "does not rank documents",
}
"""What a model of another kind does not do."""


@attrs.frozen
class RunnableModel:
    """A model that can be run, and where it is."""

    info: ModelInfo
    location: Location
    facts: SnapshotFacts
    remote_code: RemoteCode | None = None
    """The code of its repo that runs when it is loaded, as the user allows."""

    @cached_property
    def key(self) -> str:
        """The identity of the model's content.

        A snapshot of the cache never changes. The files of a workspace may, so their stats are part of its key.
        """
        if self.info.cached:
            return self.location.token
        files = frozenset(
            (file.name, file.size, file.identity, file.changed) for file in self.facts.files if _is_loaded(file)
        )
        return f"{self.location.token}#{hash(files):x}"

    @property
    def generation_config(self) -> dict[str, object]:
        """The content of generation_config.json."""
        return dict(self.facts.json_object(filenames.GENERATION_CONFIG))


def engine_kind(info: ModelInfo) -> EngineKind | None:
    """Return the kind of engine that a model needs; None for a speech model."""
    return _KINDS.get(info.traits.model_type, EngineKind.TEXT)


def can_run(info: ModelInfo) -> bool:
    """Whether a model is intact, has an engine, and is supported here."""
    return info.integrity.healthy and info.runtime_compatible and engine_kind(info) is not None


def check_kind(info: ModelInfo, kind: EngineKind) -> None:
    """Raise ModelNotRunnable for a model that needs an engine of another kind; the hint says what it is for."""
    if engine_kind(info) is not kind:
        msg = f"'{info.name}' {_OTHER_KINDS[kind]}"
        raise ModelNotRunnable(msg, hint=_purpose(info))


def find_runnable(catalog: Catalog, spec: str, kind: EngineKind = EngineKind.TEXT) -> RunnableModel:
    """Return the one model that a spec names, if an engine of a kind runs it; loading it shows whether it fits.

    Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
    """
    found = catalog.examine(spec, filenames.RUN_LIST)
    if found.info.integrity.healthy:
        check_kind(found.info, kind)
    return _runnable(catalog, found, found.info)


def find_servable(catalog: Catalog, spec: str, called: str | None = None) -> RunnableModel:
    """Return the one model that a spec names, if an engine of any kind runs it.

    ``called`` replaces its name, which may be a path that clients must not see. Raises what ``find_runnable`` raises.
    """
    found = catalog.examine(spec, filenames.RUN_LIST)
    info = found.info if called is None else attrs.evolve(found.info, name=called)
    if info.integrity.healthy and engine_kind(info) is None:
        check_kind(info, EngineKind.TEXT)
    return _runnable(catalog, found, info)


def _purpose(info: ModelInfo) -> Hint:
    """Return what a model is for."""
    match info.traits.model_type:
        case ModelType.AUDIO:
            return Hint(HintCode.SPEECH_MODEL)
        case ModelType.EMBEDDING:
            return Hint(HintCode.EMBEDDING_MODEL, name=info.name)
        case ModelType.RERANKER:
            return Hint(HintCode.RERANKING_MODEL, name=info.name)
        case _:
            return Hint(HintCode.TEXT_MODEL, name=info.name)


def _runnable(catalog: Catalog, found: ExaminedModel, info: ModelInfo) -> RunnableModel:
    location = found.entry.location
    if not info.integrity.healthy or location is None:
        msg = f"'{info.name}' cannot be run: {info.reason}"
        hint = HintCode.PULL_MISSING_FILES if info.cached else HintCode.SHOW_MODEL
        raise ModelNotRunnable(msg, hint=Hint(hint, name=info.name))
    if not info.runtime_compatible:
        msg = f"'{info.name}' cannot be run: {info.reason}"
        raise ModelNotRunnable(msg)
    return RunnableModel(info, location, found.facts, remote_code.needed(found.facts, catalog.inventory.installed()))


def _is_loaded(file: FileFact) -> bool:
    return filenames.kind(file.name) not in ("readme", "other")
