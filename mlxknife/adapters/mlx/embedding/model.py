"""Embedding models: loading one, and the loaded model behind the port."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol

from mlxknife.adapters.mlx.runtime.failures import library_errors
from mlxknife.adapters.mlx.runtime.numpy_blas import use_one_thread
from mlxknife.domain.encoders.values import EmbedderConfig, Pooling
from mlxknife.domain.errors import EngineError, UnsupportedCapability
from mlxknife.domain.generation.values.loading import Device, LoadRequest

if TYPE_CHECKING:
    import tokenizers

    from mlxknife.adapters.mlx.embedding.head import Head
    from mlxknife.adapters.mlx.encoders.encoder import Encoder
    from mlxknife.adapters.mlx.encoders.operations import Operations
    from mlxknife.adapters.mlx.encoders.weights import Floats

_MAX_DOCUMENT = 4 * 1024 * 1024
_MAX_CARD = 64 * 1024
_CARD_END = "\n---"
MAX_CHARACTERS = 1_000_000
"""More characters than any model reads: the rest of a text is not tokenized."""
CPU_ROWS = 8
"""Rows for each thread: batches of 4 to 8 texts are the fastest on a CPU."""
_GPU_ROWS = 64
_PART = 8192
"""The tokens times layers that a batch computes before it lets other work through."""


class EncoderLoader:
    """Loads embedding models."""

    @staticmethod
    def prepare() -> None:
        """Import what takes longest, before the model is known."""
        use_one_thread()
        import tokenizers  # noqa: F401, PLC0415 - not for the processes of other models

        from mlxknife.adapters.mlx.encoders import encoder  # noqa: F401, PLC0415

    @staticmethod
    def documents(request: LoadRequest, names: Sequence[str]) -> Mapping[str, object]:
        """See ``EmbeddingModelLoader.documents``."""
        folder = request.location.token
        with library_errors("The model could not be loaded"):
            return {name: value for name in names if (value := _document(folder, name)) is not None}

    @staticmethod
    def card(request: LoadRequest) -> str:
        """See ``EmbeddingModelLoader.card``."""
        try:
            with open(os.path.join(request.location.token, "README.md"), "rb") as file:
                text = file.read(_MAX_CARD).decode(errors="replace")
        except (FileNotFoundError, IsADirectoryError):
            return ""
        return text.partition(_CARD_END)[0] if text.startswith("---") else ""

    def load(self, request: LoadRequest, config: EmbedderConfig) -> EncoderModel:
        """See ``EmbeddingModelLoader.load``."""
        from tokenizers import Tokenizer  # noqa: PLC0415 - loaded by now

        from mlxknife.adapters.mlx.embedding.head import Head  # noqa: PLC0415
        from mlxknife.adapters.mlx.encoders.encoder import Encoder  # noqa: PLC0415
        from mlxknife.adapters.mlx.encoders.weights import Weights  # noqa: PLC0415

        use_one_thread()
        folder = request.location.token
        with library_errors("The model could not be loaded"):
            tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
            operations = _operations(request.device)
            weights = Weights(folder)
            encoder = Encoder(weights, config.encoder, operations)
            head = Head(folder, weights, config)
            return EncoderModel(encoder, head, tokenizer, operations, threads=_threads(request.device))


class EncoderModel:
    """See ``EmbeddingModel``."""

    def __init__(
        self, encoder: Encoder, head: Head, tokenizer: tokenizers.Tokenizer, operations: Operations, *, threads: int
    ) -> None:
        """Take an encoder, what follows it, and its tokenizer. ``threads`` is the number of threads that compute."""
        self._encoder: Encoder | None = encoder
        self._head = head
        self._tokenizer = tokenizer
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, "encoder") if threads > 1 else None
        self.notes: tuple[str, ...] = (f"encoder: {operations.name}",)
        """See ``EmbeddingModel.notes``."""
        self.batch_rows = CPU_ROWS * threads if threads else _GPU_ROWS
        """See ``EmbeddingModel.batch_rows``."""
        self._limit = 0
        self._limiting = threading.Lock()
        tokenizer.no_padding()

    def encode(self, text: str, max_tokens: int) -> tuple[tuple[int, ...], bool]:
        """See ``EmbeddingModel.encode``."""
        with library_errors("The tokenizer of the model cannot encode the text"):
            with self._limiting:
                if self._limit != max_tokens:
                    self._tokenizer.enable_truncation(max_tokens)
                    self._limit = max_tokens
            encoding = self._tokenizer.encode(text[:MAX_CHARACTERS])
            return tuple(encoding.ids), bool(encoding.overflowing) or len(text) > MAX_CHARACTERS

    def start(self, rows: Sequence[Sequence[int]]) -> RunningBatch:
        """See ``EmbeddingModel.start``."""
        if self._encoder is None:
            msg = "The model is closed"
            raise EngineError(msg)
        with library_errors("The model failed"):
            return RunningBatch(self._encoder, self._head, rows, self._pool, max(1, self._threads))

    def close(self) -> None:
        """See ``EmbeddingModel.close``."""
        self._encoder = None
        if self._pool is not None:
            self._pool.shutdown()


class VectorHead(Protocol):
    """What follows an encoder."""

    @property
    def pooling(self) -> Pooling:
        """How the vectors of the tokens become one."""
        ...

    def __call__(self, vectors: Floats) -> Floats:
        """Return a vector for each pooled one."""
        ...


class RunningBatch:
    """See ``EmbeddingBatch``: rows that are neighbours in length are computed together, by a thread each."""

    def __init__(
        self,
        encoder: Encoder,
        head: VectorHead,
        rows: Sequence[Sequence[int]],
        pool: ThreadPoolExecutor | None,
        parts: int,
        types: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Divide the rows into at most ``parts``; ``types`` are the token types."""
        self._head = head
        self._pool = pool
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        self._order = _divided(order, [len(row) for row in rows], parts)
        self._steps = [
            encoder.steps(
                [rows[place] for place in part],
                head.pooling,
                None if types is None else [types[place] for place in part],
            )
            for part in self._order
        ]
        self._layers = max(1, _PART // sum(map(len, rows)))
        self._found: list[Floats | None] = [None] * len(self._steps)
        """The vectors of each part that is complete."""

    def advance(self) -> Sequence[Sequence[float]] | None:
        """See ``EmbeddingBatch.advance``."""
        with library_errors("The model failed"):
            places = [place for place, found in enumerate(self._found) if found is None]
            run = map if self._pool is None or len(places) == 1 else self._pool.map
            for place, found in zip(places, run(self._advanced, [self._steps[place] for place in places]), strict=True):
                self._found[place] = found
            if any(found is None for found in self._found):
                return None
            vectors: list[list[float]] = [[]] * sum(map(len, self._order))
            for part, found in zip(self._order, self._found, strict=True):
                assert found is not None  # noqa: S101 - checked above
                for place, vector in zip(part, found.tolist(), strict=True):
                    vectors[place] = vector
            return vectors

    def _advanced(self, steps: Iterator[Floats | None]) -> Floats | None:
        import numpy as np  # noqa: PLC0415 - loaded by now

        with np.errstate(all="ignore"):  # NaN and infinity are found in the vectors
            for _ in range(self._layers):
                vectors = next(steps)
                if vectors is not None:
                    return self._head(vectors)
        return None


def _divided(order: Sequence[int], lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Return places in their order, divided into parts with about the same number of tokens."""
    total, seen = sum(lengths), 0
    divided: list[list[int]] = [[] for _ in range(parts)]
    for place in order:
        divided[min(parts - 1, seen * parts // total)].append(place)
        seen += lengths[place]
    return [part for part in divided if part]


def _operations(device: Device) -> Operations:
    if device is Device.CPU:
        from mlxknife.adapters.mlx.encoders.numpy_operations import NumpyOperations  # noqa: PLC0415

        return NumpyOperations()
    os.environ.setdefault("MLX_ENABLE_TF32", "0")  # CUDA would compute float32 with 10 bits
    from mlxknife.adapters.mlx.runtime.imports import import_mlx  # noqa: PLC0415

    import_mlx()
    from mlxknife.adapters.mlx.encoders.mlx_operations import MlxOperations, has_gpu  # noqa: PLC0415

    if not has_gpu():
        msg = "MLX finds no GPU on this machine"
        raise UnsupportedCapability(msg, param="--gpu")
    return MlxOperations()


def _threads(device: Device) -> int:
    """Return the number of threads that compute on the CPU; 0 where a GPU computes."""
    if device is Device.GPU:
        return 0
    return cpu_threads()


def cpu_threads() -> int:
    """Return the number of threads that compute on the CPU."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
