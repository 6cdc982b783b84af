"""The number of examples for Hypothesis, which ``MLXK_TEST_EXAMPLES`` multiplies."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "laws",
    max_examples=int(100 * float(os.environ.get("MLXK_TEST_EXAMPLES", "1"))),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("laws")
