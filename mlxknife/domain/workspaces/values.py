"""The origin of a workspace."""

from __future__ import annotations

import attrs


@attrs.frozen
class Origin:
    """The source of a workspace, as its sentinel file records it."""

    source: str
    """The model on the Hub, or the file, that it was made from."""
    operation: str
    """What made it: ``clone``, ``convert`` or ``pull``."""
    revision: str | None = None
