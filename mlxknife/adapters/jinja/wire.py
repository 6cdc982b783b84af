"""The protocol between a renderer and its parent.

A job is a header, the template (in the first job only) and a JSON object. An answer is a header and a text. Texts are
UTF-8 with lone surrogates, because a template or a message may contain one.
"""

from __future__ import annotations

import struct

JOB = struct.Struct("!QQ")
"""The lengths of the template and of the job."""
ANSWER = struct.Struct("!cQ")
"""The kind of answer, and its length."""
TEXT, ERROR = b"t", b"e"

MAX_GROWTH = 16 * 1024 * 1024
"""The characters by which a prompt may be longer than its job."""
MAX_CHARACTER_BYTES = 4
"""The largest number of bytes in a character."""


def packed(text: str) -> bytes:
    """Return a text as bytes."""
    return text.encode("utf-8", "surrogatepass")


def unpacked(data: bytes) -> str:
    """Return bytes as text. Raises ValueError."""
    return data.decode("utf-8", "surrogatepass")
