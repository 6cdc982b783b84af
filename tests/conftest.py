"""What holds for every test: signals as at a terminal, the examples of Hypothesis, and the fork server for programs."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fork_server import install

pytest_plugins = ["tests.scorecard"]

settings.register_profile(
    "laws",
    max_examples=int(100 * float(os.environ.get("MLXK_TEST_EXAMPLES", "1"))),
    deadline=None,  # no test depends on how long it takes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("laws")


def pytest_configure(config: pytest.Config) -> None:
    """Undo what ``nohup`` and background jobs pass on: a program that starts with SIGINT ignored gets no Ctrl-C.

    A handler without effect keeps a hangup away from the run itself. The programs that tests start do not inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    is_worker = hasattr(config, "workerinput")  # of pytest-xdist; it ends when the main process does
    if is_worker or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Return no workers where single files or tests are asked for: they are done before a worker is ready."""
    asked = [argument.partition("::")[0] for argument in config.args]
    if all(map(os.path.isdir, asked)):
        return None
    config.option.dist = "no"
    return 0


@pytest.fixture(scope="session", autouse=True)
def _kernels() -> Iterator[None]:
    """Let all tests share the kernels that MLX compiles; each takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLXK_TEMP", os.path.join(tempfile.gettempdir(), f"mlxk-tests-{os.geteuid()}"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> Iterator[None]:
    install.install()
    yield
    install.uninstall()


@pytest.fixture(autouse=True)
def _cold_start(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("cold_start") is None:
        yield
    else:
        with install.cold_starts():
            yield
