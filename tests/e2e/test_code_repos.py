"""Models that carry code: none of it runs without ``--allow-remote-code``, whichever command looks at them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import jinja2
import pytest

from tests.e2e.code_repos import arms, escapes, pickled, python
from tests.e2e.processes import BIN, Machine, Outcome
from tests.e2e.sandbox import follows_contract
from tests.e2e.serving import parrot_in, serving
from tests.parrot.answers import CAPITAL
from tests.scorecard import Scorecard

pytestmark = [pytest.mark.timeout(2400), pytest.mark.allow_hosts(["127.0.0.1"])]

_FEW = ("model-file-of-known-type", "template-globals", "pickle-as-safetensors")
_MUST_END = 120


def armed(machine: Machine, names: Iterable[str]) -> Mapping[str, Path]:
    """Return the folders of armed parrots by name."""
    machine.home.mkdir(exist_ok=True)
    found = arms()
    folders = {name: parrot_in(machine, name) for name in names}
    for name, folder in folders.items():
        found[name](folder, trace(machine))
    return folders


def trace(machine: Machine) -> Path:
    return machine.root / "trace"


def started(machine: Machine, folder: Path, *words: str) -> int:
    """Run ``mlxk`` in the folder of a model, and return its exit code; it follows the contract, and no code has run."""
    done = subprocess.run(
        [str(BIN / "mlxk"), *words],
        env=machine.environment(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_MUST_END,
    )
    outcome = Outcome(done.returncode, done.stdout, done.stderr)
    assert follows_contract(outcome), outcome
    assert "Traceback" not in outcome.out + outcome.err, outcome
    assert not trace(machine).exists(), (folder.name, words)
    return outcome.code


def looked_at(machine: Machine, folders: Mapping[str, Path]) -> int:
    """Have every command look at the models, in the folder of each one; return how many commands ran."""
    commands: list[tuple[Path, tuple[str, ...]]] = [
        (folder, words)
        for folder in [*folders.values()][::20]
        for words in (("list", "--all", "--health", "--verbose"), ("health", "--verify"))
    ]
    for name, folder in folders.items():
        commands += [(folder, ("show", name, "--files", "--config")), (folder, ("health", name, "--verify"))]
    for folder, words in commands:
        started(machine, folder, *words)
    return len(commands)


def ran(machine: Machine, folders: Mapping[str, Path]) -> Counter[int]:
    """Run the models, in the folder of each one, and count the exit codes."""
    specs = [name if number % 2 else "./" for number, name in enumerate(folders)]
    return Counter(
        started(machine, folder, "run", spec, CAPITAL) for spec, folder in zip(specs, folders.values(), strict=True)
    )


def served(machine: Machine, names: Iterable[str]) -> Counter[int]:
    """Ask a server for an answer of each model, and count the statuses."""
    statuses = Counter[int]()
    with serving(machine, "--max-loaded", "2") as server:
        assert server.ask("/v1/models").status == 200
        for name in names:
            statuses[server.chat(name, CAPITAL, max_tokens=5).status] += 1
            statuses[server.ask("/v1/completions", {"model": name, "prompt": "a", "max_tokens": 2}).status] += 1
            assert not trace(machine).exists(), name
    return statuses


def test_code_of_a_few_models_does_not_run(machine: Machine) -> None:
    folders = armed(machine, _FEW)
    assert looked_at(machine, folders) == 2 + 2 * len(folders)
    assert ran(machine, folders) == {1: len(_FEW)}


@pytest.mark.stress(part="code-repos")
def test_code_of_the_models_does_not_run(machine: Machine, scorecard: Scorecard) -> None:
    folders = armed(machine, [name for name in arms() if not is_module(name)])
    assert len(folders) > 40
    attack(machine, folders, scorecard)


@pytest.mark.cold_start
@pytest.mark.stress(part="code-repos")
def test_modules_in_the_folders_of_models_are_not_imported(machine: Machine, scorecard: Scorecard) -> None:
    """Each program is really started: the fork server has imported what a folder could replace."""
    folders = armed(machine, [name for name in arms() if is_module(name)])
    for folder in folders.values():  # the server runs in the folder above the models
        for module in folder.glob("*.py"):
            (machine.root / module.name).write_bytes(module.read_bytes())
    attack(machine, folders, scorecard)


def is_module(name: str) -> bool:
    return name.startswith("module-")


def attack(machine: Machine, folders: Mapping[str, Path], scorecard: Scorecard) -> None:
    """Look at the models, run and serve them; record what came of it."""
    commands = looked_at(machine, folders)
    codes, statuses = ran(machine, folders), served(machine, folders)
    assert set(codes) <= {0, 1}
    assert set(statuses) <= {200, 404, 422}
    assert not trace(machine).exists()
    scorecard.record(
        counts={"repos": len(folders), "commands": commands, "code that ran": 0},
        figures={
            **{f"exit code {code} of run": count for code, count in sorted(codes.items())},
            **{f"status {status} of the server": count for status, count in sorted(statuses.items())},
        },
    )


def test_there_are_at_least_60_models() -> None:
    assert len(arms()) >= 60


@pytest.mark.cold_start
def test_a_server_that_reloads_runs_no_code_of_its_folder(machine: Machine) -> None:
    for name in ("json", "sitecustomize"):
        (machine.root / f"{name}.py").write_text(python(trace(machine)))
    with subprocess.Popen(
        [str(BIN / "mlxk"), "serve", "--reload", "--port", "0"],
        env=machine.environment(),
        cwd=machine.root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Serving on")
        server.terminate()
        assert server.wait(_MUST_END) == 0
    assert not trace(machine).exists()


@pytest.mark.parametrize("kind", ["python", "pickle", *range(len(escapes(Path())))])
def test_the_code_would_leave_a_trace(tmp_path: Path, kind: str | int) -> None:
    trace = tmp_path / "trace"
    if kind == "python":
        subprocess.run([sys.executable, "-c", python(trace)], check=True)
    elif kind == "pickle":
        pickle.loads(pickled(trace))
    else:
        environment = jinja2.Environment()
        environment.globals |= {"raise_exception": armed, "strftime_now": armed}
        environment.from_string(escapes(trace)[int(kind)]).render(messages=[])
    assert trace.read_text().split() == ["ran"]
