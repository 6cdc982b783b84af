"""Context: the question to a model, with the passages that a search found for it."""

from __future__ import annotations

from collections.abc import Sequence

from mlxknife.domain.retrieval.values import Hit

PASSAGES = 5
"""The most passages that go with a question."""
INSTRUCTION = "Answer the question from these passages. If they do not answer it, say so."
_SHARE = 2
"""The passages take at most one part in this many of the context window."""
_CHARACTERS_OF_TOKEN = 3
"""English text has about four for each token, code about three."""
_USUAL_WINDOW = 4096
_BREAK = "\n\n"


def fitting(hits: Sequence[Hit], context_length: int | None) -> tuple[Hit, ...]:
    """Return the best hits that fit into half of a context window of so many tokens; the best one always."""
    left = (context_length or _USUAL_WINDOW) // _SHARE * _CHARACTERS_OF_TOKEN
    kept = list[Hit]()
    for hit in hits[:PASSAGES]:
        left -= len(_passage(hit)) + len(_BREAK)
        if left < 0 and kept:
            break
        kept.append(hit)
    return tuple(kept)


def prompt(question: str, hits: Sequence[Hit]) -> str:
    """Return the question after the passages, each below its place, and the instruction to answer from them."""
    return _BREAK.join([*map(_passage, hits), INSTRUCTION, question])


def _passage(hit: Hit) -> str:
    return f"{hit.file}:{hit.first_line}-{hit.last_line}:\n\n{hit.text.strip()}"
