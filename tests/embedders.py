"""Tiny embedding models with random weights."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import models, normalizers, pre_tokenizers, processors

from mlxknife.adapters.mlx.embedding.model import EncoderLoader, EncoderModel
from mlxknife.domain.embedding.rules import settings
from mlxknife.domain.embedding.services.engine import EmbeddingEngine, open_engine
from mlxknife.domain.embedding.values import Embedding, EmbeddingRequest
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.models.values.snapshot import Location

HIDDEN, INNER, HEADS, LAYERS, POSITIONS = 16, 32, 2, 2, 40
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_VOCABULARY = (*_SPECIAL, *string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase))
WORDS = {word: place for place, word in enumerate(_VOCABULARY)}


def write_embedder(
    folder: Path, *, seed: int = 0, pooling: str = "mean_tokens", config: Mapping[str, object] | None = None
) -> Path:
    """Write a BERT encoder whose words are single letters; ``config`` overrides values of config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    _tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    documents: dict[str, object] = {
        "config.json": {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "max_position_embeddings": POSITIONS,
            "vocab_size": len(_VOCABULARY),
            "hidden_act": "gelu",
            **(config or {}),
        },
        "tokenizer_config.json": {"tokenizer_class": "BertTokenizer"},
        "sentence_bert_config.json": {"max_seq_length": POSITIONS - 8},
        "modules.json": [
            {"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
        "1_Pooling/config.json": {f"pooling_mode_{pooling}": True},
        "config_sentence_transformers.json": {"prompts": {"query": "q ", "document": "d "}},
    }
    for name, value in documents.items():
        (folder / name).write_text(json.dumps(value))
    save_file(_tensors(seed), folder / "model.safetensors")
    return folder


def _tokenizer() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece(WORDS, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=POSITIONS)
    return made


def _tensors(seed: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    chance = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (len(_VOCABULARY), HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        root = f"encoder.layer.{layer}"
        dense = {f"attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        dense |= {"attention.output.dense": (HIDDEN, HIDDEN)}
        dense |= {"intermediate.dense": (INNER, HIDDEN), "output.dense": (HIDDEN, INNER)}
        for name, shape in dense.items():
            shapes |= {f"{root}.{name}.weight": shape, f"{root}.{name}.bias": shape[:1]}
        norms += [f"{root}.attention.output.LayerNorm", f"{root}.output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}
    return {name: chance.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def load_model(folder: Path) -> EncoderModel:
    """Load an embedding model on the CPU, as a model process does."""
    request, loader = LoadRequest(Location(str(folder), ()), "fast"), EncoderLoader()
    return loader.load(request, settings.read(loader.documents(request, settings.DOCUMENTS)).model)


def load_engine(folder: Path) -> EmbeddingEngine:
    """Load an embedding model into an engine."""
    return open_engine(EncoderLoader(), LoadRequest(Location(str(folder), ()), "fast"))


def vectors_of(model: EncoderModel, rows: Sequence[Sequence[int]]) -> list[Sequence[float]]:
    """Embed rows of tokens in one batch."""
    batch = model.start(rows)
    while (found := batch.advance()) is None:
        pass
    return list(found)


def embedded(engine: EmbeddingEngine, request: EmbeddingRequest) -> list[tuple[float, ...]]:
    """Embed the texts of a request."""
    engine.submit(1, engine.tokenize(request, engine.render(request)))
    found = dict[int, tuple[float, ...]]()
    while not engine.is_idle:
        for _, event in engine.step():
            assert isinstance(event, Embedding), event
            found[event.index] = event.vector
    return [found[index] for index in range(len(request.texts))]
