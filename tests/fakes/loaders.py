"""A loader of models that need no MLX, and a process that hosts one: ``python -m tests.fakes.loaders FD PARENT``.

What stands in the name of a place says what goes wrong there.
"""

from __future__ import annotations

import os
import sys
import time

import attrs

from mlxknife.adapters.worker.child.loop import serve
from mlxknife.domain.errors import EngineError, NotEnoughMemory
from mlxknife.domain.generation.values.rows import BatchStep
from mlxknife.domain.hints import HintCode
from mlxknife.domain.models.values.snapshot import Location
from mlxknife.domain.serving.values.processes import HostedModel
from mlxknife.ports.engines.batches import Batches
from tests.contracts.flock import END_TOKEN, answer, asked
from tests.fakes.batches import FakeBatches
from tests.parrot import ANSWERS
from tests.parrot.tokens import TEMPLATE, build_tokenizer

STEP_SECONDS = 0.002
COMMAND = (sys.executable, "-m", "tests.fakes.loaders")


def scripted() -> FakeBatches:
    """Return a batch that says what the parrot says."""
    return FakeBatches({asked(question): answer(question) for question in ANSWERS}, END_TOKEN)


def scripted_model() -> HostedModel:
    """Return what is known of it."""
    return HostedModel(build_tokenizer().to_str(), 264, TEMPLATE, {"eos_token": "<|im_end|>"}, notes=("scripted",))


@attrs.define
class SlowBatches(FakeBatches):
    """Takes its time for each step."""

    seconds: float = STEP_SECONDS

    def step(self) -> BatchStep:
        time.sleep(self.seconds)
        return FakeBatches.step(self)


class FakeLoader:
    """Fulfils ``ports.loaders.Loader``."""

    def load(self, location: Location, profile: str, free: int) -> tuple[Batches, HostedModel]:
        del free
        words = location.token.split()
        if words[0] != "parrot":
            msg = f"The model could not be loaded: {location.token} is none"
            raise EngineError(msg, hint=HintCode.OTHER_DISK)
        if "large" in words:
            msg = "It does not fit"
            raise NotEnoughMemory(msg, hint=HintCode.FREE_MEMORY, param="model")
        if "broken" in words:
            msg = "something that nobody thought of"
            raise ZeroDivisionError(msg)
        if "sleepy" in words:
            time.sleep(600)
        if "noisy" in words:
            print("out loud\nand on")  # noqa: T201 - that is the point
            os.write(2, b"under its breath\n")
        if "curious" in words:
            print("token", os.environ.get("HF_TOKEN"), profile, flush=True)  # noqa: T201
        template = "\ud800" if "strange" in words else TEMPLATE
        model = attrs.evolve(scripted_model(), chat_template=template)
        seconds = 600.0 if "stuck" in words else STEP_SECONDS
        fake = scripted()
        return SlowBatches(fake.answers, fake.end, seconds=seconds), model


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), int(sys.argv[2]), FakeLoader()))
