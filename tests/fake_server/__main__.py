"""``python -m tests.fake_server FOLDER``: serves a model's folder over an engine that only pretends.

Everything in front of the engine is real: sockets, limits, queue, templates, tokenizer, residents.
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
    parser.add_argument("--step-seconds", type=float, default=0.0, help="what a decode step takes")
    parser.add_argument("--journal", default=os.devnull, help="where the engine writes what it did")
    parser.add_argument("--options", type=json.loads, default={}, help="options of the front end, as JSON")
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

        return serve(create, Options(**{"port": 0, **said.options}), _tell)


def _tell(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
