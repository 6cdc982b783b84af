"""Runnable models: the one model that a spec names, if it can generate text here."""

from __future__ import annotations

from functools import cached_property

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.compatibility.rules import remote_code
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelInfo, ModelType
from mlxknife.domain.models.values.snapshot import FileFact, Location, SnapshotFacts

_OTHER_PURPOSES = {ModelType.EMBEDDING: HintCode.EMBEDDING_MODEL, ModelType.AUDIO: HintCode.SPEECH_MODEL}


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
    info, location = found.info, found.entry.location
    if called is not None:
        info = attrs.evolve(info, name=called)
    if not info.integrity.healthy or location is None:
        msg = f"'{info.name}' cannot be run: {info.reason}"
        hint = HintCode.PULL_MISSING_FILES if info.cached else HintCode.SHOW_MODEL
        raise ModelNotRunnable(msg, hint=Hint(hint, name=info.name))
    if info.traits.model_type in _OTHER_PURPOSES:
        msg = f"'{info.name}' does not generate text"
        raise ModelNotRunnable(msg, hint=_OTHER_PURPOSES[info.traits.model_type])
    if not info.runtime_compatible:
        msg = f"'{info.name}' cannot be run: {info.reason}"
        raise ModelNotRunnable(msg)
    return RunnableModel(info, location, found.facts, remote_code.needed(found.facts, catalog.inventory.installed()))


def _is_loaded(file: FileFact) -> bool:
    return filenames.kind(file.name) not in ("readme", "other")
