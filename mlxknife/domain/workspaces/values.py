"""Workspaces that the product makes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Origin:
    """Where the content of a workspace came from, as its sentinel records it."""

    source: str
    """The model on the Hub, or the file, that it was made from."""
    operation: str
    """What made it: ``clone``, ``convert`` or ``pull``."""
    revision: str | None = None
