"""Embedding models: loading one, and the loaded model behind the port."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.domain.embedding.values import Pooling
from mlxknife.domain.errors import EngineError
from mlxknife.domain.generation.values.loading import LoadRequest

if TYPE_CHECKING:
    import tokenizers

    from mlxknife.adapters.mlx.embedding.bert import BertEncoder

_MAX_DOCUMENT = 4 * 1024 * 1024
_MAX_CHARACTERS = 1_000_000
"""More characters than any model reads: the rest of a text is not tokenized."""


class EncoderLoader:
    """Loads embedding models."""

    @staticmethod
    def prepare() -> None:
        """Import what takes longest, before the model is known.

        One thread: the matrices are small, and waiting threads of a BLAS take the processor from other programs.
        """
        for name in ("OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
            os.environ.setdefault(name, "1")
        import tokenizers  # noqa: F401, PLC0415 - not for the processes of other models

        from mlxknife.adapters.mlx.embedding import bert  # noqa: F401, PLC0415

    def load(self, request: LoadRequest, documents: Sequence[str]) -> EncoderModel:
        """See ``EmbeddingModelLoader.load``."""
        from tokenizers import Tokenizer  # noqa: PLC0415 - loaded by now

        from mlxknife.adapters.mlx.embedding.bert import BertEncoder, BertSizes  # noqa: PLC0415
        from mlxknife.adapters.mlx.embedding.weights import Weights  # noqa: PLC0415

        folder = request.location.token
        with library_errors("The model could not be loaded"):
            found = {name: value for name in documents if (value := _document(folder, name)) is not None}
            tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
            config = found.get("config.json")
            sizes = BertSizes.of(config if isinstance(config, Mapping) else {})
            return EncoderModel(BertEncoder(Weights(folder), sizes), tokenizer, found)


class EncoderModel:
    """See ``EmbeddingModel``."""

    def __init__(self, encoder: BertEncoder, tokenizer: tokenizers.Tokenizer, documents: Mapping[str, object]) -> None:
        """Take an encoder, its tokenizer and the JSON files of the model."""
        self._encoder: BertEncoder | None = encoder
        self._tokenizer = tokenizer
        self._documents = documents
        self._limit = 0
        self._limiting = threading.Lock()
        tokenizer.no_padding()

    @property
    def documents(self) -> Mapping[str, object]:
        """See ``EmbeddingModel.documents``."""
        return self._documents

    @property
    def notes(self) -> tuple[str, ...]:
        """See ``EmbeddingModel.notes``."""
        return ("encoder: numpy on the CPU",)

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        """See ``EmbeddingModel.encode``."""
        with library_errors("The tokenizer of the model cannot encode the text"):
            with self._limiting:
                if self._limit != max_tokens:
                    self._tokenizer.enable_truncation(max_tokens)
                    self._limit = max_tokens
            encoding = self._tokenizer.encode(text[:_MAX_CHARACTERS])
            return tuple(encoding.ids), bool(encoding.overflowing) or len(text) > _MAX_CHARACTERS

    def embed(self, rows: Sequence[Sequence[int]], pooling: Pooling) -> Sequence[Sequence[float]]:
        """See ``EmbeddingModel.embed``."""
        if self._encoder is None:
            msg = "The model is closed"
            raise EngineError(msg)
        with library_errors("The model failed"):
            vectors: list[list[float]] = self._encoder.embed(rows, pooling).tolist()
            return vectors

    def close(self) -> None:
        """See ``EmbeddingModel.close``."""
        self._encoder = None


def _document(folder: str, name: str) -> object:
    """Return the value of a JSON file; None where there is none."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read(_MAX_DOCUMENT + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > _MAX_DOCUMENT:
        msg = f"{name} is too long"
        raise EngineError(msg)
    value: object = json.loads(data)
    return value
