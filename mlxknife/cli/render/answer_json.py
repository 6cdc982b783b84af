"""The JSON data of ``run``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from msgspec import UNSET, Raw

from mlxknife.cli.retrieval_documents import SourceObject
from mlxknife.cli.run_documents import InterruptedRunData, RunData, TimingsObject, ToolCallObject, UsageObject
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind


def interrupted_data(name: str, received: Sequence[TextDelta]) -> InterruptedRunData:
    """Return the data for an answer that Ctrl-C ended."""
    reasoning, answer = (
        "".join(delta.text for delta in received if delta.kind is kind)
        for kind in (TextKind.REASONING, TextKind.ANSWER)
    )
    return InterruptedRunData(model=name, response=answer, reasoning=reasoning or None)


def run_data(
    name: str,
    prompt: str,
    result: GenerationResult,
    parsed: Raw | None = None,
    *,
    has_tools: bool = False,
    sources: tuple[SourceObject, ...] | None = None,
) -> RunData:
    """Return the data for an answer to a prompt; ``parsed`` is the answer where it had to be a JSON document."""
    calls = tuple(ToolCallObject(use.call.name, use.call.arguments, use.result) for use in result.tool_uses)
    return RunData(
        model=name,
        prompt=prompt,
        response=result.answer,
        reasoning=result.reasoning or None,
        finish_reason=result.finish_reason.value,
        usage=UsageObject(
            prompt_tokens=result.usage.prompt_tokens,
            completion_tokens=result.usage.completion_tokens,
            total_tokens=result.usage.total_tokens,
        ),
        timings=TimingsObject(**attrs.asdict(result.timings)),
        parsed=UNSET if parsed is None else parsed,
        tool_calls=calls if has_tools else UNSET,
        sources=UNSET if sources is None else sources,
    )
