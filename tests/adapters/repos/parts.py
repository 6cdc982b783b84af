"""The pieces that real repos are made of, and the packages that judge whether one runs."""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.builder import TEMPLATE, Files, gguf_files, json_bytes, safetensors
from tests.builder import TOKENIZER as SMALLEST_TOKENIZER

PICKLE = b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)
SENTENCEPIECE = b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02"
GGUF = gguf_files()["tiny-chat.Q4_K_M.gguf"]
Q4 = {"quantization": {"group_size": 64, "bits": 4}, "quantization_config": {"group_size": 64, "bits": 4}}

TOKENIZER: Files = {
    "tokenizer.json": SMALLEST_TOKENIZER,
    "tokenizer_config.json": json_bytes({"tokenizer_class": "PreTrainedTokenizerFast"}),
    "special_tokens_map.json": json_bytes({"eos_token": "</s>"}),
}
CHAT_TOKENIZER: Files = TOKENIZER | {"tokenizer_config.json": json_bytes({"chat_template": TEMPLATE})}
IMAGES: Files = {"preprocessor_config.json": json_bytes({"image_processor_type": "SiglipImageProcessor"})}
SOUNDS: Files = {"preprocessor_config.json": json_bytes({"feature_extractor_type": "WhisperFeatureExtractor"})}
POOLING: Files = {
    "modules.json": json_bytes([{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"}]),
    "1_Pooling/config.json": json_bytes({"pooling_mode_mean_tokens": True}),
    "config_sentence_transformers.json": json_bytes({"similarity_fn_name": "cosine"}),
}


@attrs.frozen
class Repo:
    """A repo as it lies in the cache, and the verdict on it; without a reason it runs."""

    name: str
    files: Files
    framework: str
    model_type: str
    capabilities: str
    reason: str | None = None
    """Words of the reason why it does not run."""
    integrity: str = "structural"


def config(model_type: str | None, *classes: str, **settings: object) -> Files:
    """Return a config.json."""
    declared: dict[str, object] = {"model_type": model_type} if model_type else {}
    if classes:
        declared["architectures"] = list(classes)
    return {"config.json": json_bytes(declared | settings)}


def weights(*names: str, made_for: str = "pt") -> Files:
    """Return whole safetensors files, each with a tensor of its own."""
    return {name: safetensors({f"w{at}": ("F16", (4, 8))}, {"format": made_for}) for at, name in enumerate(names)}


def mlx(*names: str) -> Files:
    return weights(*names or ("model.safetensors",), made_for="mlx")


def shards(count: int, *, made_for: str = "pt") -> Files:
    """Return shards of safetensors with their index."""
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    return weights(*names, made_for=made_for) | index("model.safetensors", names)


def index(stem: str, names: list[str]) -> Files:
    """Return an index that expects one tensor in each file."""
    weight_map = {f"w{at}": name for at, name in enumerate(names)}
    return {f"{stem}.index.json": json_bytes({"metadata": {"total_size": 64}, "weight_map": weight_map})}


def chat(model_type: str, *classes: str, **settings: object) -> Files:
    """Return config and tokenizer of a chat model."""
    return config(model_type, *classes, **settings) | CHAT_TOKENIZER


_LM = "gemma3 gemma3_text gemma3n gpt_oss lfm2-vl llama mamba phi3 qwen2 qwen2_vl qwen3 qwen3_vl rwkv7 deepseek_v3"
_VLM = "dinov2 gemma3 gemma3n lfm2_vl llama qwen2 qwen2_vl qwen3 qwen3_vl mamba"
_ENCODERS = "bert gemma3_embedding modernbert qwen3_embedding siglip xlm_roberta"


def site_packages(folder: Path) -> Path:
    """Write mlx-lm 0.32.2 and mlx-vlm 0.7.10, as far as they say what they know of the models here."""
    sources = {
        "mlx/lib/libmlx.so": "",
        "mlx_lm/_version.py": '__version__ = "0.32.2"\n',
        "mlx_lm/utils.py": 'MODEL_REMAPPING = {\n    "mistral": "llama",\n    "kimi_k2": "deepseek_v3",\n}\n',
        "mlx_vlm/version.py": '__version__ = "0.7.10"\n',
        "mlx_vlm/utils.py": 'MODEL_REMAPPING = {\n    "lfm2-vl": "lfm2_vl",\n    "mistral": "llama",\n}\n',
    }
    sources |= {f"mlx_lm/models/{name}.py": "class Model:\n    pass\n" for name in _LM.split()}
    for name in f"{_VLM} {_ENCODERS}".split():
        sources[f"mlx_vlm/models/{name}/__init__.py"] = f"from .{name} import Model\n"
        sources[f"mlx_vlm/models/{name}/{name}.py"] = "class Model:\n    pass\n"
    for file, text in sources.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder
