"""An engine without MLX, and a model process that runs it: ``python -m tests.fakes.scripted_engine FD PARENT``.

It answers the parrot's questions, one character in each step. Words in the location choose what goes wrong.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from itertools import cycle

import attrs

from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.engines.values import Accepted
from mlxknife.domain.errors import EngineError, KnifeError, NotEnoughMemory, ValidationError
from mlxknife.domain.generation.values.answer import Delta, FinishReason, TextDelta, TextKind, Usage
from mlxknife.domain.generation.values.loading import LoadRequest
from mlxknife.domain.generation.values.request import GenerationRequest
from mlxknife.domain.hints import HintCode
from tests.parrot.answers import ANSWERS

STEP_SECONDS = 0.002
COMMAND = (sys.executable, "-m", "tests.fakes.scripted_engine")
HANGING_PROMPT = "hang the tokenizer"
VOCABULARY = 264


@attrs.define
class _Running:
    index: int
    characters: Iterator[str]
    left: int
    count: int = 0


@attrs.define
class ScriptedEngine:
    """See ``Engine``."""

    step_seconds: float = 0.0
    notes: tuple[str, ...] = ("scripted",)
    words: frozenset[str] = frozenset()
    is_closed: bool = False
    requests: list[GenerationRequest] = attrs.field(factory=list)
    """Every request that was submitted."""
    cancelled: list[int] = attrs.field(factory=list)
    _running: dict[int, list[_Running]] = attrs.field(factory=dict)

    @property
    def is_idle(self) -> bool:
        return not self._running

    def render(self, request: GenerationRequest) -> tuple[str, ...]:
        if request.options.n > 16:
            msg = "n must be between 1 and 16"
            raise ValidationError(msg, param="n")
        if request.messages:
            return (request.messages[-1].content,)
        return tuple(prompt if isinstance(prompt, str) else "" for prompt in request.prompts)

    def tokenize(self, request: GenerationRequest, rendered: tuple[str, ...]) -> GenerationRequest:
        if HANGING_PROMPT in rendered:
            time.sleep(600)
        if "clumsy" in self.words:
            msg = "an unforeseen error"
            raise ZeroDivisionError(msg)
        return request

    def submit(self, request_id: int, prepared: GenerationRequest) -> Accepted:
        tokens = [token for prompt in prepared.prompts if not isinstance(prompt, str) for token in prompt]
        if any(not 0 <= token < VOCABULARY for token in tokens):
            msg = "prompt has an unknown token"
            raise ValidationError(msg, param="prompt")
        self.requests.append(prepared)
        texts = self.render(prepared)
        limit = prepared.options.max_tokens or 4096
        is_endless = bool(prepared.options.sampling.logit_bias)
        answers = [_characters(text, is_endless=is_endless) for text in texts for _ in range(prepared.options.n)]
        self._running[request_id] = [_Running(index, answer, limit) for index, answer in enumerate(answers)]
        return Accepted(sum(map(len, texts)))

    def cancel(self, request_id: int) -> None:
        self.cancelled.append(request_id)
        self._running.pop(request_id, None)

    def step(self) -> list[tuple[int, Delta | KnifeError]]:
        time.sleep(self.step_seconds)
        if "aborting" in self.words:
            os.abort()
        events: list[tuple[int, Delta | KnifeError]] = []
        for request_id, answers in list(self._running.items()):
            for answer in list(answers):
                delta = _delta(answer)
                if delta.finish_reason is not None:
                    answers.remove(answer)
                events.append((request_id, delta))
            if not answers:
                del self._running[request_id]
        return events

    def close(self) -> None:
        self.is_closed = True
        self._running.clear()


class ScriptedOpener:
    """See ``EngineOpener``."""

    def prepare(self) -> None:
        return

    def open(self, request: LoadRequest) -> ScriptedEngine:
        words = request.location.token.split()
        if words[0] != "parrot":
            msg = f"The model could not be loaded: {request.location.token} is none"
            raise EngineError(msg, hint=HintCode.OTHER_DISK)
        if "large" in words:
            msg = "It does not fit"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY, param="model")
        if "starved" in words:
            msg = "The model could not be loaded: Too many open files"
            raise EngineError(msg, hint=HintCode.PROCESS_LIMIT)
        if "broken" in words:
            msg = "an unforeseen error"
            raise ZeroDivisionError(msg)
        if "sleepy" in words:
            time.sleep(600)
        if "noisy" in words:
            print("on stdout\nand more")  # noqa: T201 - that is the point
            os.write(2, b"on stderr\n")
        if "curious" in words:
            print("token", os.environ.get("HF_TOKEN"), request.profile, flush=True)  # noqa: T201
        seconds = 600.0 if "stuck" in words else STEP_SECONDS
        return ScriptedEngine(seconds, words=frozenset(words))


def _characters(question: str, *, is_endless: bool) -> Iterator[str]:
    answer = ANSWERS.get(question, "")
    return cycle(answer or "?") if is_endless else iter(answer)


def _delta(answer: _Running) -> Delta:
    character = next(answer.characters, "")
    answer.count += 1
    answer.left -= 1
    reason = FinishReason.STOP if not character else FinishReason.LENGTH if not answer.left else None
    texts = (TextDelta(TextKind.ANSWER, character),) if character else ()
    return Delta(answer.index, texts, (), reason, None if reason is None else Usage(7, answer.count))


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), int(sys.argv[2]), ScriptedOpener()))
