"""config.json and generation_config.json from the metadata and the tensors of a GGUF file."""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from mlxknife.adapters.gguf.architectures import Architecture, Dimensions
from mlxknife.adapters.gguf.header import InvalidGguf
from mlxknife.adapters.gguf.metadata import GgufMetadata
from mlxknife.adapters.gguf.quantization import BITS, GROUP_SIZE
from mlxknife.domain.errors import ValidationError

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DEFAULT_THETA = 10_000.0
_LLAMA3_LOW, _LLAMA3_HIGH, _LLAMA3_CONTEXT = 1.0, 4.0, 8192
_TOLERANCE = 1e-3


@attrs.frozen
class WeightTraits:
    """The facts for config.json that only the tensors have."""

    dtype: str
    is_tied: bool
    has_attention_bias: bool
    has_mlp_bias: bool
    quantized_modules: dict[str, str]
    """The ggml type of every quantised module, by its name in mlx-lm."""
    rope_divisors: npt.NDArray[np.float32] | None = None
    """The divisors of the rotary frequencies, for a model that has them."""


def model_config(
    metadata: GgufMetadata,
    architecture: Architecture,
    sizes: Dimensions,
    traits: WeightTraits,
    token_ids: dict[str, int],
) -> dict[str, object]:
    """Return the content of config.json.

    Raises ValidationError for a position encoding that mlx-lm would compute differently, InvalidGguf.
    """
    theta = metadata.positive_number(metadata.arch_key("rope.freq_base")) or _DEFAULT_THETA
    context_length = metadata.required_integer("context_length")
    epsilon_key = metadata.arch_key("attention.layer_norm_rms_epsilon")
    epsilon = metadata.positive_number(epsilon_key)
    if epsilon is None:
        msg = f"{epsilon_key} is missing"
        raise InvalidGguf(msg)
    found: dict[str, object] = {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": context_length,
        "rms_norm_eps": float(f"{epsilon:.6g}"),  # GGUF stores a float32: 9.99999974e-06 stands for 1e-05
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(metadata, sizes, theta, traits.rope_divisors),
        "tie_word_embeddings": traits.is_tied,
        "vocab_size": sizes.vocabulary,
        "torch_dtype": _DTYPES[traits.dtype],
        **token_ids,
    }
    if architecture.may_have_biases:
        found |= {"attention_bias": traits.has_attention_bias, "mlp_bias": traits.has_mlp_bias}
    if traits.quantized_modules:
        found["quantization"] = _quantization(traits.quantized_modules)
    return found


def _quantization(modules: dict[str, str]) -> dict[str, object]:
    """Return the bits of most modules, and by name every module with other bits."""
    bits = {module: BITS[ggml_type] for module, ggml_type in modules.items()}
    usual = max(sorted(set(bits.values())), key=list(bits.values()).count)
    found: dict[str, object] = {"group_size": GROUP_SIZE, "bits": usual}
    for module, count in bits.items():
        if count != usual:
            found[module] = {"group_size": GROUP_SIZE, "bits": count}
    return found


def _rope_scaling(
    metadata: GgufMetadata, sizes: Dimensions, theta: float, divisors: npt.NDArray[np.float32] | None
) -> dict[str, object] | None:
    if divisors is not None:
        return _llama3_scaling(sizes, theta, divisors)
    kind = metadata.string(metadata.arch_key("rope.scaling.type"))
    factor = metadata.positive_number(metadata.arch_key("rope.scaling.factor"))
    if kind == "linear" and factor is not None:
        return {"rope_type": "linear", "factor": factor}
    if kind in (None, "none") and factor in (None, 1.0):
        return None
    msg = f"A model with the rope scaling {kind!a} cannot be imported from GGUF"
    raise ValidationError(msg)


def _llama3_scaling(sizes: Dimensions, theta: float, divisors: npt.NDArray[np.float32]) -> dict[str, object]:
    """Return the Llama 3 parameters that produce these divisors. Raises ValidationError when none do."""
    factor = float(divisors.max())
    waves = 2 * math.pi * theta ** (np.arange(0, sizes.head_dim, 2) / sizes.head_dim)
    smooth = (_LLAMA3_CONTEXT / waves - _LLAMA3_LOW) / (_LLAMA3_HIGH - _LLAMA3_LOW)
    expected = 1 / ((1 - np.clip(smooth, 0, 1)) / factor + np.clip(smooth, 0, 1))
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=_TOLERANCE):
        msg = "A model with custom rotary frequencies cannot be imported from GGUF"
        raise ValidationError(msg)
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3_LOW,
        "high_freq_factor": _LLAMA3_HIGH,
        "original_max_position_embeddings": _LLAMA3_CONTEXT,
    }


def generation_config(token_ids: dict[str, int], end_ids: tuple[int, ...]) -> dict[str, object]:
    """Return the token ids for generation_config.json."""
    return {**token_ids, "eos_token_id": list(end_ids)} if end_ids else {**token_ids}
