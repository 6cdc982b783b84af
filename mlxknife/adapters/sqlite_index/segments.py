"""Segments: the vectors of many chunks in one blob, so that a search reads few long blobs.

A segment holds each vector as 8-bit codes with a scale, and the length of the error that the codes make. A search of
the codes gives each cosine within that error. Only the chunks that may be among the best are compared with their exact
vectors, so the result is that of a search of all exact vectors, for a quarter of the bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import TypeAlias, TypeVar

import attrs
import numpy as np
import numpy.typing as npt

from mlxknife.adapters.sqlite_index.failures import Damaged

CAPACITY = 512
_LEVELS = 127
_ROUNDING = 1e-5
"""What float32 may change of a cosine."""
_MOST_PARAMETERS = 500

Floats: TypeAlias = npt.NDArray[np.float32]
Keys: TypeAlias = npt.NDArray[np.int64]
Number = TypeVar("Number", np.float32, np.int64, np.int8)


@attrs.frozen(eq=False)
class Segment:
    """Some vectors with the keys of their chunks."""

    keys: Keys
    codes: npt.NDArray[np.int8]
    scales: Floats
    """For each vector the scale of its codes, and the length of their error."""

    @property
    def count(self) -> int:
        """The number of vectors."""
        return len(self.keys)

    def part(self, chosen: npt.NDArray[np.bool_] | slice) -> Segment:
        """Return some of the vectors."""
        return Segment(self.keys[chosen], self.codes[chosen], self.scales[chosen])

    def joined(self, other: Segment) -> Segment:
        """Return the vectors of both."""
        return Segment(
            np.concatenate((self.keys, other.keys)),
            np.concatenate((self.codes, other.codes)),
            np.concatenate((self.scales, other.scales)),
        )

    def cosines(self, query: Floats) -> tuple[Floats, Floats]:
        """Return the cosine of each vector with a query of length 1, and how far it may be off."""
        dots = np.vecdot(self.codes.astype(np.float32), query)  # a product of matrices would start threads for each
        return dots * self.scales[:, 0], self.scales[:, 1]


def encoded(keys: Sequence[int], vectors: Floats) -> Segment:
    """Return vectors as a segment."""
    largest = np.abs(vectors).max(axis=1, initial=0.0, keepdims=True)
    scale = (np.where(largest > 0, largest, 1) / _LEVELS).astype(np.float32)
    codes = np.rint(vectors / scale).astype(np.int8)
    error = np.linalg.norm(vectors - codes * scale, axis=1, keepdims=True)
    return Segment(np.array(keys, np.int64), codes, np.hstack([scale, error]).astype(np.float32))


@attrs.frozen
class Segments:
    """The segments of an index, whose vectors have so many dimensions. Raises sqlite3.Error and Damaged."""

    connection: sqlite3.Connection
    dimensions: int

    def add(self, segment: Segment) -> None:
        """Add vectors: to the last segment as far as it has space, then to new ones."""
        last = self.connection.execute("SELECT max(id) FROM segments").fetchone()[0] or 0
        end = self._read(last) if last else None
        if end is not None and end.count < CAPACITY:
            space = CAPACITY - end.count
            self._write(last, end.joined(segment.part(slice(space))))
            segment = segment.part(slice(space, None))
        while segment.count:
            last += 1
            self._write(last, segment.part(slice(CAPACITY)))
            segment = segment.part(slice(CAPACITY, None))

    def remove(self, keys: Sequence[int]) -> None:
        """Remove the vectors of chunks, whose rows are still there. A segment that gets small is dissolved."""
        rests = list[Segment]()
        removed = np.array(keys, np.int64)
        for place in self._of(keys):
            segment = self._read(place)
            rest = segment.part(~np.isin(segment.keys, removed))
            if rest.count < CAPACITY // 2:
                self.connection.execute("DELETE FROM segments WHERE id = ?", (place,))
                rests.append(rest)
            else:
                self._write(place, rest)
        for rest in rests:
            self.add(rest)

    def nearest(self, query: Floats, count: int) -> list[tuple[int, float]]:
        """Return the keys of the nearest vectors with their exact cosines, best first."""
        with np.errstate(all="ignore"):  # what is not finite is an error below
            exact = list(self._exact(self._near(query, count), query))
        return sorted(exact, key=lambda pair: (-pair[1], pair[0]))[:count]

    def _near(self, query: Floats, count: int) -> list[int]:
        """Return the keys of the vectors that may be among the nearest, by the codes of all."""
        keys, cosines, errors = list[Keys](), list[Floats](), list[Floats]()
        for segment in self._all():
            found, error = segment.cosines(query)
            keys.append(segment.keys)
            cosines.append(_finite(found))
            errors.append(_finite(error))
        if not keys:
            return []
        return _candidates(np.concatenate(keys), np.concatenate(cosines), np.concatenate(errors), count)

    def _exact(self, keys: Sequence[int], query: Floats) -> Iterator[tuple[int, float]]:
        for start in range(0, len(keys), _MOST_PARAMETERS):
            part = keys[start : start + _MOST_PARAMETERS]
            rows = self.connection.execute(
                f"SELECT chunk, vector FROM vectors WHERE chunk IN ({','.join('?' * len(part))})",  # noqa: S608
                part,
            ).fetchall()
            if len(rows) < len(part) or not all(isinstance(vector, bytes) for _, vector in rows):
                msg = "a vector is missing"
                raise Damaged(msg)
            matrix = rows_of(b"".join(vector for _, vector in rows), np.float32, self.dimensions, len(rows))
            yield from zip((key for key, _ in rows), _finite(matrix @ query).tolist(), strict=True)

    def _of(self, keys: Sequence[int]) -> list[int]:
        found = set[int]()
        for start in range(0, len(keys), _MOST_PARAMETERS):
            part = keys[start : start + _MOST_PARAMETERS]
            marks = ",".join("?" * len(part))
            rows = self.connection.execute(f"SELECT DISTINCT segment FROM chunks WHERE id IN ({marks})", part)  # noqa: S608
            found.update(place for (place,) in rows)
        if not all(isinstance(place, int) for place in found):
            msg = "a chunk names no segment"
            raise Damaged(msg)
        return sorted(found)

    def _all(self) -> Iterator[Segment]:
        for keys, codes, scales in self.connection.execute("SELECT keys, codes, scales FROM segments"):
            yield self._segment(keys, codes, scales)

    def _read(self, place: int) -> Segment:
        row = self.connection.execute("SELECT keys, codes, scales FROM segments WHERE id = ?", (place,)).fetchone()
        if row is None:
            msg = "a segment is missing"
            raise Damaged(msg)
        return self._segment(*row)

    def _segment(self, keys: object, codes: object, scales: object) -> Segment:
        numbers = rows_of(keys, np.int64, 1)
        count = len(numbers)
        return Segment(
            numbers[:, 0],
            rows_of(codes, np.int8, self.dimensions, count),
            rows_of(scales, np.float32, 2, count),
        )

    def _write(self, place: int, segment: Segment) -> None:
        blobs = (segment.keys.tobytes(), segment.codes.tobytes(), segment.scales.tobytes())
        self.connection.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?)", (place, *blobs))
        self.connection.executemany(
            "UPDATE chunks SET segment = ? WHERE id = ? AND segment != ?",
            [(place, key, place) for key in segment.keys.tolist()],
        )


def _candidates(keys: Keys, cosines: Floats, errors: Floats, count: int) -> list[int]:
    """Return the keys of the vectors that may be among the nearest."""
    margins = errors + np.float32(_ROUNDING)
    if len(keys) > count:
        lowest = np.partition(cosines - margins, len(keys) - count)[len(keys) - count]
        keys = keys[cosines + margins >= lowest]
    found: list[int] = keys.tolist()
    return found


def _finite(values: Floats) -> Floats:
    """Return the values. Raises Damaged if one is NaN or infinite: no embedding that is stored makes such a cosine."""
    if not np.isfinite(values).all():
        msg = "a vector has values that are not finite"
        raise Damaged(msg)
    return values


def rows_of(blob: object, kind: type[Number], columns: int, rows: int | None = None) -> npt.NDArray[Number]:
    """Return a blob as rows of numbers. Raises Damaged if it has another length."""
    size = columns * np.dtype(kind).itemsize
    if not isinstance(blob, bytes) or len(blob) % size or (rows is not None and len(blob) != rows * size):
        msg = "a blob has a wrong length"
        raise Damaged(msg)
    return np.frombuffer(blob, kind).reshape(-1, columns)
