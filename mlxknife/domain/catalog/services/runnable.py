"""Models that can be run: the one that a spec means, if it can."""

from __future__ import annotations

from functools import cached_property

import attrs

from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.info import ModelInfo, ModelType
from mlxknife.domain.models.values.snapshot import FileFact, Location, SnapshotFacts

_OTHER_WORK = {ModelType.EMBEDDING: HintCode.EMBEDDING_MODEL, ModelType.AUDIO: HintCode.SPEECH_MODEL}


@attrs.frozen
class Runnable:
    """A model that can be run, and where it is."""

    info: ModelInfo
    location: Location
    facts: SnapshotFacts

    @cached_property
    def key(self) -> str:
        """What tells it from every other model and revision, and from what else was in its folder before.

        A snapshot of the cache has a folder of its own; in a workspace anything may be replaced.
        """
        if self.info.cached:
            return self.location.token
        files = frozenset(
            (file.name, file.size, file.identity, file.changed) for file in self.facts.files if _is_read(file)
        )
        return f"{self.location.token}#{hash(files):x}"

    @property
    def generation_config(self) -> dict[str, object]:
        """What the model itself asks for."""
        return dict(self.facts.json_object(filenames.GENERATION_CONFIG))


def can_run(info: ModelInfo) -> bool:
    """Whether a model is whole, of a kind that says something, and known to what is installed."""
    return info.integrity.healthy and info.runtime_compatible and info.traits.model_type not in _OTHER_WORK


def runnable(catalog: Catalog, spec: str, called: str | None = None) -> Runnable:
    """Return the one model that a spec means, if it can be run; whether it fits is seen when it is loaded.

    ``called`` is its name for whoever must not hear its own, which may be a path.

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
    if info.traits.model_type in _OTHER_WORK:
        msg = f"'{info.name}' does not generate text"
        raise ModelNotRunnable(msg, hint=_OTHER_WORK[info.traits.model_type])
    if not info.runtime_compatible:
        msg = f"'{info.name}' cannot be run: {info.reason}"
        raise ModelNotRunnable(msg)
    return Runnable(info, location, found.facts)


def _is_read(file: FileFact) -> bool:
    return filenames.kind(file.name) not in ("readme", "other")
