"""Running a language model inside its process: its tokenizer, and the steps that decode many rows together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.rows import BatchStep, Row


class Detokenizer(Protocol):
    """Turns the tokens of one answer into text."""

    def feed(self, token: int) -> str:
        """Return the text that is certain with one token more, never half a character. Raises EngineError."""
        ...

    def finish(self) -> str:
        """Return the text that is certain now that the answer has ended; half a character is dropped.

        Raises EngineError.
        """
        ...


class Tokenizer(Protocol):
    """The tokenizer of one model. Several threads may use it."""

    @property
    def vocabulary(self) -> Collection[str]:
        """The names of all tokens. Raises nothing."""
        ...

    @property
    def added_tokens(self) -> Mapping[str, int]:
        """The names and ids of the tokens that are found in a text as a whole, and are not merged. Raises nothing.

        Special tokens and markup such as ``<tool_call>`` are added tokens.
        """
        ...

    def mark_control_tokens(self, text: str, mark: str, *, is_answer: bool) -> str:
        """Return a text with a mark, a character, inside each name of a control token; most texts have none.

        Control tokens are the special tokens, and the markup that the chat template uses, such as ``<tool_call>``.
        Models write such markup into their answers, so ``is_answer`` leaves it as it is.

        Raises ValidationError for a text with too many names.
        """
        ...

    def encode(self, text: str, *, add_special_tokens: bool, mark: str = "") -> tuple[int, ...]:
        """Return the tokens of a text; a rendered chat template has its special tokens already.

        ``mark`` is the character that ``mark_control_tokens`` has put into parts of the text: the names that it breaks
        become text, and it does not become a token. Raises EngineError.
        """
        ...

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token, which may be part of a character. Raises nothing."""
        ...

    def detokenizer(self, after: Sequence[int] = ()) -> Detokenizer:
        """Begin an answer; one that continues ``after`` other tokens keeps the space between them. Raises nothing."""
        ...


class TextModel(Protocol):
    """A loaded language model. Rows may be added at any time and decode together. It belongs to one thread.

    The tokens of a row do not depend on the other rows: a request with a seed, or with greedy sampling, gets the same
    tokens alone, in a batch, and whenever it arrives. The tokens of a row with a grammar match it, and the turn ends
    only where the grammar is complete.
    """

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises nothing."""
        ...

    @property
    def chat_template(self) -> str | None:
        """The source of the model's chat template. Raises nothing."""
        ...

    @property
    def tool_parser(self) -> object:
        """What the repo of the model declares as the name of its tool parser; None if nothing. Raises nothing."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, str]:
        """The variables of the chat template, such as ``bos_token``. Raises nothing."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens that the model can read; its tokenizer may name fewer. Raises nothing."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Decisions made while loading, one sentence each. Raises nothing."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether no row runs or waits. Raises nothing."""
        ...

    def compile_grammar(self, grammar: str, *, keep: bool = True) -> None:
        """Prepare a grammar for rows that have it, from any thread. It takes up to two seconds, and no step waits.

        Without ``keep`` it is only tried. Raises GrammarRefused for a grammar that cannot be compiled, or not within
        the limits; UnsupportedCapability for a tokenizer whose tokens no grammar can match.
        """
        ...

    def add_row(self, row: Row) -> None:
        """Add a row; it starts at the next step, or waits in order of arrival.

        Raises ValidationError, naming the field, for a token outside the vocabulary, an id in use, and KV cache options
        that this model does not support, or what ``compile_grammar`` raises; EngineError if the model is closed.
        Nothing has changed then.
        """
        ...

    def cancel_row(self, row_id: int) -> None:
        """Drop a row; its place is free at the next step. An unknown or finished row is ignored. Raises nothing."""
        ...

    def step(self) -> BatchStep:
        """Decode one token of every row that has prefilled its prompt, and prefill one chunk of the other prompts.

        No row waits for more than one chunk of another prompt. A prefix that an earlier row has computed, its answer
        included, is reused. A row that fails appears once among ``errors`` and the others go on; if the runtime fails,
        every running row fails and the waiting rows start at the next step.

        Raises EngineError if the model is closed, and nothing else.
        """
        ...

    def close(self) -> None:
        """Drop all rows and free the memory. Closing twice is allowed. Raises nothing."""
        ...


class TextModelLoader(Protocol):
    """Loads language models."""

    def load(self, request: LoadRequest) -> TextModel:
        """Load a model whose files are intact.

        Raises ValidationError for a draft model that does not fit the model; EngineError if the runtime cannot load it.
        """
        ...
