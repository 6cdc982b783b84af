"""The texts of all requests that wait for an encoder, and the batch that it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import attrs

from mlxknife.domain.encoders.rules import batches
from mlxknife.domain.errors import KnifeError

TextT = TypeVar("TextT")
ValueT = TypeVar("ValueT")
ValueT_co = TypeVar("ValueT_co", covariant=True)


class Batch(Protocol[ValueT_co]):
    """Texts that are being computed together."""

    def advance(self) -> Sequence[ValueT_co] | None:
        """Compute a part; return a value for each text, once all is computed. Raises KnifeError."""
        ...


@attrs.frozen(eq=False)
class Row(Generic[TextT]):
    """One text of a request."""

    request_id: int
    index: int
    text: TextT
    length: int
    """Its tokens."""


@attrs.frozen
class StepResult(Generic[TextT, ValueT]):
    """What a step has completed."""

    values: Sequence[tuple[Row[TextT], ValueT]] = ()
    failures: dict[int, KnifeError] = attrs.field(factory=dict)
    """The requests that have failed."""


class BatchQueue(Generic[TextT, ValueT]):
    """Puts texts of similar length into a batch. The requests take turns, so that a short one does not wait long."""

    def __init__(self, start: Callable[[Sequence[TextT]], Batch[ValueT]], batch_rows: int) -> None:
        """Take what begins a batch, and the number of texts that one should have. ``start`` raises KnifeError."""
        self._start = start
        self._batch_rows = batch_rows
        self._waiting: dict[int, deque[Row[TextT]]] = {}
        """The rows of each request, in the order of their turns."""
        self._alone: deque[Row[TextT]] = deque()
        """The rows of a batch that failed: each gets one of its own."""
        self._rows: Sequence[Row[TextT]] = ()
        """The rows of the running batch."""
        self._batch: Batch[ValueT] | None = None
        self._cancelled = set[int]()
        """The cancelled requests with rows in the running batch."""

    @property
    def is_idle(self) -> bool:
        """Whether no text waits or is being computed."""
        return not self._waiting and not self._alone and not self._rows

    def add(self, request_id: int, texts: Sequence[TextT], lengths: Sequence[int]) -> None:
        """Add the texts of a request, and the number of tokens of each."""
        pairs = zip(texts, lengths, strict=True)
        self._waiting[request_id] = deque(
            Row(request_id, index, text, length) for index, (text, length) in enumerate(pairs)
        )

    def cancel(self, request_id: int) -> None:
        """Drop a request; an unknown or finished one is ignored."""
        self._waiting.pop(request_id, None)
        self._alone = deque(row for row in self._alone if row.request_id != request_id)
        if any(row.request_id == request_id for row in self._rows):
            self._cancelled.add(request_id)
            if all(row.request_id in self._cancelled for row in self._rows):
                self._end_batch()

    def step(self) -> StepResult[TextT, ValueT]:
        """Compute a part of a batch, and return its values at its end. A text that fails ends its own request only."""
        if not self._rows:
            self._rows = self._next_rows()
        if not self._rows:
            return StepResult()
        try:
            if self._batch is None:
                self._batch = self._start([row.text for row in self._rows])
            values = self._batch.advance()
        except KnifeError as exc:
            return self._batch_failed(exc)
        if values is None:
            return StepResult()
        pairs = zip(self._rows, values, strict=True)
        found = [pair for pair in pairs if pair[0].request_id not in self._cancelled]
        self._end_batch()
        return StepResult(found)

    def clear(self) -> None:
        """Drop all requests."""
        self._waiting.clear()
        self._alone.clear()
        self._end_batch()

    def _next_rows(self) -> Sequence[Row[TextT]]:
        """Take the rows of the next batch, and let the other requests have their turns before this one."""
        if self._alone:
            return (self._alone.popleft(),)
        window = self._window()
        rows = [window[place] for place in batches.next_batch([row.length for row in window], self._batch_rows)]
        for row in rows:
            self._waiting[row.request_id].remove(row)
        if window:
            first = window[0].request_id
            self._waiting[first] = self._waiting.pop(first)
        for request_id in {row.request_id for row in rows}:
            if not self._waiting[request_id]:
                del self._waiting[request_id]
        return rows

    def _window(self) -> list[Row[TextT]]:
        """Return the next rows in order: the first of each request, then the second of each, and so on."""
        most, found = batches.window(self._batch_rows), list[Row[TextT]]()
        queues = [iter(rows) for rows in self._waiting.values()]
        while queues and len(found) < most:
            heads = [next(rows, None) for rows in queues]
            queues = [rows for rows, head in zip(queues, heads, strict=True) if head is not None]
            found += [head for head in heads if head is not None]
        return found[:most]

    def _batch_failed(self, error: KnifeError) -> StepResult[TextT, ValueT]:
        """End the request of a text that fails alone; else each text of the batch gets one of its own."""
        rows = [row for row in self._rows if row.request_id not in self._cancelled]
        self._end_batch()
        if len(rows) == 1:
            self.cancel(rows[0].request_id)
            return StepResult(failures={rows[0].request_id: error})
        self._alone.extend(rows)
        return StepResult()

    def _end_batch(self) -> None:
        self._rows, self._batch = (), None
        self._cancelled.clear()
