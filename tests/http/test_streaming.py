"""A stream that waits for something that fails while somebody else ends the waiting."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from mlxknife.domain.errors import WorkerLost
from mlxknife.http.streaming import EventStream


async def _send(message: Any) -> None:  # noqa: ANN401 - whatever it is, it arrives
    del message


def test_a_failure_that_nobody_waits_for_any_more_is_no_complaint_of_the_loop() -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        failing = asyncio.Event()

        async def fail() -> None:
            await failing.wait()
            raise WorkerLost("It fell")  # noqa: EM101, TRY003 - nobody reads it

        waiting = asyncio.create_task(EventStream(_send, 3600.0).waiting_for(fail()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        failing.set()
        await asyncio.sleep(0)  # it fails in this turn of the loop
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        del waiting
        gc.collect()

    asyncio.run(main())
    assert complaints == []
