#!/usr/bin/env python3
"""Combine the embeddings of several models: ``mlx-tee "mlxk embed A -" "mlxk embed B -" | combine-embeddings.py``.

Each text gets one vector: those of its models one after the other, each with the same weight. The cosine of two
combined vectors is the mean of the cosines of the models. The lines may come with the headers of mlx-tee, or from
``mlx-tee --jsonl``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, TypeAlias

Record: TypeAlias = dict[str, Any]

HEADER = "==> "


def main() -> None:
    """Read the records of all models, and print one for each text."""
    texts: dict[tuple[int, str], dict[str, Record]] = {}
    for record in records(sys.stdin):
        place = (record["metadata"]["index"], record["text"])
        texts.setdefault(place, {})[record["metadata"]["model"]] = record
    models = sorted({model for parts in texts.values() for model in parts})
    if not models:
        fail("no embeddings on stdin")
    for (index, text), parts in sorted(texts.items()):
        missing = [model for model in models if model not in parts]
        if missing:
            fail(f"text {index} has no embedding of {missing[0]}")
        vector = [value / math.sqrt(len(models)) for model in models for value in parts[model]["embedding"]]
        metadata = {
            "model": "+".join(models),
            "revision": "+".join(str(parts[model]["metadata"]["revision"]) for model in models),
            "dimensions": len(vector),
            "normalized": all(parts[model]["metadata"]["normalized"] for model in models),
            "index": index,
        }
        sys.stdout.write(json.dumps({"text": text, "embedding": vector, "metadata": metadata}) + "\n")


def records(lines: Iterable[str]) -> Iterator[Record]:
    """Yield the records among the lines; a line of ``mlx-tee --jsonl`` holds those of one command."""
    for line in lines:
        if not line.strip() or line.startswith(HEADER):
            continue
        try:
            found = json.loads(line)
            if "output" in found:
                if found["exit_code"]:
                    fail(f"'{found['command']}' failed: {found['error'].strip()}")
                yield from records(found["output"].splitlines())
            else:
                _ = found["embedding"], found["text"], found["metadata"]["index"]
                yield found
        except (ValueError, TypeError, KeyError):
            fail(f"not a line of mlxk embed: {line[:60]!r}")


def fail(message: str) -> NoReturn:
    """End with a message."""
    sys.stderr.write(f"combine-embeddings: {message}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
