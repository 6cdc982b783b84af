"""Language models through mlx-lm: loaded once, answering one request at a time."""

from __future__ import annotations

import threading
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlxknife.adapters.mlx import cpu
from mlxknife.domain.errors import EngineError
from mlxknife.domain.model.generation import FinishReason, Sampling, Step, TokenRequest
from mlxknife.domain.model.snapshot import Location

_ENDS_OF_TURN = frozenset(
    "<|im_end|> <|eot_id|> <|eom_id|> <|end|> <end_of_turn> <|end_of_text|> <|endoftext|> <|return|> <|call|> "
    "<|eot|> <|turn_end|> <|END_OF_TURN_TOKEN|> <\uff5cend\u2581of\u2581sentence\uff5c> </s> <turn|>".split()
)
"""Tokens that end a turn in some family; one counts where the chat template of the model uses it as a token."""
_PENALTY_REACH = 20


class MlxEngine:
    """Loads models with mlx-lm."""

    def load(self, location: Location, profile: str) -> MlxTextModel:
        """See ``Engine.load``."""
        blas = cpu.load_fast_blas()
        with _our_errors("loaded"):
            import mlx.core as mx  # noqa: PLC0415 - takes a second with what comes along
            from mlx_lm.utils import load_model, load_tokenizer  # noqa: PLC0415

            has_gpu = mx.default_device().type == mx.DeviceType.gpu
            path = Path(location.token)
            model, config = load_model(path, lazy=not has_gpu)
            tokenizer = load_tokenizer(path, eos_token_ids=config.get("eos_token_id"))  # type: ignore[no-untyped-call]
            notes = []
            if not has_gpu:
                notes = [f"no GPU: CPU profile '{profile}'", f"BLAS: {blas or 'the one of MLX, which is slow'}"]
                if profile != "as-is":
                    cpu.widen(model, unpack=profile == "fast")
                mx.eval(model.parameters())
        return MlxTextModel(model, tokenizer, tuple(notes))


class MlxTextModel:
    """A model of mlx-lm and its tokenizer. One answer at a time: a second thread waits for its turn."""

    def __init__(self, model: Any, tokenizer: Any, notes: tuple[str, ...]) -> None:  # noqa: ANN401 - mlx-lm's own
        """Take what mlx-lm loaded."""
        self._model = model
        self._tokenizer = tokenizer
        self._notes = notes
        self._turn = _Turn()
        self._cache: list[Any] = []
        self._cached: tuple[int, ...] = ()
        """The tokens that the cache holds."""
        self._shape: object = None

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
        return tuple(self._tokenizer.encode(clean, add_special_tokens=not is_rendered))

    def generate(self, request: TokenRequest) -> Generator[Step]:
        """See ``TextModel.generate``."""
        with self._turn.taken(), _our_errors("run"):
            ends = self._ends_of_turn()
            detokenizer = self._tokenizer.detokenizer
            detokenizer.reset()
            made: list[int] = []
            tokens = self._token_by_token(request, made)
            try:
                for token in tokens:
                    if token in ends:
                        detokenizer.finalize()
                        yield Step(detokenizer.last_segment, FinishReason.STOP)
                        return
                    detokenizer.add_token(token)
                    if len(made) == request.max_tokens:
                        shown = detokenizer.last_segment
                        detokenizer.finalize()
                        yield Step(shown + detokenizer.last_segment, FinishReason.LENGTH)
                        return
                    yield Step(detokenizer.last_segment)
            finally:
                tokens.close()
                self._cached = self._fed((*request.tokens, *made))

    def close(self) -> None:
        """See ``TextModel.close``."""
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now

        self._model, self._cache, self._cached = None, [], ()
        mx.clear_cache()

    def _token_by_token(self, request: TokenRequest, made: list[int]) -> Generator[int]:
        import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
        from mlx_lm.generate import generate_step, generation_stream, wired_limit  # noqa: PLC0415

        start = self._reused(request)
        if request.sampling.seed is not None:
            mx.random.seed(request.sampling.seed)
        steps = generate_step(
            mx.array(request.tokens[start:]),
            self._model,
            max_tokens=request.max_tokens,
            sampler=self._sampler(request.sampling),
            logits_processors=_penalties(request.sampling, request.tokens[:start]),
            prompt_cache=self._cache,
            kv_bits=request.cache.bits,
            kv_group_size=request.cache.group_size,
            quantized_kv_start=request.cache.quantized_from,
        )
        with wired_limit(self._model, [generation_stream]):  # type: ignore[list-item] # as mlx-lm does itself
            for token, _ in steps:
                made.append(int(token))
                yield made[-1]

    def _sampler(self, sampling: Sampling) -> Any:  # noqa: ANN401 - mlx-lm's own type
        from mlx_lm.sample_utils import make_sampler  # noqa: PLC0415 - it is loaded by now

        top_k = sampling.top_k or 0
        return make_sampler(
            temp=0.0 if sampling.top_p == 0 else sampling.temperature or 0.0,
            top_p=sampling.top_p or 0.0,
            min_p=sampling.min_p or 0.0,
            top_k=top_k if top_k < len(self.vocabulary) else 0,
        )

    def _reused(self, request: TokenRequest) -> int:
        """Make the cache hold only what the request begins with; return how many tokens that are."""
        from mlx_lm.models.cache import (  # noqa: PLC0415 - it is loaded by now
            can_trim_prompt_cache,
            make_prompt_cache,
            trim_prompt_cache,
        )

        shared = _common(self._cached, request.tokens[:-1])
        if self._shape == request.cache and shared and self._cache:
            surplus = len(self._cached) - shared
            if not surplus:
                return shared
            if can_trim_prompt_cache(self._cache):
                trim_prompt_cache(self._cache, surplus)
                return shared
        self._shape = request.cache
        self._cache = make_prompt_cache(self._model, max_kv_size=request.cache.window)
        return 0

    def _fed(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tokens that went into the cache; nothing where it does not count them."""
        count = getattr(self._cache[0], "offset", None) if self._cache else None
        return tokens[:count] if isinstance(count, int) and count <= len(tokens) else ()

    def _ends_of_turn(self) -> frozenset[int]:
        """Return every token that ends a turn: those that the model declares, and those that its template uses so."""
        template = self.chat_template or ""
        vocabulary = self._tokenizer.get_vocab()
        used = (vocabulary[text] for text in _ENDS_OF_TURN if text in vocabulary and text in template)
        return frozenset((*self._tokenizer.eos_token_ids, *used))


class _Turn:
    """Whose turn it is: others wait, but whoever still has one open is told so instead of waiting for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the turn. Raises EngineError where the same thread has it."""
        if not self._lock.acquire(blocking=False):
            if self._owner == threading.get_ident():
                msg = "An answer of this model is still open in this thread"
                raise EngineError(msg, hint="Read it to its end, or close it")
            self._lock.acquire()
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            self._lock.release()


def _penalties(sampling: Sampling, before: Sequence[int]) -> list[Any]:
    """Return what weakens repetition; it also looks at the tokens that were computed in an earlier turn."""
    if sampling.repetition_penalty in (None, 1.0):
        return []
    import mlx.core as mx  # noqa: PLC0415 - it is loaded by now
    from mlx_lm.sample_utils import make_repetition_penalty  # noqa: PLC0415

    penalty = make_repetition_penalty(sampling.repetition_penalty, _PENALTY_REACH)
    earlier = mx.array(list(before[-_PENALTY_REACH:]), dtype=mx.int32)
    return [lambda tokens, logits: penalty(mx.concatenate([earlier, tokens.astype(mx.int32)]), logits)]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    longest = min(len(one), len(other))
    return next((place for place in range(longest) if one[place] != other[place]), longest)


@contextmanager
def _our_errors(done: str) -> Iterator[None]:
    """Turn what MLX and mlx-lm raise into an error of the contract."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, ImportError, OSError) as exc:
        msg = f"The model could not be {done}: {exc}"
        raise EngineError(
            msg, hint="--debug shows where; mlxk health --verify tells whether its files are right"
        ) from exc
