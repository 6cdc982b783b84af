"""Models with the sizes, dates and hashes of the examples of seed 2. Their weights are sparse files."""

from __future__ import annotations

import json
import os
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from tests.builder import BuiltModel, CacheBuilder, Files, chat_files, embedding_files, gguf_files, json_bytes
from tests.e2e.processes import Machine, Outcome
from tests.golden.examples import example, validator

_HEADER = 256
_WEIGHTS = "model.safetensors"


def sparse_weights(path: Path, size: int) -> None:
    """Write a sparse safetensors file of exactly that size."""
    data = size - 8 - _HEADER
    tensor = {"dtype": "U8", "shape": [data], "data_offsets": [0, data]}
    header = json_bytes({"__metadata__": {"format": "mlx"}, "w": tensor}).ljust(_HEADER)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", _HEADER) + header)
        file.truncate(size)


def phi3_files() -> Files:
    """Return the model of most examples, with the config that the seed prints."""
    config = example("show-config")["data"]["config"]
    return chat_files() | {"config.json": json_bytes(config)}


def embedder_files() -> Files:
    return embedding_files() | {"tokenizer_config.json": json_bytes({"tokenizer_class": "BertTokenizer"})}


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


@attrs.frozen
class GoldenMachine:
    """Builds the cache of an example and runs the real program on it."""

    machine: Machine
    packages: Path

    @property
    def cache(self) -> CacheBuilder:
        return self.machine.cache

    def ask(self, *words: str) -> dict[str, Any]:
        """Return the document that ``mlxk`` prints, after validating it."""
        return self.asked(*words).document()

    def asked(self, *words: str) -> Outcome:
        outcome = self.machine.run(*words, "--json", environment=self.environment())
        problems = [error.message for error in validator().iter_errors(outcome.document())]
        assert problems == []
        return outcome

    def environment(self) -> dict[str, str]:
        return self.machine.environment(PYTHONPATH=str(self.packages))

    def build(self, model: dict[str, Any], files: Files, weights: str = _WEIGHTS) -> BuiltModel:
        """Write a model with the name, hash, size and date of an example."""
        built = self.cache.model(model["name"], files, commit=model["hash"])
        self.fit(built.snapshot, model, built.blob(weights))
        return built

    def fit(self, folder: Path, model: dict[str, Any], weights: Path) -> None:
        """Give a folder the size and date of an example."""
        others = {path.resolve() for path in folder.rglob("*") if path.is_file()} - {weights.resolve()}
        size = model["size_bytes"] - sum(path.stat().st_size for path in others)
        if weights.read_bytes().startswith(b"GGUF"):
            os.truncate(weights, size)
        else:
            sparse_weights(weights, size)
        modified = datetime.fromisoformat(model["last_modified"]).timestamp()
        os.utime(folder, (modified, modified))

    def models_of_the_list(self) -> None:
        """Build the five models of the large example."""
        models = {model["name"]: model for model in example("list")["data"]["models"]}
        self.build(models["mlx-community/Phi-3-mini-4k-instruct-4bit"], phi3_files())
        self.build(models["mlx-community/mxbai-embed-large-v1"], embedder_files())
        gguf = models["TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"]
        self.build(gguf, gguf_files(), "tiny-chat.Q4_K_M.gguf")
        next_files = chat_files(model_type="qwen3_next", architectures=["Qwen3NextForCausalLM"])
        self.build(models["mlx-community/Qwen3-Next-80B-A3B-Instruct-4bit"], next_files)
        self.build(models["corrupted/incomplete-download"], without(chat_files(), "config.json"))


def fake_packages(folder: Path) -> Path:
    """Write stubs of the packages that the seed's author had installed."""
    contents = {
        "mlx/__init__.py": "",
        "mlx/lib/libmlx.so": "",
        "mlx_lm/__init__.py": "",
        "mlx_lm/_version.py": '__version__ = "0.27.1"\n',
        "mlx_lm/utils.py": 'MODEL_REMAPPING = {\n    "mistral": "llama",\n}\n',
        "mlx_lm/models/llama.py": "class Model:\n    pass\n",
        "mlx_lm/models/phi3.py": "class Model:\n    pass\n",
        "mlx_lm/models/llava.py": "class Model:\n    pass\n",
        "mlx_vlm/__init__.py": "",
        "mlx_vlm/version.py": '__version__ = "0.7.10"\n',
        "mlx_vlm/utils.py": "MODEL_REMAPPING = {}\n",
        "mlx_vlm/models/bert/__init__.py": "from .bert import Model\n",
        "mlx_vlm/models/bert/bert.py": "class Model:\n    def __call__(self):\n        return EmbeddingOutput()\n",
        "mlx_vlm/models/llava/__init__.py": "from .llava import Model\n",
    }
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def padded(value: object, size: int) -> bytes:
    """Return JSON of exactly so many bytes."""
    return json.dumps(value).encode().ljust(size)
