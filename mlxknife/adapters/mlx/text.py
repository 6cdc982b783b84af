"""Language models through mlx-lm: loaded once, answering one request at a time."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx import cache_shapes, cpu
from mlxknife.adapters.mlx.decoding import decoded
from mlxknife.adapters.mlx.prompt_cache import PromptCache
from mlxknife.adapters.mlx.turns import Turn
from mlxknife.domain.errors import EngineError, ValidationError
from mlxknife.domain.model.generation import FinishReason, Step, TokenRequest
from mlxknife.domain.model.snapshot import Location

_ENDS_OF_TURN = frozenset(
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <end_of_turn> <|end_of_text|> <|endoftext|> <|return|> <|call|> "
    "<|eot|> <|turn_end|> <|END_OF_TURN_TOKEN|> <\uff5cend\u2581of\u2581sentence\uff5c> </s> <turn|>".split()
)
"""Tokens that end a turn in some family; one counts where the chat template of the model uses it as a token."""


class MlxEngine:
    """Loads models with mlx-lm."""

    def load(self, location: Location, profile: str, *, draft: Location | None = None) -> MlxTextModel:
        """See ``Engine.load``."""
        blas = cpu.load_fast_blas()
        with _our_errors("loaded"):
            import mlx.core as mx  # noqa: PLC0415 - takes a second with what comes along

            has_gpu = mx.default_device().type == mx.DeviceType.gpu
            place, guessing = Path(location.token), None if draft is None else Path(draft.token)
            tokenizer = _tokenizer(place)
            if guessing is not None and _tokenizer(guessing).get_vocab() != tokenizer.get_vocab():
                msg = "draft_model has other tokens than the model"
                raise ValidationError(msg, hint="Take a smaller model of the same family")
            models = [_model(path, None if has_gpu else profile) for path in (place, guessing) if path is not None]
            if guessing is not None:
                cache_shapes.check_guessing(*models)
        notes = (f"no GPU: CPU profile '{profile}'", f"BLAS: {blas or 'the one of MLX, which is slow'}")
        return MlxTextModel(models, tokenizer, () if has_gpu else notes)


class MlxTextModel:
    """A model of mlx-lm and its tokenizer, and maybe a draft model."""

    def __init__(self, models: list[Any], tokenizer: Any, notes: tuple[str, ...]) -> None:  # noqa: ANN401 - mlx-lm's
        """Take what mlx-lm loaded, the model that answers first."""
        self._models = models
        self._tokenizer = tokenizer
        self._notes = notes
        self._turn = Turn()
        self._memory = PromptCache(models)

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``TextModel.notes``."""
        return self._notes

    @property
    def chat_template(self) -> str | None:
        """See ``TextModel.chat_template``."""
        template = self._tokenizer.chat_template
        if isinstance(template, Mapping):
            template = template.get("default")
        return template if isinstance(template, str) else None

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """See ``TextModel.special_tokens``."""
        named = self._tokenizer.special_tokens_map
        return {name: str(token) for name, token in named.items() if isinstance(name, str) and isinstance(token, str)}

    @property
    def vocabulary(self) -> Collection[str]:
        """See ``TextModel.vocabulary``."""
        return self._tokenizer.get_vocab().keys()  # type: ignore[no-any-return] # transformers' own

    def tokens(self, text: str, *, is_rendered: bool) -> tuple[int, ...]:
        """See ``TextModel.tokens``."""
        clean = text.encode("utf-8", "replace").decode()  # half a character is no text to a tokenizer
        return tuple(self._tokenizer.encode(clean, add_special_tokens=not is_rendered, verbose=False))

    def generate(self, request: TokenRequest) -> Generator[Step]:
        """See ``TextModel.generate``."""
        with self._turn.taken(), _our_errors("run"):
            models = self._models
            if not models:
                msg = "The model is closed"
                raise EngineError(msg, hint="Open it again")
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
        ends = self._ends_of_turn()
        detokenizer = self._tokenizer.detokenizer
        detokenizer.reset()
        with closing(decoding) as tokens:
            for token in tokens:
                made.append(token)
                if token in ends:
                    detokenizer.finalize()
                    yield Step(detokenizer.last_segment, FinishReason.STOP, cached)
                    return
                detokenizer.add_token(token)
                if len(made) == request.max_tokens:
                    shown = detokenizer.last_segment
                    detokenizer.finalize()
                    yield Step(shown + detokenizer.last_segment, FinishReason.LENGTH, cached)
                    return
                yield Step(detokenizer.last_segment, cached=cached)

    def _ends_of_turn(self) -> frozenset[int]:
        """Return every token that ends a turn: those that the model declares, and those that its template uses so."""
        template = self.chat_template or ""
        vocabulary = self._tokenizer.get_vocab()
        used = (vocabulary[text] for text in _ENDS_OF_TURN if text in vocabulary and text in template)
        return frozenset((*self._tokenizer.eos_token_ids, *used))


def _tokenizer(path: Path) -> Any:  # noqa: ANN401 - mlx-lm's own
    from mlx_lm.utils import load_config, load_tokenizer  # noqa: PLC0415 - takes a second with what comes along

    ends = load_config(path).get("eos_token_id")
    return load_tokenizer(path, eos_token_ids=ends)  # type: ignore[no-untyped-call]


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


@contextmanager
def _our_errors(done: str) -> Iterator[None]:
    """Turn what MLX and mlx-lm raise into an error of the contract."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, ImportError, OSError, SystemExit) as exc:
        reason = "mlx-lm gave up" if isinstance(exc, SystemExit) else exc
        msg = f"The model could not be {done}: {reason}"
        raise EngineError(
            msg, hint="--debug shows where; mlxk health --verify tells whether its files are right"
        ) from exc
