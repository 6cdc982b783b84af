"""Pieces of documents that both endpoints write."""

from __future__ import annotations

import time
import uuid
from typing import cast

import attrs

from mlxknife.domain.generation.values.generation import FinishReason, Usage
from mlxknife.http.wire.documents import Ended, PromptDetails, UsageObject


@attrs.frozen
class Letterhead:
    """What stands at the top of every document of one answer."""

    id: str
    created: int
    model: str


def letterhead(prefix: str, model: str) -> Letterhead:
    """Make the letterhead of a new answer."""
    return Letterhead(f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model)


def usage_object(usage: Usage) -> UsageObject:
    """Describe a number of tokens."""
    return UsageObject(
        usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, PromptDetails(usage.cached_tokens)
    )


def end(reason: FinishReason) -> Ended:
    """Name why an answer ended; one that was cancelled has no end, it breaks off."""
    return cast("Ended", reason.value)
