"""Encoders: the network that config.json describes, and what follows it."""

from __future__ import annotations

from enum import Enum

import attrs


class Family(Enum):
    """Encoders that compute alike."""

    BERT = "bert"
    ROBERTA = "roberta"
    """BERT whose positions begin after the padding token."""
    MODERNBERT = "modernbert"
    QWEN3 = "qwen3"
    GEMMA3 = "gemma3"


class Pooling(Enum):
    """How the vectors of the tokens of a text become one vector."""

    CLS = "cls"
    """The vector of the first token."""
    MEAN = "mean"
    LAST = "last"
    """The vector of the last token."""


@attrs.frozen
class Rotation:
    """Rotary position embeddings, and the tokens that a layer with them attends to."""

    theta: float
    window: int | None = None
    """The tokens on each side that a token attends to; None for all of them."""


@attrs.frozen
class EncoderConfig:
    """The sizes and forms of a network. Fields that a family does not have keep their default."""

    family: Family
    vocabulary: int
    width: int
    """The length of a token's vector."""
    inner: int
    """The length of a token's vector inside a feed-forward layer."""
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    max_tokens: int
    """The longest text that the positions allow."""
    epsilon: float
    activation: str
    scale: float
    """The factor of the attention scores."""
    positions: int = 0
    """The rows of the table of positions."""
    types: int = 0
    """The rows of the table of token types."""
    padding: int = 0
    """The token that pads, from which the positions of RoBERTa are counted."""
    is_causal: bool = False
    """Whether a token attends only to those before it."""
    rotations: tuple[Rotation, ...] = ()
    """The rotation of each layer, where the family has rotary position embeddings."""


@attrs.frozen
class DenseConfig:
    """A linear layer that follows the pooling."""

    folder: str
    inputs: int
    outputs: int
    has_bias: bool
    activation: str


@attrs.frozen
class EmbedderConfig:
    """Everything that computes a vector: the encoder, its pooling, and the linear layers after that."""

    encoder: EncoderConfig
    pooling: Pooling
    dense: tuple[DenseConfig, ...] = ()

    @property
    def dimensions(self) -> int:
        """The length of a vector."""
        return self.dense[-1].outputs if self.dense else self.encoder.width


@attrs.frozen
class RerankerConfig:
    """Everything that computes a score: an encoder, its pooling, and its head."""

    encoder: EncoderConfig
    pooling: Pooling
    activation: str
    """The activation function of the head."""
    answers: tuple[str, str] | None = None
    """The tokens for a right and a wrong document of a decoder, whose logits are compared."""
