"""The first release of mlx-lm and mlx-vlm that supports an architecture, taken from the packages' own wheels.

mlx-lm 0.15.0 to 0.32.2 and mlx-vlm 0.1.0 to 0.7.10; names that all of them support are left out. Where a version
is missing from the package index, the table has the next one.
"""

from __future__ import annotations

_MLX_LM = {
    "0.15.1": "recurrent_gemma",
    "0.15.3": "deepseek_v2 gpt_neox",
    "0.17.1": "deepseek phimoe",
    "0.18.1": "nemotron",
    "0.19.0": "mamba",
    "0.20.1": "falcon_mamba hunyuan",
    "0.20.2": "olmo2",
    "0.20.3": "exaone",
    "0.20.5": "cohere2",
    "0.21.0": "deepseek_v3",
    "0.21.1": "internlm3",
    "0.21.2": "helium",
    "0.21.4": "granite",
    "0.21.5": "plamo2",
    "0.22.0": "gemma3_text olmoe",
    "0.22.1": "gemma3 minicpm3",
    "0.22.4": "llama4",
    "0.23.0": "glm4 kimi_vl nemotron-nas",
    "0.24.0": "baichuan_m1 qwen3 qwen3_moe",
    "0.24.1": "mimo mistral3",
    "0.25.0": "pixtral",
    "0.25.3": "afm7 gemma3n",
    "0.26.0": "bitnet dots1 ernie4_5 ernie4_5_moe smollm3",
    "0.26.1": "exaone4 kimi_k2 lfm2",
    "0.26.2": "glm4_moe",
    "0.26.3": "gpt_oss hunyuan_v1_dense",
    "0.26.4": "bailing_moe lfm2-vl qwen2_5_vl qwen2_vl seed_oss",
    "0.27.1": "apertus granitemoe longcat_flash nemotron_h",
    "0.28.0": "Klear glm granitemoehybrid lille-130m llama4_text mamba2 qwen3_next",
    "0.28.1": "falcon_h1",
    "0.28.2": "llava olmo3",
    "0.28.3": "jamba lfm2_moe nanochat qwen3_vl qwen3_vl_moe",
    "0.28.4": "afmoe bailing_moe_linear deepseek_v32 kimi_linear minimax ministral3",
    "0.30.0": "mimo_v2_flash",
    "0.30.2": "exaone_moe iquestcoder minimax_m2 rwkv7 solar_open youtu_llm",
    "0.30.4": "glm4_moe_lite iquestloopcoder",
    "0.30.5": "telechat3",
    "0.30.6": "kimi_k25 longcat_flash_ngram step3p5",
    "0.30.7": "glm_moe_dsa qwen3_5 qwen3_5_moe",
    "0.31.1": "joyai_llm_flash",
    "0.31.2": "gemma4 gemma4_text",
    "0.32.0": (
        "bailing_hybrid bailing_moe_v3 deepseek_v41 deepseek_v41_text gear gemma4_unified gptj kimi_k3 laguna "
        "mellum minimax_m3_vl mistral4 muse_glimmer nanbeige olmo_hybrid plamo3 spark2_5 talkie xverse"
    ),
    "0.32.1": "prism_hadamard_qwen35",
    "0.32.2": "muse_spark",
}

_MLX_VLM = {
    "0.1.1": "florence2 molmo",
    "0.1.2": "idefics3",
    "0.1.5": "deepseek_vl_v2",
    "0.1.12": "qwen2_5_vl",
    "0.1.14": "smolvlm",
    "0.1.15": "aya_vision",
    "0.1.17": "gemma3",
    "0.1.19": "mistral3",
    "0.1.22": "llama4",
    "0.1.23": "internvl_chat kimi_vl",
    "0.2.0": "gemma3n",
    "0.3.3": "cohere2_vision glm4v_moe lfm2-vl lfm2_vl",
    "0.3.4": "qwen3_vl qwen3_vl_moe",
    "0.3.5": "deepseekocr",
    "0.3.6": "fastvlm glm4v llava_qwen2",
    "0.3.10": "deepseekocr_2 ernie4_5_moe_vl hunyuan_vl jina_vlm jvlm molmo2 paddleocr_vl qwen3_omni_moe",
    "0.3.11": "glm_ocr",
    "0.3.12": "dots_ocr qwen3_5 qwen3_5_moe",
    "0.4.0": "minicpmo moondream3 phi4-siglip phi4_siglip phi4mm",
    "0.4.1": "molmo_point",
    "0.4.2": "sam3 sam3_video",
    "0.4.3": (
        "falcon-perception falcon_ocr falcon_perception gemma4 granite-vision granite4-vision granite4_vision "
        "granite_vision rf-detr rfdetr sam3.1_video sam3_1"
    ),
    "0.5.0": "kimi_k25 nemotron_h_nano_omni nemotronh_nano_omni_reasoning_v3 sam3d_body youtu_vl",
    "0.6.0": (
        "deepseek_v4 hrm_text laguna lfm2_moe llada2_moe minicpmv4_6 nemotron_labs_diffusion rt_detr_v2 "
        "step3p7 zaya1_vl"
    ),
    "0.6.1": "cohere2_moe cohere2moe gemma4_unified locateanything",
    "0.6.3": "diffusion_gemma",
    "0.6.4": "glm_moe_dsa minimax_m3 minimax_m3_vl moondream2 qwen2 unlimited-ocr unlimited_ocr",
    "0.6.5": "deepseek_v3 deepseek_v32 gemma3_text lfm2 llama mistral nemotron_h qwen3",
    "0.6.6": (
        "cohere cohere2 dbrx deepseek deepseek_v2 exaone exaone4 gemma gemma2 gemma4_text glm glm4 glm4_moe "
        "gpt2 gpt_bigcode gpt_neox gpt_oss granite granitemoe helium hunyuan internlm2 internlm3 llama4_text "
        "minicpm minicpm3 ministral3 mixtral nemotron olmo2 olmoe phi phi3 phi3small phimoe phixtral qwen "
        "qwen2_moe qwen3_moe qwen3_next recurrent_gemma smollm3 stablelm starcoder2"
    ),
    "0.6.7": "inkling",
    "0.6.8": (
        "afmoe apertus baichuan_m1 bailing_moe dots1 ernie4_5 ernie4_5_moe exaone_moe hunyuan_v1_dense "
        "llmjpvl mimo mimo_v2_flash nemotron-nas nemotron_nas olmo3 openelm plamo2vl seed_oss solar_open "
        "telechat3"
    ),
    "0.6.9": (
        "bert colidefics3 colqwen2_5 gemma3_embedding inkling_mm_model kimi_k3 lfm2_embedding llama_bidirec "
        "llama_nemotron_vl_embedding mage_vl modernbert qwen3_embedding qwen3_vl_embedding siglip xlm_roberta"
    ),
    "0.6.12": "muse_glimmer",
    "0.6.13": "cohere_compass",
    "0.6.14": (
        "afm7 bailing_moe_linear bitnet falcon_h1 falcon_mamba glm4_moe_lite got granitemoehybrid iquestcoder "
        "iquestloopcoder jamba joyai_llm_flash kimi_k2 kimi_linear klear lille-130m lille_130m longcat_flash "
        "longcat_flash_ngram mamba mamba2 mellum minimax minimax_m2 ministral3_embedding nanochat "
        "nemotron_parse nemotron_voicechat olmo phi-msft plamo plamo2 rwkv7 step3p5 youtu_llm"
    ),
    "0.6.17": "gliner2_5 glm5_next qwen4_exp",
    "0.7.0": (
        "dinov2 k2_horizon llava_onevision longcat_flash_sparse moge3 openai_privacy_filter video_depth_anything z1t"
    ),
    "0.7.1": "dinov2_with_registers hy_v4 indic_ocr pp_doclayout_v3 spark2_5",
    "0.7.2": "mistral_large3 moondream1 prism_hadamard_qwen35 sam3d_objects sapiens2",
    "0.7.3": "limite mimo_v2 qwen3_5_text",
    "0.7.4": "deepseek_v41 internvl lfm2_colbert lfm2_encoder qwen3_5_moe_text",
    "0.7.5": "decider2 laya",
    "0.7.8": "clef d1 d1_omni embedding_gemma2 kolibri1 minicpmv4_7 xing4_0",
    "0.7.9": "nemotron_h_omni nemotron_h_puzzle",
    "0.7.10": "flint muse_spark muse_spark_open",
}

_TABLES = {"mlx-lm": _MLX_LM, "mlx-vlm": _MLX_VLM}


def first_version(package: str, architecture: str) -> str | None:
    """Return the first release of a package that supports an architecture, or None where the table has none."""
    for version, names in _TABLES[package].items():
        if architecture in names.split():
            return version
    return None
