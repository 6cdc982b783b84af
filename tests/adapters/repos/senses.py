"""Models that see, hear or speak."""

from __future__ import annotations

from tests.adapters.repos.parts import (
    CHAT_TOKENIZER,
    IMAGES,
    PICKLE,
    Q4,
    SENTENCEPIECE,
    SOUNDS,
    TOKENIZER,
    Repo,
    chat,
    config,
    mlx,
    shards,
    weights,
)
from tests.builder import Files, json_bytes

_NO_SPEECH = "Speech models are not executable with mlx-lm"
_NO_MLX = "Framework PyTorch not executable with mlx-lm (requires MLX)"
_PROCESSOR: Files = {"processor_config.json": json_bytes({"processor_class": "Gemma3Processor"})}
_TEXT: dict[str, object] = {"max_position_embeddings": 32768}

SEEING = (
    Repo(
        "mlx-community/gemma-3-12b-it-4bit",
        chat("gemma3", "Gemma3ForConditionalGeneration", vision_config={"depth": 2}, text_config=_TEXT, **Q4)
        | shards(2, made_for="mlx")
        | IMAGES
        | _PROCESSOR
        | {"tokenizer.model": SENTENCEPIECE},
        "MLX",
        "chat",
        "text-generation chat vision",
    ),
    Repo(
        "mlx-community/gemma-3n-E2B-it-4bit",
        chat("gemma3n", "Gemma3nForConditionalGeneration", vision_config={"depth": 2}, audio_config={"depth": 2}, **Q4)
        | mlx()
        | IMAGES,
        "MLX",
        "chat",
        "text-generation chat vision audio",
    ),
    Repo(
        "mlx-community/Qwen2-VL-2B-Instruct-4bit",
        chat("qwen2_vl", "Qwen2VLForConditionalGeneration", vision_config={"depth": 2}, **Q4) | mlx() | IMAGES,
        "MLX",
        "chat",
        "text-generation chat vision",
    ),
    Repo(
        "me/Qwen3-VL-converted-with-mlx-lm",
        chat("qwen3_vl", "Qwen3VLForConditionalGeneration", text_config=_TEXT, **Q4) | mlx(),
        "MLX",
        "chat",
        "text-generation chat vision",
    ),
    Repo(
        "mlx-community/LFM2-VL-1.6B-4bit",
        chat("lfm2-vl", "Lfm2VlForConditionalGeneration", vision_config={"depth": 2}, text_config=_TEXT, **Q4)
        | mlx()
        | IMAGES
        | _PROCESSOR,
        "MLX",
        "chat",
        "text-generation chat vision",
    ),
    Repo(
        "openai/clip-vit-base-patch32",
        config("clip", "CLIPModel", vision_config={"depth": 2}, text_config={})
        | TOKENIZER
        | IMAGES
        | weights("model.safetensors")
        | {"pytorch_model.bin": PICKLE},
        "PyTorch",
        "embedding",
        "embeddings vision",
        "Embedding architecture 'clip' not supported",
    ),
    Repo(
        "google/siglip-base-patch16-224",
        config("siglip", "SiglipModel", vision_config={"depth": 2}, text_config={})
        | TOKENIZER
        | IMAGES
        | weights("model.safetensors"),
        "PyTorch",
        "embedding",
        "embeddings vision",
        "Embedding architecture 'siglip' not supported",
    ),
    Repo(
        "google/siglip2-base-patch16-naflex",
        config("siglip2", "Siglip2Model", vision_config={"depth": 2}, text_config={})
        | TOKENIZER
        | IMAGES
        | weights("model.safetensors"),
        "PyTorch",
        "embedding",
        "embeddings vision",
        "Embedding architecture 'siglip2' not supported",
    ),
    Repo(
        "google/vit-base-patch16-224",
        config("vit", "ViTForImageClassification") | IMAGES | weights("model.safetensors"),
        "PyTorch",
        "unknown",
        "",
        _NO_MLX,
    ),
    Repo(
        "facebook/dinov2-base",
        config("dinov2", "Dinov2Model") | IMAGES | weights("model.safetensors"),
        "PyTorch",
        "unknown",
        "",
        _NO_MLX,
    ),
)

HEARING = (
    Repo(
        "mlx-community/whisper-tiny-mlx",
        config("whisper", n_mels=80) | {"weights.npz": PICKLE},
        "MLX",
        "audio",
        "audio",
        _NO_SPEECH,
    ),
    Repo(
        "mlx-community/parakeet-tdt-0.6b-v2",
        config(None, target="nemo.collections.asr.models.rnnt_bpe_models.EncDecRNNTBPEModel", sample_rate=16000)
        | mlx()
        | {"tokenizer.vocab": b"<unk>\t0\n"},
        "MLX",
        "audio",
        "audio",
        _NO_SPEECH,
    ),
    Repo(
        "mlx-community/Qwen3-ASR-0.6B-8bit",
        chat("qwen3_asr", "Qwen3ASRForConditionalGeneration", thinker_config={"audio_config": {"depth": 2}}, **Q4)
        | mlx()
        | SOUNDS,
        "MLX",
        "audio",
        "audio",
        _NO_SPEECH,
    ),
    Repo(
        "facebook/w2v-bert-2.0",
        config("wav2vec2-bert", "Wav2Vec2BertModel") | SOUNDS | weights("model.safetensors"),
        "PyTorch",
        "audio",
        "audio",
        _NO_MLX,
    ),
    Repo(
        "mlx-community/Kokoro-82M-bf16",
        config(None, istftnet={"gen_istft_n_fft": 20}, dim_in=64, plbert={})
        | mlx("kokoro-v1_0.safetensors")
        | weights("voices/af_heart.safetensors")
        | {"voices/af_heart.pt": PICKLE},
        "MLX",
        "audio",
        "audio",
        _NO_SPEECH,
    ),
    Repo(
        "mlx-community/Qwen2.5-Omni-3B-4bit",
        config(
            "qwen2_5_omni",
            "Qwen2_5OmniModel",
            thinker_config={"audio_config": {"depth": 2}, "vision_config": {"depth": 2}, "text_config": _TEXT},
            **Q4,
        )
        | CHAT_TOKENIZER
        | mlx()
        | {"preprocessor_config.json": json_bytes({"image_processor_type": "A", "feature_extractor_type": "B"})},
        "MLX",
        "chat",
        "text-generation chat vision audio",
        "Model architecture 'qwen2_5_omni' not supported by mlx-lm 0.32.2; mlxk does not run models with mlx-vlm yet",
    ),
)
