"""Answering many requests with one model at a time, a token for each in a step."""

from __future__ import annotations

from typing import Protocol

from mlxknife.domain.generation.values.rows import BatchStep, Row


class Batches(Protocol):
    """A loaded model whose answers are rows of one batch. It belongs to one thread.

    What a row says does not depend on its company: the same request with the same seed, or without chance, gives the
    same tokens alone, among others, and whenever it comes.
    """

    @property
    def can_batch(self) -> bool:
        """Whether rows are computed together; where not, each waits until the one before has ended. Raises nothing."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether no row runs or waits, so that a step would bring nothing. Raises nothing."""
        ...

    def admit(self, row: Row) -> None:
        """Take a row in, at any time; it begins at the next step, or waits in order of arrival for a place.

        Raises ValidationError, naming the field, for tokens that the model does not have and for an id that is in use;
        EngineError when it is closed. Nothing has changed then.
        """
        ...

    def cancel(self, row_id: int) -> None:
        """Drop a row: nothing more is told of it, and its place is free at the next step.

        A row that is unknown, or has ended, is no mistake. Raises nothing.
        """
        ...

    def step(self) -> BatchStep:
        """Give every row that has read its prompt its next token, and read a bounded piece of the other prompts.

        However long a prompt is, no other row waits for more than one piece of it. What a prompt begins with as an
        earlier row did, its answer included, need not be computed again. A row that fails is told among ``errors``,
        once, and the others go on; where the runtime itself fails, every row that had begun is told so, and those that
        wait begin at the next step.

        Raises EngineError when it is closed, and nothing else.
        """
        ...

    def close(self) -> None:
        """Drop all rows and free the memory. Closing it twice is no mistake. Raises nothing."""
        ...
