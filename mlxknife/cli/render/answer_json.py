"""The JSON data of ``run``."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mlxknife.cli.json_documents import InterruptedRunData, RunData, TimingsObject, UsageObject
from mlxknife.domain.generation.values.answer import GenerationResult, TextDelta, TextKind


def interrupted_data(name: str, received: Sequence[TextDelta]) -> InterruptedRunData:
    """Return the data for an answer that Ctrl-C ended."""
    reasoning, answer = (
        "".join(delta.text for delta in received if delta.kind is kind)
        for kind in (TextKind.REASONING, TextKind.ANSWER)
    )
    return InterruptedRunData(model=name, response=answer, reasoning=reasoning or None)


def run_data(name: str, prompt: str, result: GenerationResult) -> RunData:
    """Return the data for an answer to a prompt."""
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
    )
