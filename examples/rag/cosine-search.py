#!/usr/bin/env python3
"""Find the nearest records of a JSONL file: ``mlxk embed MODEL - | cosine-search.py RECORDS.jsonl - --top-k 5``.

Records and queries are lines of ``mlxk embed``. Each query gives its hits, best first, as lines of JSON with ``score``;
with ``--text``, only their texts, for a model to read. A query of another model, revision or dimensions is refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, NoReturn, TypeAlias

import numpy as np

MOST = 1000
Record: TypeAlias = dict[str, Any]
Floats: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.float32]]"


def main() -> None:
    """Read the records and the queries, and print the hits of each query."""
    parser = argparse.ArgumentParser(description="Find the nearest records of a JSONL file of mlxk embed.")
    parser.add_argument("records", metavar="RECORDS.jsonl", help="the lines of mlxk embed that are searched")
    parser.add_argument("queries", metavar="QUERIES", nargs="?", default="-", help="lines of mlxk embed; - is stdin")
    parser.add_argument("--top-k", type=int, default=5, metavar="N", help="the hits of each query (default: 5)")
    parser.add_argument("--text", action="store_true", help="print the texts only, with a blank line between them")
    options = parser.parse_args()
    if not 1 <= options.top_k <= MOST:
        parser.error(f"--top-k must be between 1 and {MOST}")
    try:
        records = read(options.records)
        queries = read(options.queries)
        spaces = {space(record) for record in [*records, *queries]}
        if len(spaces) > 1:
            names = " and ".join(sorted(f"{model}@{revision} ({size})" for model, revision, size in spaces))
            fail(f"vectors of different models cannot be compared: {names}")
        matrix = unit([record["embedding"] for record in records])
        for query in unit([query["embedding"] for query in queries]):
            print_hits(records, matrix @ query, options)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            sys.exit(141)
        fail(str(error))


def print_hits(records: list[Record], scores: Floats, options: argparse.Namespace) -> None:
    """Print the records with the best scores."""
    for place in np.argsort(-scores, kind="stable")[: options.top_k]:
        record = records[place]
        line = {"score": round(float(scores[place]), 6), "text": record["text"], "metadata": record["metadata"]}
        sys.stdout.write(f"{record['text']}\n\n" if options.text else f"{json.dumps(line)}\n")
    sys.stdout.flush()


def read(name: str) -> list[Record]:
    """Return the records of a file; ``-`` is stdin."""
    with sys.stdin if name == "-" else open(name, encoding="utf-8") as lines:
        records = [record(name, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not records:
        fail(f"{name} holds no embeddings")
    return records


def record(name: str, number: int, line: str) -> Record:
    """Return the record in a line of a file."""
    try:
        found: Record = json.loads(line)
        is_record = isinstance(found["text"], str) and isinstance(found["metadata"]["model"], str)
        is_record &= np.array(found["embedding"], np.float32).ndim == 1
    except (ValueError, TypeError, KeyError):
        is_record = False
    if not is_record:
        fail(f"line {number} of {name} is not a record of mlxk embed")
    return found


def space(record: Record) -> tuple[str, str | None, int]:
    """Return what two vectors must have in common to be compared."""
    metadata = record["metadata"]
    return metadata["model"], metadata.get("revision"), len(record["embedding"])


def unit(vectors: list[list[float]]) -> Floats:
    """Return vectors as rows of length 1."""
    matrix = np.array(vectors, np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def fail(message: str) -> NoReturn:
    """End with a message."""
    sys.stderr.write(f"cosine-search: {message}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
