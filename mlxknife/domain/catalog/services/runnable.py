"""Runnable models: the one model that a spec names, if it can be run here for what it is asked."""

from __future__ import annotations

from functools import cached_property

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog, ExaminedModel
from mlxknife.domain.compatibility.rules import remote_code
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelInfo, ModelType
from mlxknife.domain.models.values.snapshot import FileFact, Location, SnapshotFacts

_OTHER_PURPOSES = (ModelType.EMBEDDING, ModelType.AUDIO)


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


def can_run(info: ModelInfo) -> bool:
    """Whether a model is intact, generates text, and is supported by the installed packages."""
    return info.integrity.healthy and info.runtime_compatible and info.traits.model_type not in _OTHER_PURPOSES


def find_runnable(catalog: Catalog, spec: str, called: str | None = None) -> RunnableModel:
    """Return the one model that a spec names, if it can be run; whether it fits shows when it is loaded.

    ``called`` replaces its name, which may be a path that clients must not see.

    Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
    """
    found = catalog.examine(spec, filenames.RUN_LIST)
    info = found.info if called is None else attrs.evolve(found.info, name=called)
    if info.integrity.healthy and info.traits.model_type in _OTHER_PURPOSES:
        msg = f"'{info.name}' does not generate text"
        raise ModelNotRunnable(msg, hint=_purpose(info))
    return _runnable(catalog, found, info)


def find_embedder(catalog: Catalog, spec: str) -> RunnableModel:
    """Return the one model that a spec names, if it can make embeddings here. Raises what ``find_runnable`` raises."""
    found = catalog.examine(spec, filenames.RUN_LIST)
    info = found.info
    if info.integrity.healthy and info.traits.model_type is not ModelType.EMBEDDING:
        msg = f"'{info.name}' makes no embeddings"
        raise ModelNotRunnable(msg, hint=_purpose(info))
    return _runnable(catalog, found, info)


def _purpose(info: ModelInfo) -> Hint:
    """Return what a model is for."""
    match info.traits.model_type:
        case ModelType.AUDIO:
            return Hint(HintCode.SPEECH_MODEL)
        case ModelType.EMBEDDING:
            return Hint(HintCode.EMBEDDING_MODEL, name=info.name)
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
