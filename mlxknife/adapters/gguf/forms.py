"""The forms that GGUF stores numbers in: how they are called, and how many bytes a block of them takes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Form:
    """One form: so many weights in so many bytes."""

    name: str
    weights: int
    size_bytes: int


_FORMS = {
    0: Form("F32", 1, 4),
    1: Form("F16", 1, 2),
    2: Form("Q4_0", 32, 18),
    3: Form("Q4_1", 32, 20),
    6: Form("Q5_0", 32, 22),
    7: Form("Q5_1", 32, 24),
    8: Form("Q8_0", 32, 34),
    9: Form("Q8_1", 32, 40),
    10: Form("Q2_K", 256, 84),
    11: Form("Q3_K", 256, 110),
    12: Form("Q4_K", 256, 144),
    13: Form("Q5_K", 256, 176),
    14: Form("Q6_K", 256, 210),
    15: Form("Q8_K", 256, 292),
    16: Form("IQ2_XXS", 256, 66),
    17: Form("IQ2_XS", 256, 74),
    18: Form("IQ3_XXS", 256, 98),
    19: Form("IQ1_S", 256, 50),
    20: Form("IQ4_NL", 32, 18),
    21: Form("IQ3_S", 256, 110),
    22: Form("IQ2_S", 256, 82),
    23: Form("IQ4_XS", 256, 136),
    24: Form("I8", 1, 1),
    25: Form("I16", 1, 2),
    26: Form("I32", 1, 4),
    27: Form("I64", 1, 8),
    28: Form("F64", 1, 8),
    29: Form("IQ1_M", 256, 56),
    30: Form("BF16", 1, 2),
    34: Form("TQ1_0", 256, 54),
    35: Form("TQ2_0", 256, 66),
    39: Form("MXFP4", 32, 17),
}


def of_number(number: int) -> Form | None:
    """Return the form that a file means by a number; None for one that came after this table."""
    return _FORMS.get(number)
