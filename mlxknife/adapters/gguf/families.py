"""The kinds of models that are taken over, and how their tensors are called on both sides."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from mlxknife.adapters.gguf.header import NotValid
from mlxknife.adapters.gguf.metadata import Metadata
from mlxknife.domain.errors import ValidationError
from mlxknife.domain.hints import Hint, HintCode


@attrs.frozen
class Shape:
    """The sizes that every tensor of a model follows from."""

    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int


@attrs.frozen
class Family:
    """A kind of model: its module in mlx-lm, and what it has besides what all have."""

    model_type: str
    class_name: str
    is_interleaved: bool = False
    """Whether the rows of a rotary pair are beside one another in GGUF; in mlx-lm they are half a head apart."""
    has_qkv_bias: bool = False
    has_head_norms: bool = False
    may_have_biases: bool = False
    """Whether the config can say that attention or MLP have biases."""


_FAMILIES = {
    "llama": Family("llama", "LlamaForCausalLM", is_interleaved=True, may_have_biases=True),
    "qwen2": Family("qwen2", "Qwen2ForCausalLM", has_qkv_bias=True),
    "qwen3": Family("qwen3", "Qwen3ForCausalLM", has_head_norms=True),
}

_ATTENTION = {"attn_q": "q_proj", "attn_k": "k_proj", "attn_v": "v_proj", "attn_output": "o_proj"}
_MLP = {"ffn_gate": "gate_proj", "ffn_up": "up_proj", "ffn_down": "down_proj"}
_STRANGE = (
    "expert_count", "attention.sliding_window", "attention.clamp_kqv", "attention.scale", "logit_scale",
    "residual_scale", "embedding_scale", "attention.max_alibi_bias", "use_parallel_residual",
)  # fmt: skip
"""Values that would change what the model computes in ways that the families here do not."""


def of(metadata: Metadata) -> Family:
    """Return the family of a model. Raises ValidationError for one that cannot be taken over."""
    family = _FAMILIES.get(metadata.architecture)
    if family is None:
        msg = f"Models of the kind {metadata.architecture[:50]!a} cannot be taken over from GGUF yet"
        raise ValidationError(msg, hint=Hint(HintCode.CHOICES, values=", ".join(_FAMILIES)))
    for key in _STRANGE:
        if metadata.values.get(metadata.of_model(key)):
            msg = f"A {family.model_type} model with {key} cannot be taken over from GGUF"
            raise ValidationError(msg)
    if metadata.flag(metadata.of_model("attention.causal")) is False:
        msg = "A model that looks in both directions cannot be taken over from GGUF"
        raise ValidationError(msg)
    return family


def shape(metadata: Metadata, vocabulary: int, tensor_count: int) -> Shape:
    """Return the sizes of a model. Raises NotValid for sizes that cannot be."""
    hidden, heads = metadata.needed("embedding_length"), metadata.needed("attention.head_count")
    head = metadata.whole(metadata.of_model("attention.key_length")) or hidden // heads
    sizes = Shape(
        layers=metadata.needed("block_count"),
        hidden=hidden,
        inner=metadata.needed("feed_forward_length"),
        heads=heads,
        kv_heads=metadata.whole(metadata.of_model("attention.head_count_kv")) or heads,
        head=head,
        vocabulary=vocabulary,
    )
    if head < 2 or head % 2 or sizes.heads % sizes.kv_heads or sizes.layers > tensor_count:  # noqa: PLR2004 - a pair
        msg = "the sizes that it declares do not go together"
        raise NotValid(msg)
    for key in ("attention.value_length", "rope.dimension_count"):
        if metadata.whole(metadata.of_model(key)) not in (None, head):
            msg = f"A model whose {key} is not the size of its heads cannot be taken over from GGUF"
            raise ValidationError(msg)
    return sizes


@attrs.frozen
class Target:
    """What becomes of one tensor: its name in mlx-lm, and the shape it must have."""

    name: str
    shape: tuple[int, ...]
    paired_rows: int | None = None
    """How many rows a head has, where the two of each rotary pair stand beside one another and have to part."""


def targets(family: Family, sizes: Shape, there: Mapping[str, object]) -> dict[str, Target]:
    """Return what a model must consist of, by the names in GGUF; ``there`` decides what it may do without."""
    found = {
        "token_embd.weight": Target("model.embed_tokens.weight", (sizes.vocabulary, sizes.hidden)),
        "output_norm.weight": Target("model.norm.weight", (sizes.hidden,)),
    }
    if "output.weight" in there:
        found["output.weight"] = Target("lm_head.weight", (sizes.vocabulary, sizes.hidden))
    has_biases = biases(family, there)
    for number in range(sizes.layers):
        block, layer = f"blk.{number}", f"model.layers.{number}"
        for name, target in _layer(family, sizes, has_biases).items():
            found[f"{block}.{name}"] = attrs.evolve(target, name=f"{layer}.{target.name}")
    return found


def biases(family: Family, there: Mapping[str, object]) -> tuple[bool, bool]:
    """Tell whether attention and MLP of a model have biases that its config must name."""
    if not family.may_have_biases:
        return (False, False)
    return ("blk.0.attn_output.bias" in there, "blk.0.ffn_down.bias" in there)


def _layer(family: Family, sizes: Shape, has_biases: tuple[bool, bool]) -> dict[str, Target]:
    queries, keys = sizes.heads * sizes.head, sizes.kv_heads * sizes.head
    shapes = {
        "attn_q": (queries, sizes.hidden),
        "attn_k": (keys, sizes.hidden),
        "attn_v": (keys, sizes.hidden),
        "attn_output": (sizes.hidden, queries),
        "ffn_gate": (sizes.inner, sizes.hidden),
        "ffn_up": (sizes.inner, sizes.hidden),
        "ffn_down": (sizes.hidden, sizes.inner),
    }
    found = {
        "attn_norm.weight": Target("input_layernorm.weight", (sizes.hidden,)),
        "ffn_norm.weight": Target("post_attention_layernorm.weight", (sizes.hidden,)),
    }
    if family.has_head_norms:
        found["attn_q_norm.weight"] = Target("self_attn.q_norm.weight", (sizes.head,))
        found["attn_k_norm.weight"] = Target("self_attn.k_norm.weight", (sizes.head,))
    attention_bias, mlp_bias = has_biases
    for names, place, is_biased in ((_ATTENTION, "self_attn", attention_bias), (_MLP, "mlp", mlp_bias)):
        for name, target in names.items():
            paired = sizes.head if family.is_interleaved and name in ("attn_q", "attn_k") else None
            found[f"{name}.weight"] = Target(f"{place}.{target}.weight", shapes[name], paired)
            if is_biased or (family.has_qkv_bias and name in ("attn_q", "attn_k", "attn_v")):
                found[f"{name}.bias"] = Target(f"{place}.{target}.bias", shapes[name][:1], paired)
    return found
