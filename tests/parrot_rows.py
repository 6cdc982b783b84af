"""The parrot as rows of tokens: its prompts, its answers, its model, and the results of running rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Protocol

import attrs

from mlxknife.adapters.mlx.runtime.cpu import load_fast_blas
from mlxknife.adapters.mlx.text import tokenizer
from mlxknife.adapters.mlx.text.model import MlxTextModel
from mlxknife.adapters.mlx.text.scheduler import Scheduler
from mlxknife.adapters.mlx.text.tokenizer import FastTokenizer
from mlxknife.domain.generation.values.answer import FinishReason
from mlxknife.domain.generation.values.request import SamplingParameters
from mlxknife.domain.generation.values.rows import BatchStep, Row, RowStep
from mlxknife.ports.engines.text import Tokenizer
from tests.parrot import ANSWERS, parrot_folder
from tests.parrot.answers import CAPITAL, CODE, ECHO, GREETING, JSON, LONG, REASONING, STOP, TOOL_RESULT
from tests.parrot.tokens import END, build_tokenizer

_LIBRARY_TOKENIZER = build_tokenizer()
END_TOKEN = int(_LIBRARY_TOKENIZER.encode(END).ids[0])
NAN_TOKEN = _LIBRARY_TOKENIZER.get_vocab()["\u00ff"]
"""The byte 0xFF, which no text has: after it a model with ``gives_nan`` gives NaN logits."""
VOCABULARY_SIZE = 264
GREEDY = SamplingParameters(temperature=0.0)


def tokens(text: str) -> tuple[int, ...]:
    return tuple(_LIBRARY_TOKENIZER.encode(text).ids)


def prompt_for(question: str) -> tuple[int, ...]:
    """Return a question, or the result of a tool, as the chat template renders it."""
    content = f"<tool_response>\n{question}\n</tool_response>" if question == TOOL_RESULT else question
    return tokens(f"<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n")


def answer_to(question: str) -> tuple[int, ...]:
    """Return the answer to a question, with the token that ends the turn."""
    return (*tokens(ANSWERS[question]), END_TOKEN)


def next_prompt(question: str, following: str) -> tuple[int, ...]:
    """Return the prompt of the second turn of a chat."""
    return prompt_for(question) + answer_to(question) + tokens("\n") + prompt_for(following)


@cache
def parrot_tokenizer() -> Tokenizer:
    return FastTokenizer(build_tokenizer())


@cache
def parrot_model() -> Any:  # noqa: ANN401 - a module of mlx-lm
    """Return the model of mlx-lm, loaded once."""
    load_fast_blas()
    from mlx_lm.utils import load_model  # noqa: PLC0415 - MLX comes after the BLAS

    return load_model(parrot_folder())[0]


@attrs.define
class WrappedModel:
    """A model with other KV caches, with NaN logits, or with an error at a call."""

    model: Any
    layer: Callable[[], Any] | None = None
    """Makes the cache of a layer."""
    gives_nan: bool = False
    failure: Exception | None = None
    """Raised once, at the next call."""
    sizes: list[int] = attrs.field(factory=list)
    """The number of tokens in each call, padding included."""

    @property
    def layers(self) -> Any:  # noqa: ANN401
        return self.model.layers

    def make_cache(self) -> list[Any]:
        from mlx_lm.models.cache import KVCache  # noqa: PLC0415 - MLX comes after the BLAS

        return [(self.layer or KVCache)() for _ in self.model.layers]

    def __call__(self, inputs: Any, cache: Any = None) -> Any:  # noqa: ANN401
        import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS

        self.sizes.append(inputs.size)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        logits = self.model(inputs, cache=cache)
        if not self.gives_nan:
            return logits
        return mx.where((inputs == NAN_TOKEN)[..., None], mx.array(mx.nan), logits)


def random_text_model(seed: int) -> MlxTextModel:
    """Return a model of the parrot's shape with random weights, behind the port."""
    load_fast_blas()
    import mlx.core as mx  # noqa: PLC0415 - MLX comes after the BLAS
    from mlx_lm.models.llama import Model, ModelArgs  # noqa: PLC0415

    from tests.parrot.network import CONFIG  # noqa: PLC0415

    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(CONFIG))  # type: ignore[no-untyped-call] # mlx-lm gives it no types
    scheduler = Scheduler(model, {END_TOKEN}, prefix_bytes=0, prefill_chunk=64)
    return MlxTextModel(scheduler, tokenizer.load(parrot_folder()), None, ())


def mixed_rows() -> list[Row]:
    """Return eight rows with different options, numbered from 0."""
    random = SamplingParameters(temperature=1.5, seed=7)
    narrow = SamplingParameters(temperature=2.0, top_p=0.9, top_k=20, min_p=0.01, seed=3)
    rows = (
        Row(0, prompt_for(CAPITAL), 500),
        Row(1, prompt_for(GREETING), 40, random),
        Row(2, prompt_for(LONG), 60, SamplingParameters(frequency_penalty=1.5)),
        Row(3, prompt_for(REASONING), 50, SamplingParameters(presence_penalty=2.0)),
        Row(4, prompt_for(STOP), 30, SamplingParameters(logit_bias=((101, 50.0), (3, -100.0)))),
        Row(5, prompt_for(JSON), 500, top_logprobs=3),
        Row(6, prompt_for(CODE), 70, narrow),
        Row(7, prompt_for(ECHO), 90, SamplingParameters(repetition_penalty=1.3)),
    )
    return list(rows)


class RowModel(Protocol):
    """What a text model and its scheduler have in common."""

    @property
    def is_idle(self) -> bool: ...

    def add_row(self, row: Row) -> None: ...

    def step(self) -> BatchStep: ...


@attrs.define
class RowOutputs:
    """The output of rows so far. It checks that a row has one token in a step, and none after its end."""

    steps: dict[int, list[RowStep]] = attrs.field(factory=dict)
    errors: dict[int, str] = attrs.field(factory=dict)

    def add(self, batch: BatchStep) -> BatchStep:
        assert len({step.row for step in batch.steps}) == len(batch.steps)
        for step in batch.steps:
            assert step.row not in self.errors
            assert self.finish_reason(step.row) is None
            self.steps.setdefault(step.row, []).append(step)
        for error in batch.errors:
            assert error.row not in self.errors
            self.errors[error.row] = error.error.message
        return batch

    def tokens(self, row: int) -> tuple[int, ...]:
        return tuple(step.token for step in self.steps.get(row, ()))

    def finish_reason(self, row: int) -> FinishReason | None:
        steps = self.steps.get(row)
        return steps[-1].finish_reason if steps else None

    def cached(self, row: int) -> int:
        (count,) = {step.cached for step in self.steps[row]}
        return count

    def step_until_idle(self, model: RowModel) -> None:
        while not model.is_idle:
            self.add(model.step())

    def step_until_any_token(self, model: RowModel) -> None:
        while not self.steps:
            self.add(model.step())


def run_rows(model: RowModel, rows: Iterable[Row] = ()) -> RowOutputs:
    """Add rows, and step until the model is idle."""
    outputs = RowOutputs()
    for row in rows:
        model.add_row(row)
    outputs.step_until_idle(model)
    return outputs
