"""The architectures that can be imported, and the name in mlx-lm of each of their tensors."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from mlxknife.adapters.gguf.header import InvalidGguf
from mlxknife.adapters.gguf.metadata import GgufMetadata
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode


@attrs.frozen
class Dimensions:
    """The sizes that determine the shape of every tensor."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int


@attrs.frozen
class Architecture:
    """A supported architecture: its module in mlx-lm, and how it differs from the others."""

    model_type: str
    class_name: str
    is_interleaved: bool = False
    """Whether GGUF keeps the two rows of each rotary pair side by side; in mlx-lm they are half a head apart."""
    has_qkv_bias: bool = False
    has_head_norms: bool = False
    may_have_biases: bool = False
    """Whether config.json can declare biases of attention and MLP."""


_ARCHITECTURES = {
    "llama": Architecture("llama", "LlamaForCausalLM", is_interleaved=True, may_have_biases=True),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", has_qkv_bias=True),
    "qwen3": Architecture("qwen3", "Qwen3ForCausalLM", has_head_norms=True),
}

_ATTENTION = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj"}
_MLP = {"ffn_gate": "gate_proj", "ffn_up": "up_proj", "ffn_down": "down_proj"}
_UNSUPPORTED = (
    "expert_count", "attention.sliding_window", "attention.clamp_kqv", "attention.scale", "logit_scale",
    "residual_scale", "embedding_scale", "attention.max_alibi_bias", "use_parallel_residual",
)  # fmt: skip
"""Metadata that changes the computation in a way that these architectures do not have in mlx-lm."""


def find(metadata: GgufMetadata) -> Architecture:
    """Return the architecture of a model. Raises ValidationError for one that is not supported."""
    architecture = _ARCHITECTURES.get(metadata.architecture)
    if architecture is None:
        msg = f"The architecture {metadata.architecture[:50]!a} cannot be imported from GGUF yet"
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(_ARCHITECTURES)))
    for key in _UNSUPPORTED:
        if metadata.values.get(metadata.arch_key(key)):
            msg = f"A {architecture.model_type} model with {key} cannot be imported from GGUF"
            raise ValidationError(msg)
    if metadata.boolean(metadata.arch_key("attention.causal")) is False:
        msg = "A model without causal attention cannot be imported from GGUF"
        raise ValidationError(msg)
    return architecture


def dimensions(metadata: GgufMetadata, vocabulary: int, tensor_count: int) -> Dimensions:
    """Return the sizes of a model. Raises InvalidGguf for sizes that contradict each other, ValidationError."""
    hidden, heads = metadata.required_integer("embedding_length"), metadata.required_integer("attention.head_count")
    head_dim = metadata.integer(metadata.arch_key("attention.key_length")) or hidden // heads
    sizes = Dimensions(
        layers=metadata.required_integer("block_count"),
        hidden=hidden,
        intermediate=metadata.required_integer("feed_forward_length"),
        heads=heads,
        kv_heads=metadata.integer(metadata.arch_key("attention.head_count_kv")) or heads,
        head_dim=head_dim,
        vocabulary=vocabulary,
    )
    if head_dim < 2 or head_dim % 2 or sizes.heads % sizes.kv_heads or sizes.layers > tensor_count:  # noqa: PLR2004 - a pair
        msg = "its declared sizes contradict each other"
        raise InvalidGguf(msg)
    for key in ("attention.value_length", "rope.dimension_count"):
        if metadata.integer(metadata.arch_key(key)) not in (None, head_dim):
            msg = f"A model whose {key} is not its head size cannot be imported from GGUF"
            raise ValidationError(msg)
    return sizes


@attrs.frozen
class TensorMapping:
    """What a GGUF tensor becomes: its name in mlx-lm, and the shape that it must have."""

    name: str
    shape: tuple[int, ...]
    interleaved_head_dim: int | None = None
    """The rows of one head, where GGUF interleaves its rotary pairs and the import has to separate them."""


def tensor_mappings(
    architecture: Architecture, sizes: Dimensions, available: Collection[str]
) -> dict[str, TensorMapping]:
    """Return the mapping of every tensor that a model must have, by its GGUF name.

    ``available`` are the names in the file. They decide about the optional tensors: the output head and the biases.
    """
    found = {
        "token_embd.weight": TensorMapping("model.embed_tokens.weight", (sizes.vocabulary, sizes.hidden)),
        "output_norm.weight": TensorMapping("model.norm.weight", (sizes.hidden,)),
    }
    if "output.weight" in available:
        found["output.weight"] = TensorMapping("lm_head.weight", (sizes.vocabulary, sizes.hidden))
    has_biases = declared_biases(architecture, available)
    for number in range(sizes.layers):
        block, layer = f"blk.{number}", f"model.layers.{number}"
        for name, mapping in _layer(architecture, sizes, has_biases).items():
            found[f"{block}.{name}"] = attrs.evolve(mapping, name=f"{layer}.{mapping.name}")
    return found


def declared_biases(architecture: Architecture, available: Collection[str]) -> tuple[bool, bool]:
    """Return whether attention and MLP have biases that config.json must declare."""
    if not architecture.may_have_biases:
        return (False, False)
    return ("blk.0.attn_output.bias" in available, "blk.0.ffn_down.bias" in available)


def _layer(architecture: Architecture, sizes: Dimensions, has_biases: tuple[bool, bool]) -> dict[str, TensorMapping]:
    queries, keys = sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim
    shapes = {
        "attn_q": (queries, sizes.hidden),
        "attn_k": (keys, sizes.hidden),
        "attn_v": (keys, sizes.hidden),
        "attn_output": (sizes.hidden, queries),
        "ffn_gate": (sizes.intermediate, sizes.hidden),
        "ffn_up": (sizes.intermediate, sizes.hidden),
        "ffn_down": (sizes.hidden, sizes.intermediate),
    }
    found = {
        "attn_norm.weight": TensorMapping("input_layernorm.weight", (sizes.hidden,)),
        "ffn_norm.weight": TensorMapping("post_attention_layernorm.weight", (sizes.hidden,)),
    }
    if architecture.has_head_norms:
        found["attn_q_norm.weight"] = TensorMapping("self_attn.q_norm.weight", (sizes.head_dim,))
        found["attn_k_norm.weight"] = TensorMapping("self_attn.k_norm.weight", (sizes.head_dim,))
    attention_bias, mlp_bias = has_biases
    for names, module, is_biased in ((_ATTENTION, "self_attn", attention_bias), (_MLP, "mlp", mlp_bias)):
        for name, projection in names.items():
            head_dim = sizes.head_dim if architecture.is_interleaved and name in ("attn_q", "attn_k") else None
            found[f"{name}.weight"] = TensorMapping(f"{module}.{projection}.weight", shapes[name], head_dim)
            if is_biased or (architecture.has_qkv_bias and name in ("attn_q", "attn_k", "attn_v")):
                found[f"{name}.bias"] = TensorMapping(f"{module}.{projection}.bias", shapes[name][:1], head_dim)
    return found
