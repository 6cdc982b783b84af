"""Makes ``vectors.npz``: what sentence-transformers computes on the CPU for the tiny models and the starter embedder.

It is run once by hand, in an environment of its own, and never by the tests::

    python -m venv /tmp/reference
    /tmp/reference/bin/pip install sentence-transformers
    /tmp/reference/bin/python -m tests.references.make_vectors FOLDER_OF_STARTER_EMBED
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.references.families import FAMILIES, write_family
from tests.references.texts import texts

_PLACE = Path(__file__).parent / "vectors.npz"
_PROMPTS = ("query", "document")


def main(starter: str) -> None:
    """Compute and save the vectors."""
    with tempfile.TemporaryDirectory() as folder:
        found = {family: _vectors(write_family(Path(folder) / family, family)) for family in FAMILIES}
        prompted = {f"gemma3-{prompt}": _vectors(Path(folder) / "gemma3", prompt_name=prompt) for prompt in _PROMPTS}
    found |= prompted | {"starter-embed": _vectors(Path(starter)).astype(np.float16)}
    np.savez_compressed(_PLACE, allow_pickle=False, **found)
    print(f"{_PLACE}: {_PLACE.stat().st_size} bytes, {', '.join(found)}")  # noqa: T201 - a script


def _vectors(folder: Path, **options: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - its environment has it

    model = SentenceTransformer(str(folder), device="cpu", model_kwargs={"attn_implementation": "eager"})
    vectors = model.encode(texts(), batch_size=1, normalize_embeddings=True, **options)
    return np.asarray(vectors, np.float32)


if __name__ == "__main__":
    main(sys.argv[1])
