"""Language models through mlx-lm: loaded once, answering one request at a time."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx.runtime import cpu
from mlxknife.adapters.mlx.runtime.failures import hushed, our_errors
from mlxknife.adapters.mlx.text import kv_cache
from mlxknife.adapters.mlx.text import tokenizer as vocabulary
from mlxknife.adapters.mlx.text.decoding import decoded
from mlxknife.adapters.mlx.text.joining import Joining
from mlxknife.adapters.mlx.text.prompt_cache import PromptCache
from mlxknife.adapters.mlx.text.scheduler import MlxBatches
from mlxknife.adapters.mlx.text.turns import Turn
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.generation.values.generation import FinishReason, Step, TokenRequest
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location


class MlxEngine:
    """Loads models with mlx-lm."""

    def load(self, location: Location, profile: str, *, draft: Location | None = None) -> MlxTextModel:
        """See ``Engine.load``."""
        blas = cpu.load_fast_blas()
        with our_errors("loaded"):
            import mlx.core as mx  # noqa: PLC0415 - takes a second with what comes along
            import mlx_lm.utils  # noqa: F401, PLC0415 - before anything is hushed

            has_gpu = mx.default_device().type == mx.DeviceType.gpu
            notes = (f"no GPU: CPU profile '{profile}'", f"BLAS: {blas or 'the one of MLX, which is slow'}")
            place, guessing = Path(location.token), None if draft is None else Path(draft.token)
            with hushed():
                tokenizer = vocabulary.tokenizer(place)
                if guessing is not None and vocabulary.tokenizer(guessing).get_vocab() != tokenizer.get_vocab():
                    msg = "draft_model has other tokens than the model"
                    raise ValidationError(msg, hint=HintCode.SMALLER_DRAFT)
                models = [_model(path, None if has_gpu else profile) for path in (place, guessing) if path is not None]
            if guessing is not None:
                kv_cache.check_guessing(*models)
            template = vocabulary.chat_template(place, tokenizer.chat_template)
            return MlxTextModel(models, tokenizer, template, () if has_gpu else notes)


class MlxTextModel:
    """A model of mlx-lm and its tokenizer, and maybe a draft model."""

    def __init__(self, models: list[Any], tokenizer: Any, template: str | None, notes: tuple[str, ...]) -> None:  # noqa: ANN401
        """Take what mlx-lm loaded, the model that answers first; a tokenizer that is broken shows it here."""
        self._models = models
        self._tokenizer = tokenizer
        self._template = template
        self._notes = notes
        named = tokenizer.special_tokens_map.items()
        self._special = {name: token for name, token in named if isinstance(name, str) and isinstance(token, str)}
        self._vocabulary: Mapping[str, int] = tokenizer.get_vocab()
        self._ends = vocabulary.ends_of_turn(self._vocabulary, template or "", tokenizer.eos_token_ids)
        self._turn = Turn()
        self._memory = PromptCache(models)

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``TextModel.notes``."""
        return self._notes

    @property
    def chat_template(self) -> str | None:
        """See ``TextModel.chat_template``."""
        return self._template

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """See ``TextModel.special_tokens``."""
        return self._special

    @property
    def vocabulary(self) -> Collection[str]:
        """See ``TextModel.vocabulary``."""
        return self._vocabulary.keys()

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        """See ``TextModel.tokens``. Raises EngineError where the tokenizer breaks down."""
        clean = text.encode("utf-8", "replace").decode()  # half a character is no text to a tokenizer
        with our_errors("run"), hushed():
            return tuple(self._tokenizer.encode(clean, add_special_tokens=not is_rendered, verbose=False))

    def written_tokenizer(self) -> str:
        """Return the tokenizer as the library of that name writes it down. Raises EngineError."""
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            msg = "The tokenizer of this model cannot be served yet: it is not of the library 'tokenizers'"
            raise EngineError(msg, hint=HintCode.USE_RUN)
        with our_errors("loaded"):
            return str(backend.to_str())

    def batches(self, budget: int, room: int) -> MlxBatches:
        """Return the same model for many answers at a time; ``budget`` and ``room`` are as ``MlxBatches`` has them."""
        return MlxBatches(self._models[0], self._ends, budget=budget, room=room)

    def generate(self, request: TokenRequest) -> Generator[Step]:
        """See ``TextModel.generate``."""
        with self._turn.taken(), our_errors("run"):
            models = self._models
            if not models:
                msg = "The model is closed"
                raise EngineError(msg, hint=HintCode.REOPEN_MODEL)
            if not request.tokens:
                msg = "prompt is empty"
                raise ValidationError(msg, hint=HintCode.NONEMPTY_PROMPT)
            memory, made = self._memory, list[int]()
            start = memory.prepare(request.tokens, request.cache)
            try:
                yield from self._steps(decoded(models, memory.layers, request, start), request, start, made)
            except GeneratorExit:  # whoever listened has enough: what was said until now is known
                memory.keep((*request.tokens, *made))
                raise
            memory.keep((*request.tokens, *made))

    def close(self) -> None:
        """See ``TextModel.close``."""
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        self._models, self._memory = [], PromptCache([])
        mx.clear_cache()

    def _steps(self, decoding: Generator[int], request: TokenRequest, cached: int, made: list[int]) -> Generator[Step]:
        """Yield tokens as text, and note each in ``made``."""
        joining = Joining(self._tokenizer)
        with closing(decoding) as tokens:
            for token in tokens:
                made.append(token)
                if token in self._ends:
                    yield Step(joining.rest(), FinishReason.STOP, cached)
                    return
                text = joining.feed(token)
                if len(made) == request.max_tokens:
                    yield Step(text + joining.rest(), FinishReason.LENGTH, cached)
                    return
                yield Step(text, cached=cached)


def _model(path: Path, profile: str | None) -> Any:  # noqa: ANN401 - a module of MLX
    """Return a model; the profile is for a machine without GPU."""
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.utils import load_model  # noqa: PLC0415

    model, _ = load_model(path, lazy=profile is not None)
    if profile is not None:
        if profile != "as-is":
            cpu.widen(model, unpack=profile == "fast")
        mx.eval(model.parameters())
    return model
