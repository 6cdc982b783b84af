"""Servable models: which models a client may name, and the one that a name means."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import RunnableModel, can_run, engine_kind, find_servable
from mlxknife.domain.embedding.rules import memory as embedding_memory
from mlxknife.domain.engines.values import EngineKind
from mlxknife.domain.errors import AmbiguousMatch, KnifeError, ModelNotFound, StorageError, ValidationError
from mlxknife.domain.generation.rules import options
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.hints import HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.names.rules import naming
from mlxknife.ports.system.system import System

_MAX_AGE = 5.0
"""The seconds for which a look at the disk is valid."""


@attrs.frozen
class ServableModel:
    """A model that can be loaded for clients."""

    runnable: RunnableModel
    max_tokens: int | None = None
    """The longest answer where a request sets no limit."""

    @property
    def info(self) -> ModelInfo:
        """The description of the model."""
        return self.runnable.info

    @property
    def name(self) -> str:
        """The name for clients."""
        return self.runnable.info.name

    @property
    def key(self) -> str:
        """The identity of its content."""
        return self.runnable.key

    @property
    def kind(self) -> EngineKind:
        """The kind of engine that it needs."""
        return engine_kind(self.info) or EngineKind.TEXT

    @cached_property
    def need(self) -> memory.MemoryNeed:
        """The memory that it needs."""
        return memory.needed(self.runnable.facts)

    def is_replaced_by(self, other: ServableModel) -> bool:
        """Whether the other model is in the same place with new content."""
        return self.runnable.location == other.runnable.location and self.key != other.key

    def size(self, free: int | None, profile: str | None, *, has_gpu: bool) -> tuple[str, int]:
        """Return the CPU profile that fits best into ``free`` bytes, and the memory that it takes with it.

        ``profile`` is the one that the user set. Only language models have one: encoders compute in float32.
        """
        if self.kind is not EngineKind.TEXT:
            return "fast", embedding_memory.needed(self.runnable.facts)
        chosen = profile or memory.profile(self.need, free)
        return chosen, memory.taken(self.need, free, chosen, has_gpu=has_gpu)

    def load_request(self, profile: str, memory_bytes: int | None) -> LoadRequest:
        """Return what a model process needs to load it."""
        return LoadRequest(
            location=self.runnable.location,
            profile=profile,
            memory_bytes=memory_bytes,
            context_length=self.info.traits.context_length,
            defaults=options.declared(self.runnable.generation_config),
            max_tokens=self.max_tokens,
            runs_code=() if self.runnable.remote_code is None else (self.runnable.location,),
            kind=self.kind,
        )


@attrs.frozen
class _Pinned:
    """A model that the server was started with."""

    spec: str
    """How it is found again."""
    name: str
    """Its name for clients."""


@attrs.define
class ServableModels:
    """Finds models for a server. Every method but ``known`` reads the disk; call those in a thread."""

    catalog: Catalog
    """What clients may name: it resolves no paths."""
    pinned_catalog: Catalog
    """What the command line of the server may name."""
    system: System
    max_tokens: int | None = None
    """The longest answer where a request sets no limit."""
    _listed: tuple[float, tuple[ModelInfo, ...]] | None = None
    _found: dict[str, tuple[float, ServableModel]] = attrs.field(factory=dict)
    _pinned: dict[str, _Pinned] = attrs.field(factory=dict)
    """The models that the server was started with, by the spec and by the name of each."""

    __repr__ = reprs.name

    def models(self, unloadable: Collection[tuple[str, str]] = ()) -> tuple[ModelInfo, ...]:
        """Return the models that can run, as they were a few seconds ago at most. Raises StorageError, AccessDenied.

        ``unloadable`` has the names and keys of models that the runtime has refused. Only these are looked for again.
        """
        now = self.system.ticks()
        if self._listed is None or now - self._listed[0] > _MAX_AGE:
            pinned = (info for one in set(self._pinned.values()) if (info := self._pinned_info(one)) is not None)
            named = {info.name: info for info in (*self.catalog.list(), *pinned) if can_run(info)}
            self._listed = now, tuple(named[name] for name in sorted(named, key=lambda name: (name.casefold(), name)))
        refused = {name for name, key in unloadable if self._has_key(name, key)}
        listed = self._listed[1]
        return tuple(info for info in listed if info.name not in refused) if refused else listed

    def pin(self, spec: str) -> ServableModel:
        """Find a model for the command line of the server; from now on clients may name it even if it is at a path.

        Raises what ``find`` raises.
        """
        found = find_servable(self.pinned_catalog, spec)
        name = again = found.info.name
        parsed = naming.parse_spec(spec)
        if parsed.revision is not None:
            again = f"{name}@{parsed.revision}"
        elif parsed.is_path or naming.parse_spec(name).is_path:
            again = spec
        if naming.parse_spec(name).is_path:
            name = naming.quoted_name(naming.last_part(name))
        model = self._servable(attrs.evolve(found, info=attrs.evolve(found.info, name=name)))
        if name in self._pinned and self.find(name).key != model.key:
            msg = f"Two models would have the name '{name}'"
            raise ValidationError(msg, hint=HintCode.RENAME_FOLDER)
        pinned = _Pinned(again, name)
        self._pinned |= {spec: pinned, name: pinned}
        self._found |= dict.fromkeys((spec, name), (self.system.ticks(), model))
        self._listed = None
        return model

    def known(self, spec: str) -> ServableModel | None:
        """Return what ``find`` found a few seconds ago at most, or None. It does not block."""
        found_at, model = self._found.get(spec, (0.0, None))
        return model if model is not None and self.system.ticks() - found_at <= _MAX_AGE else None

    def find(self, spec: str) -> ServableModel:
        """Return the one model that a name means, as it was a few seconds ago at most.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        known = self.known(spec)
        if known is not None:
            return known
        now = self.system.ticks()
        entries = list(self._found.items())  # in one step: other threads add to it
        self._found = {name: value for name, value in entries if now - value[0] <= _MAX_AGE}
        try:
            pinned = self._pinned.get(spec)
            model = self._servable(find_servable(self.catalog, spec)) if pinned is None else self._find_pinned(pinned)
        except ValidationError as exc:
            exc.param = exc.param or "model"
            raise
        self._forget_replaced(model)
        self._found[spec] = now, model
        return model

    def _has_key(self, name: str, key: str) -> bool:
        try:
            return self.find(name).key == key
        except KnifeError:  # it has changed since it was loaded
            return False

    def _servable(self, model: RunnableModel) -> ServableModel:
        return ServableModel(model, self.max_tokens)

    def _forget_replaced(self, model: ServableModel) -> None:
        """Forget what was in the same place before, under any name."""
        entries = list(self._found.items())
        self._found = {name: (seen, one) for name, (seen, one) in entries if not one.is_replaced_by(model)}

    def _find_pinned(self, pinned: _Pinned) -> ServableModel:
        """Find a model that the server was started with. Raises what ``find`` raises, without its path."""
        try:
            return self._servable(find_servable(self.pinned_catalog, pinned.spec, pinned.name))
        except (ModelNotFound, AmbiguousMatch) as exc:
            msg = f"The model '{pinned.name}' is gone"
            raise ModelNotFound(msg) from exc
        except StorageError as exc:
            msg = f"The model '{pinned.name}' cannot be read"
            raise type(exc)(msg) from exc

    def _pinned_info(self, pinned: _Pinned) -> ModelInfo | None:
        """Return the description of a pinned model, or None if it cannot be run now."""
        try:
            return self._find_pinned(pinned).info
        except KnifeError:
            return None
