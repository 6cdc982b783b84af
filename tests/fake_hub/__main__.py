"""``python -m tests.fake_hub FOLDER``: serves FOLDER/org/name/** as models until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import signal
import sys

from tests.fake_hub.server import FakeHub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_hub", description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--port", type=int, default=0, help="any free one, if not given")
    parser.add_argument("--one-port", action="store_true", help="redirect large files to the same port")
    options = parser.parse_args()
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(
        signal.SIG_BLOCK, stops
    )  # before any thread: they inherit it, so that only sigwait gets the signals
    with FakeHub(port=options.port, own_cdn=not options.one_port) as hub:
        hub.repos.load(options.folder)
        sys.stdout.write(f"{hub.endpoint}\n")
        sys.stdout.flush()
        signal.sigwait(stops)


if __name__ == "__main__":
    main()
