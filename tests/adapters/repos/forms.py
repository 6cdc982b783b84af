"""Repos that are shaped unlike a common model, whole ones and damaged ones."""

from __future__ import annotations

from tests.adapters.repos.parts import (
    CHAT_TOKENIZER,
    GGUF,
    PICKLE,
    Q4,
    TOKENIZER,
    Repo,
    chat,
    config,
    index,
    mlx,
    shards,
    weights,
)
from tests.builder import json_bytes

_NO_MLX = "Framework PyTorch not executable with mlx-lm (requires MLX)"
_NO_GGUF = "Framework GGUF not executable with mlx-lm (requires MLX)"
_NO_NAME = "Weights not executable with mlx-lm (requires model*.safetensors beside config.json)"
_TORCH = [f"pytorch_model-{number:05d}-of-00002.bin" for number in (1, 2)]
_LLAMA = chat("llama", "LlamaForCausalLM")

GGUFS = (
    Repo(
        "bartowski/Llama-3.2-3B-Instruct-GGUF",
        {f"Llama-3.2-3B-Instruct-{kind}.gguf": GGUF for kind in ("IQ4_XS", "Q4_K_M", "Q8_0")}
        | {"README.md": b"---\nlicense: llama3.2\n---\n", "Llama-3.2-3B-Instruct.imatrix": b"x"},
        "GGUF",
        "chat",
        "text-generation chat",
        _NO_GGUF,
    ),
    Repo(
        "unsloth/gemma-3-4b-it-GGUF",
        config("gemma3", "Gemma3ForConditionalGeneration", vision_config={"depth": 2})
        | {"gemma-3-4b-it-Q4_K_M.gguf": GGUF, "mmproj-F16.gguf": GGUF},
        "GGUF",
        "chat",
        "text-generation chat vision",
        _NO_GGUF,
    ),
    Repo(
        "nomic-ai/nomic-embed-text-v1.5-GGUF",
        {"nomic-embed-text-v1.5.Q4_K_M.gguf": GGUF},
        "GGUF",
        "embedding",
        "embeddings",
        "There are no weights in safetensors",
    ),
    Repo(
        "unsloth/DeepSeek-R1-GGUF",
        config("deepseek_v3") | {f"IQ1_S/DeepSeek-R1-IQ1_S-0000{at}-of-00003.gguf": GGUF for at in (1, 2, 3)},
        "GGUF",
        "base",
        "text-generation",
        _NO_GGUF,
    ),
    Repo(
        "org/four-bytes-GGUF",
        {"model.Q4_K_M.gguf": GGUF[:4]},
        "GGUF",
        "unknown",
        "",
        "model.Q4_K_M.gguf: not a GGUF file",
        "corrupt",
    ),
)

TORCHES = (
    Repo(
        "org/pickled-shards",
        _LLAMA | dict.fromkeys(_TORCH, PICKLE) | index("pytorch_model.bin", _TORCH),
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
    Repo(
        "org/pickled-shards-interrupted",
        _LLAMA | {_TORCH[0]: PICKLE} | index("pytorch_model.bin", _TORCH),
        "PyTorch",
        "chat",
        "text-generation chat",
        f"missing weight shards: {_TORCH[1]}",
        "incomplete",
    ),
    Repo(
        "org/index-of-pickles-beside-safetensors",
        _LLAMA | shards(2) | index("pytorch_model.bin", _TORCH),
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
    Repo(
        "org/web-page-for-weights",
        _LLAMA | {"pytorch_model.bin": b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"},
        "PyTorch",
        "chat",
        "text-generation chat",
        "pytorch_model.bin: not a PyTorch file",
        "corrupt",
    ),
)

ODD = (
    Repo(
        "mlx-community/old-weights-4bit",
        chat("llama", "LlamaForCausalLM", **Q4) | mlx("weights.00.safetensors"),
        "MLX",
        "chat",
        "text-generation chat",
        _NO_NAME,
    ),
    Repo(
        "me/fine-tuned-with-mlx-lm",
        chat("llama", "LlamaForCausalLM", **Q4)
        | mlx("adapters.safetensors")
        | {"adapter_config.json": json_bytes({"fine_tune_type": "lora"})},
        "MLX",
        "chat",
        "text-generation chat",
        _NO_NAME,
    ),
    Repo(
        "someone/llama-lora",
        CHAT_TOKENIZER
        | weights("adapter_model.safetensors")
        | {"adapter_config.json": json_bytes({"base_model_name_or_path": "meta-llama/Llama-3.2-1B"})},
        "PyTorch",
        "unknown",
        "",
        "config.json missing",
        "incomplete",
    ),
    Repo(
        "stabilityai/sdxl-turbo",
        weights("unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors")
        | {
            "model_index.json": json_bytes({"_class_name": "StableDiffusionXLPipeline"}),
            "unet/config.json": b"{}",
            "tokenizer/vocab.json": b"{}",
            "tokenizer/merges.txt": b"#version: 0.2\n",
        },
        "PyTorch",
        "unknown",
        "",
        "config.json missing",
        "incomplete",
    ),
    Repo("org/only-a-card", {"README.md": b"# Soon\n"}, "Unknown", "unknown", "", "config.json missing", "incomplete"),
    Repo(
        "xenova/only-onnx",
        config("bert", "BertModel") | TOKENIZER | {"onnx/model.onnx": b"\x08\x07"},
        "Unknown",
        "embedding",
        "embeddings",
        "no weight files",
        "incomplete",
    ),
)
