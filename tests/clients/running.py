"""Runs a suite of a real client against a server, and counts what it found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import attrs

from tests.clients.environment import AGENTS, EMBEDDINGS, INSTRUCTOR, JAVASCRIPT, node_modules, python

_SUITES = Path(__file__).parent / "suites"
_ASYNC = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_test_loop_scope=session")
"""What LangChain's tests need: its asynchronous clients share their connections, which belong to one loop."""
_OLDEST_NODE = 20
_OUTCOME = "junit.xml"
_EXPECTED = {"pytest.xfail", "todo"}
"""How JUnit's document says that a test failed as expected."""


@attrs.frozen
class Report:
    """The outcome of a suite: the number of passed tests, and each other test with its reason."""

    output: str
    passed: int = 0
    failed: Mapping[str, str] = attrs.field(factory=dict)
    skipped: Mapping[str, str] = attrs.field(factory=dict)
    expected: Mapping[str, str] = attrs.field(factory=dict)
    """Tests that failed as their suite says."""

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of tests by outcome."""
        others = {"failed": self.failed, "skipped": self.skipped, "failed as expected": self.expected}
        return {"passed": self.passed, **{name: len(tests) for name, tests in others.items()}}

    @property
    def reasons(self) -> dict[str, str]:
        """Return why tests have not passed, by test."""
        return {**self.failed, **self.skipped, **self.expected}


def missing_tool(suite: str) -> str | None:
    """Return why a suite cannot run on this machine, or None if it can."""
    if not suite.endswith(".mjs"):
        return None
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not installed here"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    old = int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE
    return f"node {version} is too old: the suite needs {_OLDEST_NODE}" if old else None


def run_suite(suite: str, folder: Path, environment: Mapping[str, str], timeout: float) -> Report:
    """Run a suite with the clients of its environment, which is made first; ``folder`` is for its files."""
    if suite.endswith(".mjs"):
        (folder / "node_modules").symlink_to(node_modules(JAVASCRIPT))  # modules are looked for beside the script
        reporters = ("--test-reporter=junit", f"--test-reporter-destination={folder / _OUTCOME}")
        return _report(("node", "--test", *reporters), suite, folder, environment, timeout)
    if suite.startswith("instructor"):
        return _report(_pytest(python(INSTRUCTOR), folder), suite, folder, environment, timeout)
    clients = EMBEDDINGS if suite.startswith("embeddings") else AGENTS
    return _report((*_pytest(python(clients), folder), *_ASYNC), suite, folder, environment, timeout)


def run_suite_here(suite: str, folder: Path, environment: Mapping[str, str], timeout: float) -> Report:
    """Run a suite for pytest with the interpreter and the client of this run."""
    alone = {**environment, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return _report(_pytest(Path(sys.executable), folder), suite, folder, alone, timeout)


def _pytest(interpreter: Path, folder: Path) -> tuple[str, ...]:
    options = ("-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider", "-q")
    return (str(interpreter), "-m", "pytest", *options, f"--junit-xml={folder / _OUTCOME}")


def _report(
    command: tuple[str, ...], suite: str, folder: Path, environment: Mapping[str, str], timeout: float
) -> Report:
    shutil.copy(_SUITES / suite, folder)  # beside the tests of this repo it would get their fixtures
    done = subprocess.run(
        (*command, suite),
        cwd=folder,
        env={**environment, "CLIENT_HOME": str(folder), "NO_PROXY": "*"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        text=True,
        timeout=timeout,
    )
    found = folder / _OUTCOME
    if not found.exists():
        msg = f"The suite did not run:\n{done.stdout}"
        raise RuntimeError(msg)
    report = _read(found, done.stdout)
    if done.returncode and not report.failed:
        msg = f"The suite ended with {done.returncode}:\n{done.stdout}"
        raise RuntimeError(msg)
    return report


def _read(path: Path, output: str) -> Report:
    """Read a document of JUnit's form, as pytest and Node.js write it."""
    passed = 0
    failed, skipped, expected = dict[str, str](), dict[str, str](), dict[str, str]()
    for case in ET.parse(path).iter("testcase"):
        name = case.attrib["name"]
        wrong = next((child for child in case if child.tag in {"failure", "error"}), None)
        left_out = case.find("skipped")
        if wrong is not None:
            failed[name] = wrong.attrib.get("message", "")
        elif left_out is None:
            passed += 1
        else:
            kind = expected if left_out.attrib.get("type") in _EXPECTED else skipped
            kind[name] = left_out.attrib.get("message", "")
    return Report(output, passed, failed, skipped, expected)
