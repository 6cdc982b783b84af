"""``python -m tests.fake_server FOLDER``: serves the folder of a model over a fake engine.

Everything else is real: sockets, limits, queue, templates, tokenizer, model pool.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import attrs
from starlette.applications import Starlette

from mlxknife.http.app import create_app
from mlxknife.http.options import Options
from mlxknife.http.server import serve
from mlxknife.wiring.app import open_app
from tests.fake_server.engine import slow_hosts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_server", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--step-seconds", type=float, default=0.0, help="the duration of a decode step")
    parser.add_argument("--journal", default=os.devnull, help="the file that the engine writes its notes to")
    parser.add_argument("--options", type=json.loads, default={}, help="options of mlxknife.http, as JSON")
    said = parser.parse_args()
    with open(said.journal, "a", buffering=1, encoding="utf-8") as journal:
        app = open_app()
        serving = app.open_serving()
        served = serving.start_with(said.folder)
        hosts = slow_hosts(served.location.token, said.step_seconds, journal)

        def create(options: Options) -> Starlette:
            residents = attrs.evolve(app, open_hosts=lambda: hosts).open_residents()
            residents.keep(served)
            return create_app(serving, residents, options)

        return serve(create, Options(**{"port": 0, **said.options}), _print_url)


def _print_url(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
