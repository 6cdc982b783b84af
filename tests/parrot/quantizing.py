"""Making a parrot's weights small: it may stammer afterwards."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
from mlx_lm.utils import load_model, load_tokenizer, quantize_model, save

_BITS, _GROUP = 4, 32


def quantize_parrot(source: Path, folder: Path) -> None:
    """Write a parrot with weights of four bits and half-precision scales, as published models have them."""
    mx.set_default_device(mx.Device(mx.cpu))
    model, config = load_model(source)
    tokenizer = load_tokenizer(source)  # type: ignore[no-untyped-call]  # mlx-lm gives it no types
    model.set_dtype(mx.float16)
    quantized, settings = quantize_model(model, config, _GROUP, _BITS)
    save(folder, source, quantized, tokenizer, settings)
