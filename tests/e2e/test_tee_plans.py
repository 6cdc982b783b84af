"""``mlx-tee`` before anything runs: whether the models fit into memory, and commands for other machines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builder import chat_files, json_bytes, raw_safetensors, write_workspace
from tests.e2e.processes import Machine
from tests.e2e.tee_machine import machine_with_starter, records

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return machine_with_starter(tmp_path_factory.mktemp("starter"))


# --- the memory


@pytest.fixture
def giants(starter: Machine) -> Iterator[Machine]:
    """Make two models of more than half of the memory each, as sparse files, and an ``mlxk`` that loads nothing."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    count = int(free * 0.6 / 1.1) // 4
    header = json_bytes({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}})
    for name in ("giant", "titan"):
        folder = write_workspace(starter.home / name, chat_files(quantized=False))
        with (folder / "model.safetensors").open("wb") as file:
            file.write(raw_safetensors(header, b""))
            file.truncate(file.tell() + 4 * count)
    (starter.root / "bin").mkdir(exist_ok=True)
    (starter.root / "bin" / "mlxk").write_text("#!/bin/sh\necho $2 began >>trace\ncat\necho $2 ended >>trace\n")
    (starter.root / "bin" / "mlxk").chmod(0o755)
    yield starter
    for name in ("giant", "titan"):
        (starter.home / name / "model.safetensors").unlink()
    (starter.root / "trace").unlink(missing_ok=True)


needs_meminfo = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux reports the free memory")
PAIR = "'bin/mlxk run giant -' './bin/mlxk run titan - --max-tokens 5'"


@needs_meminfo
def test_models_that_do_not_fit_into_memory_together_run_one_after_the_other(giants: Machine) -> None:
    outcome = giants.shell(f"echo hello | mlx-tee --no-headers {PAIR}")
    assert (outcome.code, outcome.out) == (0, "hello\nhello\n")
    assert outcome.err.startswith("mlx-tee: The models need ")
    assert outcome.err.endswith(" are free: one command after the other\n")
    trace = (giants.root / "trace").read_text().splitlines()
    assert trace == ["giant began", "giant ended", "titan began", "titan ended"]


@needs_meminfo
@pytest.mark.parametrize(
    "words",
    [
        f"--parallel {PAIR}",
        f"--sequential {PAIR}",
        "'bin/mlxk run giant -' cat",
        "'bin/mlxk run giant -' 'bin/mlxk show titan'",
        "'bin/mlxk run giant -' 'bin/mlxk run nothere -'",
        "'bin/mlxk run giant -' 'bin/mlxk run titan --no-such-option'",
        "--ssh 'bin/mlxk run giant -' '@gpu:mlxk run titan -'",
    ],
)
def test_no_note_is_printed_if_memory_does_not_matter(giants: Machine, words: str) -> None:
    outcome = giants.shell(f"mlx-tee --dry-run {words}")
    assert (outcome.code, outcome.err) == (0, "")


@needs_meminfo
def test_the_memory_note_goes_to_stderr_with_jsonl(giants: Machine) -> None:
    outcome = giants.shell(f"echo hello | mlx-tee --jsonl {PAIR}")
    assert [answer["model"] for answer in records(outcome)] == ["giant", "titan"]
    assert "one command after the other" in outcome.err


# --- other machines


@pytest.fixture
def remote(starter: Machine) -> Machine:
    """Make an ``ssh`` that records its arguments and runs the command in a local shell."""
    (starter.root / "far").mkdir(exist_ok=True)
    script = '#!/bin/sh\nprintf "%s\\n" "$#" "$@" >asked\nshift 2\nexec sh -c "$*"\n'
    (starter.root / "far" / "ssh").write_text(script)
    (starter.root / "far" / "ssh").chmod(0o755)
    return starter


def test_a_remote_command_gets_the_same_arguments_and_input(remote: Machine) -> None:
    words = """printf '%s|' "it's" 'a  b' '$HOME' '*' ';' '\\' ''"""
    script = (
        f"echo hello | PATH=$PWD/far:$PATH mlx-tee --ssh --jsonl {shlex.quote(f'@me@gpu-1:{words}')} '@gpu:wc -c' cat"
    )
    outcome = remote.shell(script)
    assert (outcome.code, outcome.err) == (0, "")
    answers = records(outcome)
    assert answers[0]["output"] == "it's|a  b|$HOME|*|;|\\||"
    assert [answer["output"] for answer in answers[1:]] == ["6\n", "hello\n"]
    assert [(answer["command"], answer["host"]) for answer in answers[:2]] == [(words, "me@gpu-1"), ("wc -c", "gpu")]


def test_the_host_is_followed_by_two_dashes(remote: Machine) -> None:
    outcome = remote.shell("PATH=$PWD/far:$PATH mlx-tee --ssh '@gpu:echo far' </dev/null")
    assert outcome.out == "==> @gpu:echo far <==\nfar\n"
    assert (remote.root / "asked").read_text().splitlines() == ["3", "gpu", "--", "echo far"]


def test_nothing_runs_on_another_machine_without_the_ssh_option(remote: Machine) -> None:
    (remote.root / "asked").unlink(missing_ok=True)
    for words in ("'@gpu:echo far'", "true '@gpu:echo far'", "--dry-run '@gpu:echo far'", "--ssh '@-oX:echo far'"):
        outcome = remote.shell(f"PATH=$PWD/far:$PATH mlx-tee {words}")
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith("error: '@")
    assert not (remote.root / "asked").exists()


def test_a_dry_run_prints_what_would_run_and_runs_nothing(remote: Machine) -> None:
    (remote.root / "asked").unlink(missing_ok=True)
    words = "'touch was-here' \"@gpu:echo 'a b'\" 'mlxk run starter -'"
    outcome = remote.shell(f"PATH=$PWD/far:$PATH mlx-tee --ssh --dry-run {words}")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert [shlex.split(line) for line in lines] == [
        ["touch", "was-here"],
        ["ssh", "gpu", "--", "echo 'a b'"],
        ["mlxk", "run", "starter", "-"],
    ]
    documents = records(remote.shell(f"mlx-tee --ssh --dry-run --jsonl {words}"))
    assert [answer["argv"] for answer in documents] == [shlex.split(line) for line in lines]
    assert [(answer["model"], answer["host"]) for answer in documents] == [
        (None, None),
        (None, "gpu"),
        ("starter", None),
    ]
    assert not (remote.root / "was-here").exists()
    assert not (remote.root / "asked").exists()
