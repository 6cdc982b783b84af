"""The reference reader of safetensors, written in Rust."""

from __future__ import annotations

from collections.abc import Callable

import safetensors

read_by_the_reference: Callable[[bytes], object] = safetensors.deserialize
"""Reads the bytes of a whole file. Raises SafetensorError."""
