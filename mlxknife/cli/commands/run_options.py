"""The options of ``mlxk run`` as one value."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import attrs

from mlxknife.cli.answer_form import AnswerForm, answer_form
from mlxknife.domain.generation.services.tool_loop import MAX_ROUNDS
from mlxknife.domain.generation.values.request import GenerationOptions, KVCacheOptions, SamplingParameters


def _words(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


def _groups(values: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in values)


@attrs.frozen
class RunOptions:
    """The model, the prompt, and the generation options."""

    model: str
    prompt: tuple[str, ...] = attrs.field(default=(), converter=_words)
    prompt_text: str | None = None
    """The text of ``--prompt``."""
    chat: bool = False
    system: str | None = None
    files: tuple[str, ...] = attrs.field(default=(), converter=_words)
    context: str | None = None
    """An index, whose passages go before the question."""
    out: str | None = None
    separator: str = "\n\n"
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[tuple[str, ...], ...] = attrs.field(default=(), converter=_groups)
    """The values of each ``--stop``."""
    stream: bool = True
    plain: bool = False
    history: bool = True
    loop_guard: bool = True
    pull: bool | None = None
    """Whether to pull a model that is not here; None asks on a terminal."""
    no_chat_template: bool = False
    reasoning: str = "auto"
    schema: str | None = None
    """A JSON schema, or the name of its file."""
    json_object: bool = False
    regex: str | None = None
    choice: tuple[str, ...] = attrs.field(default=(), converter=_words)
    """The answers to choose from: one for each ``--choice``, or those between the commas of a single one."""
    tools: str | None = None
    """A Python file with functions for the model."""
    tool_choice: str = "auto"
    max_tool_rounds: int = MAX_ROUNDS
    yes: bool = False
    """Whether the model may call every tool without a question."""
    kv_bits: int | None = None
    kv_group_size: int = 64
    quantized_kv_start: int = 0
    max_kv_size: int | None = None
    draft_model: str | None = None
    cpu_profile: str | None = None
    allow_remote_code: bool = False
    verbose: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the prompt; ``-`` among them is stdin."""
        return self.prompt if self.prompt_text is None else (*self.prompt, self.prompt_text)

    def form(self) -> AnswerForm | None:
        """Return the form of the answer that an option demands. Raises what ``answer_form`` raises."""
        choices = tuple(self.choice[0].split(",")) if len(self.choice) == 1 else self.choice
        return answer_form(self.schema, json_object=self.json_object, regex=self.regex, choice=choices or None)

    def generation(self, form: AnswerForm | None = None) -> GenerationOptions:
        """Return the generation options, with the form of the answer."""
        return GenerationOptions(
            sampling=SamplingParameters(
                self.temperature, self.top_p, self.top_k, self.min_p, self.repetition_penalty, self.seed
            ),
            kv_cache=KVCacheOptions(self.kv_bits, self.kv_group_size, self.quantized_kv_start, self.max_kv_size),
            max_tokens=self.max_tokens,
            stop=tuple(chain.from_iterable(self.stop)),
            has_loop_guard=self.loop_guard,
            constraint=None if form is None else form.constraint,
        )
