"""Embedding models: which ones can be run. Their encoders are our own, and need no installed package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mlxknife.domain.encoders.rules import modules
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import filenames
from mlxknife.domain.models.values.snapshot import SnapshotFacts

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")


def reasons(facts: SnapshotFacts) -> Iterator[str]:
    """Yield the reasons why an intact embedding model cannot be run; none if it can."""
    names = facts.names()
    if not any("/" not in name and name.endswith(filenames.SAFETENSORS) for name in names):
        yield no_weights(names, "beside config.json")
    try:
        config = modules.read({name: document.value for name, document in facts.documents.items()})
    except ModelNotRunnable as exc:
        yield exc.message
    else:
        for number, dense in enumerate(config.dense):
            folder = f"{dense.folder}/"
            if not _has_dense(facts, number, folder):
                yield no_weights({name for name in names if name.startswith(folder)}, f"in {dense.folder}")
    if filenames.TOKENIZER_JSON not in names:
        yield f"Embeddings need {filenames.TOKENIZER_JSON}"


def _has_dense(facts: SnapshotFacts, number: int, folder: str) -> bool:
    """Return whether a linear layer has weights: in its folder, or in MLX's form among those of the encoder."""
    name = f"dense.{number}.weight"
    if any("/" not in file and name in head.tensors for file, head in facts.weights.items()):
        return True
    return any(file.startswith(folder) and file.endswith(filenames.SAFETENSORS) for file in facts.names())


def no_weights(names: Iterable[str], where: str) -> str:
    """Return the reason for a model without safetensors."""
    pickle = min((name for name in names if name.endswith(_PICKLES)), default=None)
    what = "There are no weights in safetensors" if pickle is None else f"{pickle} is a pickle, which is not loaded"
    return f"{what} (requires safetensors {where})"
