"""config.json and generation_config.json from the values of a GGUF file."""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from mlxknife.adapters.gguf.blocks import BITS, GROUP
from mlxknife.adapters.gguf.families import Family, Shape
from mlxknife.adapters.gguf.header import NotValid
from mlxknife.adapters.gguf.metadata import Metadata
from mlxknife.domain.errors import ValidationError

_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_THETA = 10_000.0
_LLAMA3_LOW, _LLAMA3_HIGH, _LLAMA3_WINDOW = 1.0, 4.0, 8192
_CLOSE = 1e-3


@attrs.frozen
class Traits:
    """What the tensors say of a model."""

    dtype: str
    is_tied: bool
    has_attention_bias: bool
    has_mlp_bias: bool
    forms: dict[str, str]
    """The repacked forms, by the module in mlx-lm that has them."""
    frequencies: npt.NDArray[np.float32] | None = None
    """What the rotary frequencies are divided by."""


def config(
    metadata: Metadata, family: Family, sizes: Shape, traits: Traits, token_ids: dict[str, int]
) -> dict[str, object]:
    """Return the config of a model. Raises ValidationError for positions that mlx-lm would compute otherwise."""
    theta = metadata.number(metadata.of_model("rope.freq_base")) or _THETA
    context = metadata.needed("context_length")
    epsilon = metadata.number(metadata.of_model("attention.layer_norm_rms_epsilon"))
    if epsilon is None:
        msg = "it does not say how its norms are computed"
        raise NotValid(msg)
    found: dict[str, object] = {
        "architectures": [family.class_name],
        "model_type": family.model_type,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.inner,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.head,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": float(f"{epsilon:.6g}"),  # a float32 there: 9.99999974e-06 is meant as 1e-05
        "rope_theta": theta,
        "rope_scaling": _scaling(metadata, sizes, theta, traits.frequencies),
        "tie_word_embeddings": traits.is_tied,
        "vocab_size": sizes.vocabulary,
        "torch_dtype": _DTYPES[traits.dtype],
        **token_ids,
    }
    if family.may_have_biases:
        found |= {"attention_bias": traits.has_attention_bias, "mlp_bias": traits.has_mlp_bias}
    if traits.forms:
        found["quantization"] = _quantization(traits.forms)
    return found


def _quantization(forms: dict[str, str]) -> dict[str, object]:
    """Return the bits of most modules, and by name those that have others."""
    bits = {module: BITS[form] for module, form in forms.items()}
    usual = max(sorted(set(bits.values())), key=list(bits.values()).count)
    found: dict[str, object] = {"group_size": GROUP, "bits": usual}
    for module, count in bits.items():
        if count != usual:
            found[module] = {"group_size": GROUP, "bits": count}
    return found


def _scaling(
    metadata: Metadata, sizes: Shape, theta: float, frequencies: npt.NDArray[np.float32] | None
) -> dict[str, object] | None:
    """Return how positions are stretched."""
    if frequencies is not None:
        return _llama3(sizes, theta, frequencies)
    kind = metadata.text(metadata.of_model("rope.scaling.type"))
    factor = metadata.number(metadata.of_model("rope.scaling.factor"))
    if kind == "linear" and factor is not None:
        return {"rope_type": "linear", "factor": factor}
    if kind in (None, "none") and factor in (None, 1.0):
        return None
    msg = f"A model whose positions are stretched as {kind!a} cannot be taken over from GGUF"
    raise ValidationError(msg)


def _llama3(sizes: Shape, theta: float, frequencies: npt.NDArray[np.float32]) -> dict[str, object]:
    """Find the parameters of Llama 3 that a list of divisors was computed from, or refuse it."""
    factor = float(frequencies.max())
    waves = 2 * math.pi * theta ** (np.arange(0, sizes.head, 2) / sizes.head)
    smooth = (_LLAMA3_WINDOW / waves - _LLAMA3_LOW) / (_LLAMA3_HIGH - _LLAMA3_LOW)
    expected = 1 / ((1 - np.clip(smooth, 0, 1)) / factor + np.clip(smooth, 0, 1))
    if frequencies.shape != expected.shape or not np.allclose(frequencies, expected, rtol=_CLOSE):
        msg = "A model with rotary frequencies of its own cannot be taken over from GGUF"
        raise ValidationError(msg)
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3_LOW,
        "high_freq_factor": _LLAMA3_HIGH,
        "original_max_position_embeddings": _LLAMA3_WINDOW,
    }


def generation_config(token_ids: dict[str, int], ends: tuple[int, ...]) -> dict[str, object]:
    """Return what generation begins and ends with."""
    return {**token_ids, "eos_token_id": list(ends)} if ends else {**token_ids}
