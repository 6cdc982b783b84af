"""SentencePiece vocabularies: which two pieces become one, and in which order."""

from __future__ import annotations

from collections.abc import Mapping

from mlxknife.adapters.gguf.header import NotValid

_MAX_PIECE = 512
"""SentencePiece itself makes no longer ones; each costs as many cuts as it has characters."""


def merges_by_score(scores: Mapping[str, float], ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return every pair of pieces that is a piece together, best score first, as the Llama tokenizer orders them.

    ``scores`` are those of the pieces that a text may be merged into. Raises NotValid for a piece that is too long.
    """
    found: list[tuple[float, int, int, str, str]] = []
    for piece, score in scores.items():
        if len(piece) > _MAX_PIECE:
            msg = f"one of its tokens has {len(piece)} characters"
            raise NotValid(msg)
        pairs = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        joined = sorted(((ids[left], ids[right], left, right) for left, right in pairs if left in ids and right in ids))
        found.extend((score, len(left), len(right), left, right) for _, _, left, right in joined)
    found.sort(key=lambda merge: merge[:3], reverse=True)
    return [(left, right) for *_, left, right in found]
