"""Which encoders are known, and what their config.json says. Missing fields have the defaults of transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mlxknife.domain.encoders.rules import fields, rotations
from mlxknife.domain.encoders.values import EncoderConfig, Family, Rotation
from mlxknife.domain.errors import ModelNotRunnable
from mlxknife.domain.models.rules import configs

_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish")
_NO_PADDING = 1
"""The padding token of RoBERTa, which is counted in its positions."""


def read(config: Mapping[str, object]) -> EncoderConfig:
    """Return the encoder that a config.json describes. Raises ModelNotRunnable for one that is not supported."""
    kind = configs.architecture(config)
    if kind is None:
        msg = "config.json names no model_type"
        raise ModelNotRunnable(msg)
    reader = _READERS.get(kind)
    if reader is None:
        msg = f"Embedding architecture '{kind}' not supported (supported: {', '.join(_READERS)})"
        raise ModelNotRunnable(msg)
    return reader(config)


def _bert(config: Mapping[str, object], family: Family = Family.BERT) -> EncoderConfig:
    fields.choice(config, "position_embedding_type", "absolute", ("absolute",), "Position embeddings of type")
    fields.refuse_set(config, "is_decoder", "add_cross_attention")
    width, heads = fields.size(config, "hidden_size", 768), fields.size(config, "num_attention_heads", 12)
    positions = fields.size(config, "max_position_embeddings", 512)
    padding = _padding(config) if family is Family.ROBERTA else 0
    usable = positions - padding - 1 if family is Family.ROBERTA else positions
    if usable < 1:
        fields.refuse("max_position_embeddings", positions)
    head_size = fields.head_size(width, heads)
    return EncoderConfig(
        family=family,
        vocabulary=fields.size(config, "vocab_size", 30522),
        width=width,
        inner=fields.size(config, "intermediate_size", 3072),
        layers=fields.layer_count(config, 12),
        heads=heads,
        kv_heads=heads,
        head_size=head_size,
        max_tokens=usable,
        epsilon=fields.number(config, "layer_norm_eps", 1e-12),
        activation=activation(config, "hidden_act", "gelu"),
        scale=head_size**-0.5,
        positions=positions,
        types=fields.size(config, "type_vocab_size", 2),
        padding=padding,
    )


def _roberta(config: Mapping[str, object]) -> EncoderConfig:
    return _bert(config, Family.ROBERTA)


def _padding(config: Mapping[str, object]) -> int:
    value = config.get("pad_token_id", _NO_PADDING)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        fields.refuse("pad_token_id", value)
    return value


def _modernbert(config: Mapping[str, object]) -> EncoderConfig:
    width, heads = fields.size(config, "hidden_size", 768), fields.size(config, "num_attention_heads", 12)
    layers, head_size = fields.layer_count(config, 22), fields.head_size(width, heads)
    window = fields.size(config, "local_attention", 128) // 2
    everywhere = Rotation(rotations.theta(config, "full_attention", "global_rope_theta", 160_000.0))
    local = Rotation(rotations.theta(config, "sliding_attention", "local_rope_theta", 10_000.0), window)
    every = fields.size(config, "global_attn_every_n_layers", 3)
    is_local = rotations.local_layers(config, layers, lambda layer: layer % every != 0)
    return EncoderConfig(
        family=Family.MODERNBERT,
        vocabulary=fields.size(config, "vocab_size", 50368),
        width=width,
        inner=fields.size(config, "intermediate_size", 1152),
        layers=layers,
        heads=heads,
        kv_heads=heads,
        head_size=rotations.even(head_size),
        max_tokens=fields.size(config, "max_position_embeddings", 8192),
        epsilon=fields.number(config, "norm_eps", 1e-5),
        activation=activation(config, "hidden_activation", "gelu"),
        scale=head_size**-0.5,
        rotations=tuple(local if here else everywhere for here in is_local),
    )


def _qwen3(config: Mapping[str, object]) -> EncoderConfig:
    fields.refuse_set(config, "use_sliding_window")
    heads = fields.size(config, "num_attention_heads", 32)
    layers, head_size = fields.layer_count(config, 32), fields.size(config, "head_dim", 128)
    theta = rotations.theta(config, None, "rope_theta", 1_000_000.0)
    return EncoderConfig(
        family=Family.QWEN3,
        vocabulary=fields.size(config, "vocab_size", 151936),
        width=fields.size(config, "hidden_size", 4096),
        inner=fields.size(config, "intermediate_size", 22016),
        layers=layers,
        heads=heads,
        kv_heads=_kv_heads(config, heads, 32),
        head_size=rotations.even(head_size),
        max_tokens=fields.size(config, "max_position_embeddings", 32768),
        epsilon=fields.number(config, "rms_norm_eps", 1e-6),
        activation=activation(config, "hidden_act", "silu"),
        scale=head_size**-0.5,
        is_causal=config.get("is_causal") is not False,
        rotations=(Rotation(theta),) * layers,
    )


def _gemma3(config: Mapping[str, object]) -> EncoderConfig:
    fields.refuse_set(config, "attn_logit_softcapping")
    heads = fields.size(config, "num_attention_heads", 8)
    layers, head_size = fields.layer_count(config, 26), fields.size(config, "head_dim", 256)
    is_causal = config.get("use_bidirectional_attention") is not True
    window = fields.size(config, "sliding_window", 4096)
    everywhere = Rotation(rotations.theta(config, "full_attention", "rope_theta", 1_000_000.0))
    theta = rotations.theta(config, "sliding_attention", "rope_local_base_freq", 10_000.0)
    local = Rotation(theta, window - 1 if is_causal else window // 2)
    name = "sliding_window_pattern" if "sliding_window_pattern" in config else "_sliding_window_pattern"
    every = fields.size(config, name, 6)
    is_local = rotations.local_layers(config, layers, lambda layer: (layer + 1) % every != 0)
    return EncoderConfig(
        family=Family.GEMMA3,
        vocabulary=fields.size(config, "vocab_size", 262208),
        width=fields.size(config, "hidden_size", 2304),
        inner=fields.size(config, "intermediate_size", 9216),
        layers=layers,
        heads=heads,
        kv_heads=_kv_heads(config, heads, 4),
        head_size=rotations.even(head_size),
        max_tokens=fields.size(config, "max_position_embeddings", 131072),
        epsilon=fields.number(config, "rms_norm_eps", 1e-6),
        activation=activation(config, "hidden_activation", "gelu_pytorch_tanh"),
        scale=fields.number(config, "query_pre_attn_scalar", 256.0) ** -0.5,
        is_causal=is_causal,
        rotations=tuple(local if here else everywhere for here in is_local),
    )


def _kv_heads(config: Mapping[str, object], heads: int, default: int) -> int:
    found = fields.size(config, "num_key_value_heads", default)
    if heads % found:
        fields.refuse("num_key_value_heads", found)
    return found


def activation(config: Mapping[str, object], name: str, default: str) -> str:
    """Return the name of an activation function. Raises ModelNotRunnable."""
    return fields.choice(config, name, default, _ACTIVATIONS, "Activation")


_READERS: dict[str, Callable[[Mapping[str, object]], EncoderConfig]] = {
    "bert": _bert,
    "roberta": _roberta,
    "xlm-roberta": _roberta,
    "camembert": _roberta,
    "modernbert": _modernbert,
    "qwen3": _qwen3,
    "gemma3_text": _gemma3,
}
