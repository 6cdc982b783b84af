"""What goes between the two sides: a job one way, an answer the other, each with its lengths before it.

A job is a header, the template (only the first time: a process serves one) and a JSON object. An answer is a header and
a text. Texts are UTF-8 in which half a character may stand, because a template may hold one and a question too.
"""

from __future__ import annotations

import struct

JOB = struct.Struct("!QQ")
"""The lengths of the template and of the job."""
ANSWER = struct.Struct("!cQ")
"""What it is, and its length."""
TEXT, ERROR = b"t", b"e"

MAX_GROWTH = 16 * 1024 * 1024
"""How much longer than its job a prompt may be, in characters."""
MOST_BYTES = 4
"""How many bytes a character takes at most."""


def packed(text: str) -> bytes:
    """Return a text as it travels."""
    return text.encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> str:
    """Return the text that came. Raises ValueError."""
    return data.decode("utf-8", "surrogatepass")
