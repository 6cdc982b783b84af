"""``python -m tests.fake_server FOLDER``: serves the folder of a model whose process has a fake model.

Everything else is real: sockets, limits, model pool, model process, templates, tokenizer and engine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from starlette.applications import Starlette

from mlxknife.adapters.worker.parent.model_process import WorkerProcesses
from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from mlxknife.wiring.app import open_app


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_server", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--step-seconds", default="0", help="the duration of a decode step")
    parser.add_argument("--rows", default="32", help="how many rows run at the same time")
    parser.add_argument("--journal", default=os.devnull, help="the file that the model writes its notes to")
    parser.add_argument("--options", type=json.loads, default={}, help="options of mlxknife.http, as JSON")
    arguments = parser.parse_args()
    command = (
        sys.executable,
        "-m",
        "tests.fake_server.worker",
        arguments.step_seconds,
        arguments.rows,
        arguments.journal,
    )
    app = open_app()
    models = app.servable_models()
    model = models.pin(arguments.folder)

    def create(options: Options) -> Starlette:
        pool = app.model_pool(processes=WorkerProcesses(command))
        pool.keep(model)
        return create_app(models, pool, options)

    return serve(create, Options(**{"port": 0, **arguments.options}), _print_url)


def _print_url(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
