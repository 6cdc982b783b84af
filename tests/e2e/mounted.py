"""Another application with ours mounted in it: ``python -m tests.e2e.mounted --port 0 --json``.

It prints the document of ``mlxk serve``, and runs on a uvicorn without our options.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

import mlxknife
from mlxknife.http import create_app


def main() -> None:
    app = mlxknife.open_app()
    llm = create_app(app.servable_models(), app.model_pool())
    with socket.create_server(("127.0.0.1", 0)) as listening:

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            document = {"status": "success", "data": {"url": url, "pid": os.getpid()}}
            sys.stdout.write(json.dumps(document, indent=2) + "\n")
            sys.stdout.flush()
            yield

        site = Starlette(routes=[Route("/own", _own), Mount("/llm", llm)], lifespan=lifespan)
        uvicorn.Server(uvicorn.Config(site, log_level="warning")).run(sockets=[listening])


async def _own(_: Request) -> PlainTextResponse:
    return PlainTextResponse("own")


if __name__ == "__main__":
    main()
