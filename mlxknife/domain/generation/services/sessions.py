"""Sessions: the service that loads a model for a terminal or a Python caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from mlxknife.domain import reprs
from mlxknife.domain.catalog.services.catalog import Catalog
from mlxknife.domain.catalog.services.runnable import RunnableModel, find_runnable
from mlxknife.domain.compatibility.values import RemoteCode
from mlxknife.domain.errors import NotEnoughMemory, ValidationError
from mlxknife.domain.generation.rules import options as rules
from mlxknife.domain.generation.services.session import Session
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.hints import Hint, HintCode
from mlxknife.domain.memory import rules as memory
from mlxknife.domain.models.values.info import ModelInfo
from mlxknife.domain.text.rules import display
from mlxknife.ports.engines.processes import ModelClient, ModelClients
from mlxknife.ports.system.system import System
from mlxknife.ports.system.tool_functions import ToolFunctions


def _no_report(info: ModelInfo, code: RemoteCode) -> None:
    del info, code


@attrs.frozen
class Sessions:
    """The service behind ``run``."""

    catalog: Catalog
    clients: ModelClients
    system: System
    functions: ToolFunctions

    __repr__ = reprs.name

    def open(
        self,
        spec: str,
        *,
        profile: str | None = None,
        draft: str | None = None,
        max_kv_size: int | None = None,
        allow_remote_code: bool = False,
        on_remote_code: Callable[[ModelInfo, RemoteCode], None] = _no_report,
    ) -> Session:
        """Load the model that a spec names.

        ``profile`` is the CPU profile of a machine without GPU: ``fast`` (float32, dequantised), ``compact`` (stored
        form, with float32 scales) or ``as-is``; by default the free memory decides. ``draft`` names a smaller model of
        the same vocabulary for speculative decoding. The memory must hold the weights and the KV cache of
        ``max_kv_size`` tokens, 4,096 by default. With ``allow_remote_code`` a model that needs code of its repo runs
        it, with your rights; ``on_remote_code`` is called before.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable,
        NotEnoughMemory, EngineError, WorkerLost.
        """
        client = self.clients.start()  # it starts up while the model is looked for
        try:
            models = self._found(spec, draft, on_remote_code, allow_remote_code=allow_remote_code)
            return self._opened(client, models, profile, max_kv_size)
        except BaseException:  # also Ctrl-C
            client.close()
            raise

    def check(self, spec: str, *, allow_remote_code: bool = False) -> ModelInfo:
        """Return the model that a spec names if it can be run; its memory is checked when it is opened.

        Raises ValidationError, ModelNotFound, AmbiguousMatch, StorageError, AccessDenied, ModelNotRunnable.
        """
        return find_runnable(self._catalog(allow_remote_code=allow_remote_code), spec).info

    def _catalog(self, *, allow_remote_code: bool) -> Catalog:
        return attrs.evolve(self.catalog, allows_remote_code=allow_remote_code)

    def _found(
        self,
        spec: str,
        draft: str | None,
        on_remote_code: Callable[[ModelInfo, RemoteCode], None],
        *,
        allow_remote_code: bool,
    ) -> list[RunnableModel]:
        """Return the model, and the draft model where one is named."""
        catalog = self._catalog(allow_remote_code=allow_remote_code)
        models = [find_runnable(catalog, name) for name in (spec, draft) if name is not None]
        for model in models:
            if model.remote_code is not None:
                on_remote_code(model.info, model.remote_code)
        return models

    def _opened(
        self, client: ModelClient, models: list[RunnableModel], profile: str | None, max_kv_size: int | None
    ) -> Session:
        if profile is not None and profile not in memory.PROFILES:
            msg = f"There is no CPU profile '{profile}'"
            raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(memory.PROFILES)))
        model, draft_model = models[0], models[1] if len(models) > 1 else None
        with_code = [one for one in models if one.remote_code is not None]
        began = self.system.now()
        loaded = client.load(
            LoadRequest(
                location=model.location,
                profile=self._profile(models, profile, max_kv_size),
                memory_bytes=self.system.memory_available_bytes(),
                context_length=model.info.traits.context_length,
                defaults=rules.declared(model.generation_config),
                draft=None if draft_model is None else draft_model.location,
                runs_code=tuple(one.location for one in with_code),
            )
        )
        return Session(
            info=model.info,
            client=client,
            system=self.system,
            functions=self.functions,
            load_seconds=self.system.now() - began,
            notes=loaded.notes,
            draft=None if draft_model is None else draft_model.info,
            defaults=rules.declared(model.generation_config),
            remote_code=tuple(one.remote_code for one in with_code if one.remote_code is not None),
        )

    def _profile(self, models: Sequence[RunnableModel], asked: str | None, max_kv_size: int | None) -> str:
        """Return the CPU profile for models that are loaded together. Raises NotEnoughMemory."""
        need = sum((memory.needed(model.facts, max_kv_size) for model in models), memory.MemoryNeed(0, 0, 0))
        free = self.system.memory_available_bytes()
        least = need.least if asked is None else need.of(asked)
        if free is not None and least > free:
            names = " and ".join(f"'{model.info.name}'" for model in models)
            verb = "needs" if len(models) == 1 else "need"
            msg = f"{names} {verb} {display.size(least)} of memory, and {display.size(free)} are free"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY)
        return asked or memory.profile(need, free)
