"""Sizes and times as people read them."""

from __future__ import annotations

_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
_AGES = (
    ("y", 365 * 86_400),
    ("mo", 30 * 86_400),
    ("w", 7 * 86_400),
    ("d", 86_400),
    ("h", 3_600),
    ("m", 60),
)


def size(size_bytes: int) -> str:
    """Return a size in decimal units: 1 MB = 10^6 bytes."""
    for unit, factor in _SIZES:
        # 999 950 bytes would round to "1000KB": it is shown in the next unit.
        if size_bytes >= factor * 0.99995:
            return f"{size_bytes / factor:.1f}".removesuffix(".0") + unit
    return f"{size_bytes}B"


def age(seconds: float) -> str:
    """Return how long ago something was."""
    for unit, length in _AGES:
        if seconds >= length:
            return f"{int(seconds // length)}{unit} ago"
    return "just now"


def duration(seconds: float) -> str:
    """Return a length of time: ``42s``, ``3m05s``, ``2h10m``."""
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004 - seconds of a minute
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"  # noqa: PLR2004
