"""Models that write and models that embed."""

from __future__ import annotations

from tests.adapters.repos.parts import (
    CHAT_TOKENIZER,
    PICKLE,
    POOLING,
    Q4,
    SENTENCEPIECE,
    TOKENIZER,
    Repo,
    chat,
    config,
    index,
    mlx,
    shards,
    weights,
)
from tests.builder import TEMPLATE, Files, json_bytes

_NO_MLX = "Framework PyTorch not executable with mlx-lm (requires MLX)"
_MINILM = config("bert", "BertModel", max_position_embeddings=512) | TOKENIZER | POOLING | {"vocab.txt": b"[PAD]\n"}
_EMBEDDINGGEMMA = (
    config("gemma3_text", "Gemma3TextModel")
    | TOKENIZER
    | POOLING
    | weights("2_Dense/model.safetensors", "3_Dense/model.safetensors")
)
_GPT_OSS = {"chat_template.jinja": TEMPLATE.encode()} | TOKENIZER
_OWN_TOKENIZER: Files = {
    "tiktoken.model": b"IQ== 0\n",
    "tokenization_kimi.py": b"class TikTokenTokenizer: ...\n",
    "tokenizer_config.json": json_bytes(
        {
            "auto_map": {"AutoTokenizer": ["tokenization_kimi.TikTokenTokenizer", None]},
            "chat_template": TEMPLATE,
            "tokenizer_class": "TikTokenTokenizer",
        }
    ),
}


def _quantized_with(method: str) -> Files:
    settings = {"quant_method": method, "bits": 4, "group_size": 128}
    return chat("mistral", "MistralForCausalLM", quantization_config=settings) | weights("model.safetensors")


WRITING = (
    Repo(
        "mlx-community/Qwen3-4B-4bit",
        chat("qwen3", "Qwen3ForCausalLM", **Q4)
        | mlx()
        | index("model.safetensors", ["model.safetensors"])
        | {"merges.txt": b"#version: 0.2\n", "vocab.json": b"{}", "generation_config.json": b"{}"},
        "MLX",
        "chat",
        "text-generation chat",
    ),
    Repo(
        "mlx-community/DeepSeek-R1-Distill-Qwen-7B-4bit",
        chat("qwen2", "Qwen2ForCausalLM", **Q4) | mlx(),
        "MLX",
        "chat",
        "text-generation chat",
    ),
    Repo(
        "openai/gpt-oss-20b",
        config("gpt_oss", "GptOssForCausalLM", quantization_config={"quant_method": "mxfp4"})
        | _GPT_OSS
        | shards(3)
        | weights("original/model.safetensors")
        | {"original/config.json": b"{}", "metal/model.bin": b"GPT-OSS v1.0"},
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
    Repo(
        "mlx-community/gpt-oss-20b-MXFP4-Q8",
        config("gpt_oss", "GptOssForCausalLM", quantization={"group_size": 32, "bits": 4, "mode": "mxfp4"})
        | _GPT_OSS
        | shards(3, made_for="mlx"),
        "MLX",
        "chat",
        "text-generation chat",
    ),
    Repo(
        "mistralai/Mistral-7B-Instruct-v0.3",
        chat("mistral", "MistralForCausalLM")
        | shards(3)
        | weights("consolidated.safetensors")
        | {"params.json": b"{}", "tokenizer.model": SENTENCEPIECE, "tokenizer.model.v3": SENTENCEPIECE},
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
    Repo(
        "mlx-community/Devstral-Small-2505-4bit",
        config("mistral", "MistralForCausalLM", **Q4) | mlx() | {"tekken.json": json_bytes({"vocab": []})},
        "MLX",
        "base",
        "text-generation",
    ),
    Repo(
        "mlx-community/Kimi-K2-Instruct-4bit",
        config("kimi_k2", "DeepseekV3ForCausalLM", auto_map={"AutoConfig": "configuration.Config"}, **Q4)
        | shards(2, made_for="mlx")
        | _OWN_TOKENIZER,
        "MLX",
        "chat",
        "text-generation chat",
        "Needs code of its repo (tokenizer_config.json: auto_map), which runs only with --allow-remote-code",
    ),
    Repo(
        "google/byt5-small",
        config("t5", "T5ForConditionalGeneration")
        | {"tokenizer_config.json": json_bytes({"tokenizer_class": "ByT5Tokenizer"}), "pytorch_model.bin": PICKLE},
        "PyTorch",
        "base",
        "text-generation",
        _NO_MLX,
    ),
    Repo(
        "mlx-community/rwkv7-1.5B-4bit",
        config("rwkv7", "RWKV7ForCausalLM", **Q4) | mlx() | {"rwkv_vocab_v20230424.txt": b"1 '\\x00' 1\n"},
        "MLX",
        "base",
        "text-generation",
    ),
    Repo(
        "mlx-community/mamba-130m-hf-f32",
        config("mamba", "MambaForCausalLM") | TOKENIZER | mlx(),
        "MLX",
        "base",
        "text-generation",
    ),
    Repo(
        "org/model-type-only",
        config("llama") | {"tokenizer.model": SENTENCEPIECE} | weights("model.safetensors"),
        "PyTorch",
        "base",
        "text-generation",
        _NO_MLX,
    ),
    Repo(
        "TheBloke/Mistral-7B-Instruct-v0.2-GPTQ",
        _quantized_with("gptq"),
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
    Repo(
        "TheBloke/Mistral-7B-Instruct-v0.2-AWQ",
        _quantized_with("awq"),
        "PyTorch",
        "chat",
        "text-generation chat",
        _NO_MLX,
    ),
)

EMBEDDING = (
    Repo(
        "sentence-transformers/all-MiniLM-L6-v2",
        _MINILM
        | weights("model.safetensors")
        | {
            "onnx/model.onnx": b"\x08\x07",
            "onnx/model_O1.onnx": b"\x08\x07",
            "openvino/openvino_model.bin": b"weights",
            "openvino/openvino_model.xml": b"<net/>",
            "pytorch_model.bin": PICKLE,
            "rust_model.ot": PICKLE,
            "tf_model.h5": b"\x89HDF",
        },
        "PyTorch",
        "embedding",
        "embeddings",
    ),
    Repo(
        "sentence-transformers/all-MiniLM-L6-v2-interrupted",
        _MINILM | {"openvino/openvino_model.bin": b"weights", "openvino/openvino_model.xml": b"<net/>"},
        "Unknown",
        "embedding",
        "embeddings",
        "no weight files",
        "incomplete",
    ),
    Repo(
        "google/embeddinggemma-300m",
        _EMBEDDINGGEMMA | weights("model.safetensors"),
        "PyTorch",
        "embedding",
        "embeddings",
    ),
    Repo(
        "google/embeddinggemma-300m-interrupted",
        _EMBEDDINGGEMMA,
        "PyTorch",
        "embedding",
        "embeddings",
        "no weight files beside config.json",
        "incomplete",
    ),
    Repo(
        "mlx-community/Qwen3-Embedding-0.6B-4bit-DWQ",
        chat("qwen3", "Qwen3ForCausalLM", **Q4) | mlx(),
        "MLX",
        "embedding",
        "embeddings",
    ),
    Repo(
        "intfloat/e5-mistral-7b-instruct",
        config("mistral", "MistralModel") | CHAT_TOKENIZER | POOLING | shards(2),
        "PyTorch",
        "embedding",
        "embeddings",
        "Embedding architecture 'mistral' not supported",
    ),
    Repo(
        "microsoft/deberta-v3-base",
        config("deberta-v2", "DebertaV2ForMaskedLM") | {"spm.model": SENTENCEPIECE} | weights("model.safetensors"),
        "PyTorch",
        "embedding",
        "embeddings",
        "Embedding architecture 'deberta-v2' not supported",
    ),
    Repo(
        "BAAI/bge-reranker-v2-m3",
        config("xlm-roberta", "XLMRobertaForSequenceClassification", id2label={"0": "LABEL_0"})
        | TOKENIZER
        | {"sentencepiece.bpe.model": SENTENCEPIECE}
        | weights("model.safetensors"),
        "PyTorch",
        "reranker",
        "reranking",
    ),
    Repo(
        "cardiffnlp/twitter-roberta-base-sentiment-latest",
        config("roberta", "RobertaForSequenceClassification", id2label={"0": "bad", "1": "so-so", "2": "good"})
        | TOKENIZER
        | weights("model.safetensors"),
        "PyTorch",
        "unknown",
        "",
        _NO_MLX,
    ),
    Repo(
        "Qwen/Qwen3-Reranker-0.6B",
        chat("qwen3", "Qwen3ForCausalLM") | weights("model.safetensors"),
        "PyTorch",
        "reranker",
        "reranking",
    ),
    Repo(
        "mixedbread-ai/mxbai-rerank-base-v2",
        chat("qwen2", "Qwen2ForCausalLM") | weights("model.safetensors"),
        "PyTorch",
        "reranker",
        "reranking",
        "Reranker architecture 'qwen2' not supported",
    ),
    Repo(
        "jinaai/jina-reranker-v2-base-multilingual",
        config(
            "xlm-roberta",
            "XLMRobertaForSequenceClassification",
            id2label={"0": "LABEL_0"},
            auto_map={"AutoModelForSequenceClassification": "modeling_xlm_roberta.XLMRobertaForSequenceClassification"},
        )
        | TOKENIZER
        | weights("model.safetensors"),
        "PyTorch",
        "reranker",
        "reranking",
        "The reranker needs code of its repo",
    ),
)
