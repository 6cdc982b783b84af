"""Language models through mlx-lm: loading one, and the loaded model behind the port."""

from __future__ import annotations

import inspect
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx.runtime import cpu
from mlxknife.adapters.mlx.runtime.failures import library_errors, muted_transformers
from mlxknife.adapters.mlx.runtime.imports import import_mlx
from mlxknife.adapters.mlx.text import chat_format, kv_cache, tokenizer
from mlxknife.adapters.mlx.text.grammars import Grammars
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import BatchStep, Row
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.ports.engines.text import Tokenizer

_UNKNOWN_MEMORY = 8 * 1024**3
"""The memory to plan with where the machine does not report it."""
_KV_SHARE = 2
"""The KV caches of running rows may take this part of the memory beside the weights,"""
_PREFIX_SHARE = 8
_MAX_PREFIX_BYTES = 4 * 1024**3
"""the prefix cache this part, but no more bytes than this,"""
_FREED_SHARE = 32
_MIN_FREED_BYTES = 256 * 1024 * 1024
"""and the buffers that MLX keeps for reuse this part, but no fewer bytes than this."""


class MlxTextLoader:
    """Loads models with mlx-lm."""

    @staticmethod
    def prepare() -> None:
        """Import what takes longest, before the model is known. MLX itself waits for the threads of the BLAS."""
        os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # it advises to install PyTorch
        from transformers import AutoTokenizer  # noqa: F401, PLC0415 - takes seconds

    def load(self, request: LoadRequest) -> MlxTextModel:
        """See ``TextModelLoader.load``."""
        cpu.limit_threads(request.location.token)
        blas = cpu.load_fast_blas()
        path = Path(request.location.token)
        import_mlx()
        with library_errors("The model could not be loaded"):
            import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now

            has_gpu = mx.default_device().type == mx.DeviceType.gpu
            profile = None if has_gpu else request.profile
            with muted_transformers():
                loaded = tokenizer.load(path, runs_code=request.location in request.runs_code)
                if request.draft is not None:
                    _check_draft(request.draft, loaded, runs_code=request.draft in request.runs_code)
                model = _model(request.location, profile, request.runs_code)
                draft = None if request.draft is None else _model(request.draft, profile, request.runs_code)
            if draft is not None:
                kv_cache.check_speculative(model, draft)
            template = chat_format.chat_template(path)
            declared = tokenizer.declared_ends(path, loaded)
            ends = chat_format.ends_of_turn(loaded.get_vocab(), template or "", declared)
            memory = _UNKNOWN_MEMORY if request.memory_bytes is None else request.memory_bytes
            left = max(0, memory - mx.get_active_memory())
            mx.set_cache_limit(max(_MIN_FREED_BYTES, left // _FREED_SHARE))
            scheduler = Scheduler(
                model,
                ends,
                draft=draft,
                prefix_bytes=min(left // _PREFIX_SHARE, _MAX_PREFIX_BYTES),
                kv_bytes=left // _KV_SHARE,
            )
            notes = () if has_gpu else (f"no GPU: CPU profile '{profile}'", f"BLAS: {blas or 'of MLX, which is slow'}")
            return MlxTextModel(scheduler, loaded, template, notes, tool_parser=chat_format.tool_parser(path))


class MlxTextModel:
    """A model of mlx-lm with its tokenizer."""

    def __init__(
        self,
        scheduler: Scheduler,
        loaded: Any,  # noqa: ANN401 - transformers' own type
        template: str | None,
        notes: tuple[str, ...],
        *,
        tool_parser: object = None,
    ) -> None:
        """Take the scheduler of a model, the tokenizer as it was loaded, the chat template, notes, and a declaration.

        Raises EngineError for a tokenizer that cannot be used.
        """
        self._scheduler = scheduler
        self._tokenizer = tokenizer.wrapped(loaded, template or "")
        is_supported = isinstance(self._tokenizer, tokenizer.FastTokenizer) and self._tokenizer.has_spelling
        size = scheduler.vocabulary_size
        self._grammars = Grammars(self._tokenizer, scheduler.stop_tokens, size, is_supported=is_supported)
        self._template = template
        self._tool_parser = tool_parser
        self._notes = notes
        named = loaded.special_tokens_map.items()
        self._special = {name: token for name, token in named if isinstance(name, str) and isinstance(token, str)}

    @property
    def tokenizer(self) -> Tokenizer:
        """See ``TextModel.tokenizer``."""
        return self._tokenizer

    @property
    def chat_template(self) -> str | None:
        """See ``TextModel.chat_template``."""
        return self._template

    @property
    def tool_parser(self) -> object:
        """See ``TextModel.tool_parser``."""
        return self._tool_parser

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """See ``TextModel.special_tokens``."""
        return self._special

    @property
    def vocabulary_size(self) -> int:
        """See ``TextModel.vocabulary_size``."""
        return self._scheduler.vocabulary_size

    @property
    def can_batch(self) -> bool:
        """Whether rows run in a batch; where not, each waits until the one before has ended."""
        return self._scheduler.can_batch

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``TextModel.notes``."""
        return self._notes

    @property
    def is_idle(self) -> bool:
        """See ``TextModel.is_idle``."""
        return self._scheduler.is_idle

    def compile_grammar(self, grammar: str, *, keep: bool = True) -> None:
        """See ``TextModel.compile_grammar``."""
        self._grammars.compile(grammar, keep=keep)

    def add_row(self, row: Row) -> None:
        """See ``TextModel.add_row``."""
        self._scheduler.add_row(row, None if row.grammar is None else self._grammars.matcher(row.grammar))

    def cancel_row(self, row_id: int) -> None:
        """See ``TextModel.cancel_row``."""
        self._scheduler.cancel_row(row_id)

    def step(self) -> BatchStep:
        """See ``TextModel.step``."""
        return self._scheduler.step()

    def close(self) -> None:
        """See ``TextModel.close``."""
        self._scheduler.close()


def _check_draft(draft: Location, loaded: Any, *, runs_code: bool) -> None:  # noqa: ANN401
    """Raise ValidationError for a draft model with another vocabulary."""
    if tokenizer.load(Path(draft.token), runs_code=runs_code).get_vocab() != loaded.get_vocab():
        msg = "draft_model has another vocabulary than the model"
        raise ValidationError(msg, hint=HintCode.SMALLER_DRAFT)


def _model(location: Location, profile: str | None, with_code: Collection[Location]) -> Any:  # noqa: ANN401
    """Return a module of MLX; ``profile`` is the CPU profile, or None on a GPU.

    Code of its repo runs only for a location in ``with_code``. Raises EngineError where it may not run.
    """
    import mlx.core as mx  # noqa: PLC0415 - MLX is loaded by now
    from mlx_lm.utils import load_config, load_model  # noqa: PLC0415

    path, options = Path(location.token), dict[str, Any]()
    if load_config(path).get("model_file") is not None:
        if location not in with_code:  # releases of mlx-lm before 0.32 would run it unasked
            msg = "The model needs code of its repo, which is not allowed to run"
            raise EngineError(msg)
        if "trust_remote_code" in inspect.signature(load_model).parameters:
            options["trust_remote_code"] = True
    model, _ = load_model(path, lazy=profile is not None, **options)
    if profile is not None:
        if profile != "as-is":
            cpu.widen(model, dequantize=profile == "fast")
        mx.eval(model.parameters())
    return model
